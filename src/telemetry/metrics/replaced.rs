//! The metrics of the plugin in whose place this one runs: under that one's names, with its labels and
//! buckets, fed where the plugin's own are counted.

mod observed;
mod vault_kube_kms;
mod vault_kubernetes_kms;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use prometheus_client::registry::Registry;

use super::labels::CallKind;
use crate::replaced_plugin::ReplacedPlugin;
pub use observed::{AtScrape, VaultRequest};
use vault_kube_kms::VaultKubeKms;
use vault_kubernetes_kms::VaultKubernetesKms;

/// The current ones. Without a replaced plugin a call costs the look at one flag.
#[derive(Default)]
pub(super) struct CurrentReplaced {
    is_set: AtomicBool,
    current: RwLock<Option<Arc<ReplacedMetrics>>>,
}

/// The metrics of one plugin.
pub struct ReplacedMetrics {
    plugin: ReplacedPlugin,
    families: Families,
}

enum Families {
    VaultKubernetesKms(VaultKubernetesKms),
    VaultKubeKms(VaultKubeKms),
}

impl CurrentReplaced {
    /// Sets the plugin. The counters of one that was set before go on.
    pub(super) fn set(&self, plugin: Option<ReplacedPlugin>, paths: &[String]) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().map(|it| it.plugin) != plugin {
            *current = plugin.and_then(ReplacedMetrics::new).map(Arc::new);
        }
        if let Some(replaced) = &*current {
            replaced.initialise(paths);
        }
        self.is_set.store(current.is_some(), Ordering::Release);
    }

    pub(super) fn get(&self) -> Option<Arc<ReplacedMetrics>> {
        if !self.is_set.load(Ordering::Acquire) {
            return None;
        }
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }
}

impl ReplacedMetrics {
    /// `None` for a plugin that has no metrics.
    fn new(plugin: ReplacedPlugin) -> Option<Self> {
        let families = match plugin {
            ReplacedPlugin::VaultKubernetesKms => Families::VaultKubernetesKms(Default::default()),
            ReplacedPlugin::VaultKubeKms => Families::VaultKubeKms(VaultKubeKms::new()),
            ReplacedPlugin::VaultKmsProvider | ReplacedPlugin::Kleidi => return None,
        };
        Some(Self { plugin, families })
    }

    /// Creates the series of requests to these paths.
    fn initialise(&self, paths: &[String]) {
        if let Families::VaultKubernetesKms(families) = &self.families {
            families.initialise(paths);
        }
    }

    /// A gRPC call ended with this code.
    pub(super) fn call(&self, call: CallKind, code: &str, took: Duration) {
        match &self.families {
            Families::VaultKubernetesKms(families) => families.call(call, code, took),
            Families::VaultKubeKms(families) => families.call(call, code, took),
        }
    }

    /// A request to Vault ended. None of these plugins asks whether Vault is healthy.
    pub fn request(&self, request: VaultRequest<'_>) {
        if request.operation == "health" {
            return;
        }
        match &self.families {
            Families::VaultKubernetesKms(families) => families.request(request),
            Families::VaultKubeKms(families) => families.request(request),
        }
    }

    /// Adds all to a registry.
    pub(super) fn register(&self, registry: &mut Registry, now: AtScrape, start: SystemTime) {
        match &self.families {
            Families::VaultKubernetesKms(families) => families.register(registry, now, start),
            Families::VaultKubeKms(families) => families.register(registry),
        }
    }
}

impl fmt::Debug for ReplacedMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplacedMetrics({})", self.plugin)
    }
}

#[cfg(test)]
mod tests;

//! The plugins in whose place this one can run: their names, and which of their surfaces exist.
//!
//! Depends on no other module.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// The annotation without which Kleidi refuses a value, and what it has to be
/// (`internal/providers/hvault.go`, `Decrypt`: exactly one annotation, with exactly this value).
const KLEIDI_ANNOTATION: (&str, &[u8]) = ("v2.kleidi.beezy.dev", b"1");

/// A plugin that this one can replace, node by node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplacedPlugin {
    /// `vault-kubernetes-kms`.
    VaultKubernetesKms,
    /// `vault-kms-provider`.
    VaultKmsProvider,
    /// `vault-kube-kms`, HashiCorp's.
    VaultKubeKms,
    /// Kleidi.
    Kleidi,
}

/// `[drop_in]`: which plugin is replaced, and where its endpoints are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DropIn {
    /// The plugin.
    pub plugin: ReplacedPlugin,
    /// Where its health endpoints are served, if anywhere.
    pub health_listen: Option<SocketAddr>,
    /// Where its metrics are served, if anywhere.
    pub metrics_listen: Option<SocketAddr>,
}

impl ReplacedPlugin {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::VaultKubernetesKms,
        Self::VaultKmsProvider,
        Self::VaultKubeKms,
        Self::Kleidi,
    ];

    /// Its name, as its own project writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VaultKubernetesKms => "vault-kubernetes-kms",
            Self::VaultKmsProvider => "vault-kms-provider",
            Self::VaultKubeKms => "vault-kube-kms",
            Self::Kleidi => "kleidi",
        }
    }

    /// Whether it serves health endpoints.
    #[must_use]
    pub fn has_health(self) -> bool {
        self != Self::Kleidi
    }

    /// Whether it serves metrics.
    #[must_use]
    pub fn has_metrics(self) -> bool {
        matches!(self, Self::VaultKubernetesKms | Self::VaultKubeKms)
    }

    /// The annotation that its nodes demand of a value before they decrypt it.
    #[must_use]
    pub fn annotation(self) -> Option<(&'static str, &'static [u8])> {
        (self == Self::Kleidi).then_some(KLEIDI_ANNOTATION)
    }
}

impl FromStr for ReplacedPlugin {
    type Err = UnknownPlugin;

    fn from_str(text: &str) -> Result<Self, UnknownPlugin> {
        let found = Self::ALL.into_iter().find(|it| it.as_str() == text);
        found.ok_or(UnknownPlugin)
    }
}

impl fmt::Display for ReplacedPlugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name of none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownPlugin;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_known_by_its_own_name_alone() {
        for plugin in ReplacedPlugin::ALL {
            assert_eq!(plugin.as_str().parse(), Ok(plugin));
        }
        for other in ["", "Kleidi", "vault-kms-plugin", "bao-kms-provider"] {
            assert_eq!(
                other.parse::<ReplacedPlugin>(),
                Err(UnknownPlugin),
                "{other}"
            );
        }
    }

    #[test]
    fn kleidi_alone_demands_an_annotation() {
        let demanding = ReplacedPlugin::ALL
            .into_iter()
            .filter(|plugin| plugin.annotation().is_some());
        assert_eq!(demanding.collect::<Vec<_>>(), [ReplacedPlugin::Kleidi]);
    }
}

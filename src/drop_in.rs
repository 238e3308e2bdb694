//! The settings of other plugins, and what they become here: values of the configuration, warnings about what
//! changes, errors about what is not understood or would lose data.
//!
//! Pure functions of arguments, variables and fields. They serve the daemon when it is called by the name of
//! another plugin, and `convert`.

mod apply;
mod bao_kms_provider;
mod flags;
mod given;
mod go_client;
mod input;
mod keys;
mod kleidi;
mod plugin;
mod setting;
mod translation;
mod vault_kms_provider;
mod vault_kube_kms;
mod vault_kubernetes_kms;

use given::Given;
pub use input::{Host, Invocation};
pub use plugin::Plugin;
pub use setting::{Kind, Meaning, Setting, Target};
pub use translation::{Note, Problem, Secret, Translation, Value};

/// Our own variables begin with it; those of `vault-kubernetes-kms` begin with its beginning.
const OURS: &str = "VAULT_KMS_PLUGIN_";

/// What arguments ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// To serve.
    Serve,
    /// The version.
    Version,
    /// The help.
    Help,
}

impl Plugin {
    /// Its settings.
    #[must_use]
    pub fn settings(self) -> &'static [Setting] {
        match self {
            Self::VaultKubernetesKms => vault_kubernetes_kms::settings(),
            Self::VaultKmsProvider => vault_kms_provider::settings(),
            Self::VaultKubeKms => vault_kube_kms::settings(),
            Self::Kleidi => kleidi::settings(),
            Self::BaoKmsProvider => bao_kms_provider::settings(),
        }
    }

    /// The variables of Vault's clients that the daemon reads itself, as that plugin does.
    #[must_use]
    pub fn kept_variables(self) -> &'static [&'static str] {
        match self {
            Self::VaultKubernetesKms | Self::VaultKubeKms | Self::Kleidi => go_client::KEPT,
            Self::VaultKmsProvider | Self::BaoKmsProvider => &[],
        }
    }

    /// Whether a variable looks like one of this plugin's.
    #[must_use]
    pub fn is_near(self, name: &str) -> bool {
        name.starts_with(self.prefix()) && !name.starts_with(OURS)
    }

    /// How the names of its variables begin, so that an unknown one is noticed.
    fn prefix(self) -> &'static str {
        match self {
            Self::VaultKubernetesKms => "VAULT_KMS_",
            Self::VaultKmsProvider => "VAULT_",
            Self::VaultKubeKms => "VAULT_KUBE_KMS_",
            Self::Kleidi => "KLEIDI_",
            Self::BaoKmsProvider => "BAO_KMS_PROVIDER_",
        }
    }
}

impl Invocation {
    /// What the arguments ask for. Wrong ones ask to serve, which reports them.
    #[must_use]
    pub fn request(&self) -> Request {
        let parsed = flags::parse(&self.arguments, self.plugin.settings());
        let asks = |(setting, value): &(&'static Setting, String)| {
            setting.name() == "-version" && given::go_bool(value) == Some(true)
        };
        if parsed.wants_help {
            Request::Help
        } else if parsed.error.is_none() && parsed.values.iter().any(asks) {
            Request::Version
        } else {
            Request::Serve
        }
    }

    /// What all of it becomes.
    #[must_use]
    pub fn translate(&self) -> Translation {
        let mut out = Translation::default();
        let given = Given::read(self, self.plugin.settings(), &mut out);
        let host = &self.host;
        match self.plugin {
            Plugin::VaultKubernetesKms => vault_kubernetes_kms::translate(&given, host, &mut out),
            Plugin::VaultKmsProvider => vault_kms_provider::translate(&given, host, &mut out),
            Plugin::VaultKubeKms => vault_kube_kms::translate(&given, host, &mut out),
            Plugin::Kleidi => kleidi::translate(&given, host, &mut out),
            Plugin::BaoKmsProvider => bao_kms_provider::translate(&given, host, &mut out),
        }
        self.unknown_variables(&mut out);
        out
    }

    /// Variables that look like the plugin's own, and are none.
    fn unknown_variables(&self, out: &mut Translation) {
        let settings = self.plugin.settings();
        let is_known = |name: &str| settings.iter().any(|it| it.variables.contains(&name));
        for (name, value) in &self.variables {
            if self.plugin.is_near(name)
                && !value.is_empty()
                && !is_known(name)
                && !is_service_link(name)
            {
                out.not_understood(name, "is no variable of this plugin, and has no effect");
            }
        }
    }
}

/// Kubernetes sets such variables for every Service of the namespace.
fn is_service_link(name: &str) -> bool {
    ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT"]
        .iter()
        .any(|end| name.ends_with(end))
        || ["_SERVICE_PORT_", "_PORT_"]
            .iter()
            .any(|part| name.contains(part))
}

#[cfg(test)]
mod tests;

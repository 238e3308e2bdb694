//! The plugins whose settings are known.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;

/// Another plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plugin {
    /// FalcoSuessgott's, in Go.
    VaultKubernetesKms,
    /// Ruddickmg's, in Rust.
    VaultKmsProvider,
    /// HashiCorp's, of Vault Enterprise.
    VaultKubeKms,
    /// Beezy's.
    Kleidi,
    /// dc-tec's, for OpenBao.
    BaoKmsProvider,
}

impl Plugin {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::VaultKubernetesKms,
        Self::VaultKmsProvider,
        Self::VaultKubeKms,
        Self::Kleidi,
        Self::BaoKmsProvider,
    ];
    /// Those that this program is when it is called by their name.
    pub const CALLED: [Self; 3] = [
        Self::VaultKubernetesKms,
        Self::VaultKmsProvider,
        Self::VaultKubeKms,
    ];

    /// The name of its program.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::VaultKubernetesKms => "vault-kubernetes-kms",
            Self::VaultKmsProvider => "vault-kms-provider",
            Self::VaultKubeKms => "vault-kube-kms",
            Self::Kleidi => "kleidi",
            Self::BaoKmsProvider => "bao-kms-provider",
        }
    }

    /// The plugin of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|plugin| plugin.name() == name)
    }

    /// The plugin that a program is called as: `argv[0]`, of which only the file name counts.
    #[must_use]
    pub fn called(program: &OsStr) -> Option<Self> {
        let name = Path::new(program).file_name()?.to_str()?;
        Self::CALLED
            .into_iter()
            .find(|plugin| plugin.name() == name)
    }
}

impl fmt::Display for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_file_name_of_a_program_counts() {
        let called = |program: &str| Plugin::called(OsStr::new(program));
        let kms = Some(Plugin::VaultKubernetesKms);
        assert_eq!(called("/vault-kubernetes-kms"), kms);
        assert_eq!(called("vault-kubernetes-kms"), kms);
        assert_eq!(called("./a/vault-kube-kms"), Some(Plugin::VaultKubeKms));
        for other in [
            "vault-kms-plugin",
            "/usr/bin/kleidi",
            "",
            "vault-kube-kms/x",
        ] {
            assert_eq!(called(other), None, "{other}");
        }
    }
}

//! The login methods: what the configuration of each holds, and where a node keeps its credential.

/// Where a node keeps its configuration and credentials.
pub(super) const DIR: &str = "/etc/vault-kms-plugin";

/// How the plugin logs in to Vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// A token of each node.
    Token,
    /// A role_id and a secret_id of each node.
    Approle,
    /// A user and a password.
    Userpass,
    /// A token of a service account, which Vault verifies itself.
    Jwt,
    /// A token of a service account, which kube-apiserver reviews for Vault.
    Kubernetes,
    /// A certificate of each node.
    Cert,
}

/// The methods, by the names that the configuration and Vault have for them.
pub const CHOICES: &[(&str, &str)] = &[
    ("token", "a token of each node"),
    ("approle", "a role_id and a secret_id of each node"),
    ("userpass", "a user and a password"),
    (
        "jwt",
        "a token of a service account, which Vault verifies itself",
    ),
    (
        "kubernetes",
        "a token of a service account, which kube-apiserver reviews for Vault",
    ),
    ("cert", "a certificate of each node"),
];

/// In the order of [`CHOICES`].
const ALL: [Method; 6] = [
    Method::Token,
    Method::Approle,
    Method::Userpass,
    Method::Jwt,
    Method::Kubernetes,
    Method::Cert,
];

impl Method {
    /// The method of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        ALL.into_iter().find(|method| method.name() == name)
    }

    /// As the configuration and Vault name it.
    pub(super) fn name(self) -> &'static str {
        CHOICES[self as usize].0
    }

    /// The files of a node's credential: the key of the configuration, and the name in [`DIR`].
    pub(super) fn files(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Token => &[("token_file", "token")],
            Self::Approle => &[("role_id_file", "role-id"), ("secret_id_file", "secret-id")],
            Self::Userpass => &[("password_file", "password")],
            Self::Jwt | Self::Kubernetes => &[("jwt_file", "jwt")],
            Self::Cert => &[("cert_file", "client.pem"), ("key_file", "client.key")],
        }
    }

    /// Whether the configuration names the role.
    pub(super) fn names_role(self) -> bool {
        matches!(self, Self::Jwt | Self::Kubernetes | Self::Cert)
    }

    /// Whether `vault-setup.sh node NAME` makes the credential.
    pub(super) fn is_made_by_vault(self) -> bool {
        matches!(self, Self::Token | Self::Approle | Self::Userpass)
    }
}

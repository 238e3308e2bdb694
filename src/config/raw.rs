//! The file as it is written: every key that there is, unchecked. A leaf stays a bare value, so
//! that one of the wrong type is reported together with all other errors.

use serde::Deserialize;
use toml::{Table, Value};

use super::reader::ConfigError;

/// A value that may be missing.
pub(super) type Leaf = Option<Value>;

/// The scalar keys by table: those that the environment can set. The first table is the top level.
pub(super) const SCALARS: &[(&str, &[&str])] = &[
    ("", &["kms_version"]),
    ("socket", &["path", "mode", "owner", "group"]),
    (
        "vault",
        &[
            "address",
            "namespace",
            "ca_file",
            "ca_dir",
            "tls_server_name",
            "client_cert_file",
            "client_key_file",
            "allow_plaintext",
        ],
    ),
    (
        "transit",
        &["mount", "key", "max_in_flight", "accept_replaced"],
    ),
    (
        "auth",
        &[
            "method",
            "namespace",
            "mount",
            "role",
            "jwt_file",
            "spiffe_socket",
            "spiffe_audience",
            "spiffe_id",
            "spiffe_trust_domain",
            "token_file",
            "role_id",
            "role_id_file",
            "secret_id",
            "secret_id_file",
            "wrapped_secret_id_file",
            "username",
            "password_file",
            "cert_file",
            "key_file",
        ],
    ),
    ("admin", &["listen"]),
    ("log", &["level", "format"]),
    ("health", &["tolerance", "fail_after"]),
    ("limits", &["max_waiting"]),
    ("state", &["dir"]),
];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Raw {
    pub(super) kms_version: Leaf,
    pub(super) socket: Socket,
    pub(super) vault: Vault,
    pub(super) transit: Transit,
    pub(super) auth: Auth,
    pub(super) admin: Admin,
    pub(super) log: Log,
    pub(super) health: Health,
    pub(super) limits: Limits,
    pub(super) state: StateDir,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Socket {
    pub(super) path: Leaf,
    pub(super) mode: Leaf,
    pub(super) owner: Leaf,
    pub(super) group: Leaf,
    pub(super) allow_uids: Leaf,
    pub(super) allow_gids: Leaf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Vault {
    pub(super) address: Leaf,
    pub(super) namespace: Leaf,
    pub(super) ca_file: Leaf,
    pub(super) ca_dir: Leaf,
    pub(super) tls_server_name: Leaf,
    pub(super) client_cert_file: Leaf,
    pub(super) client_key_file: Leaf,
    pub(super) allow_plaintext: Leaf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Transit {
    pub(super) mount: Leaf,
    pub(super) key: Leaf,
    pub(super) max_in_flight: Leaf,
    pub(super) accept_replaced: Leaf,
    pub(super) decrypt_also: Vec<DecryptAlso>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DecryptAlso {
    pub(super) namespace: Leaf,
    pub(super) mount: Leaf,
    pub(super) key: Leaf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Auth {
    pub(super) method: Leaf,
    pub(super) namespace: Leaf,
    pub(super) mount: Leaf,
    pub(super) role: Leaf,
    pub(super) jwt_file: Leaf,
    pub(super) spiffe_socket: Leaf,
    pub(super) spiffe_audience: Leaf,
    pub(super) spiffe_id: Leaf,
    pub(super) spiffe_trust_domain: Leaf,
    pub(super) token_file: Leaf,
    pub(super) role_id: Leaf,
    pub(super) role_id_file: Leaf,
    pub(super) secret_id: Leaf,
    pub(super) secret_id_file: Leaf,
    pub(super) wrapped_secret_id_file: Leaf,
    pub(super) username: Leaf,
    pub(super) password_file: Leaf,
    pub(super) cert_file: Leaf,
    pub(super) key_file: Leaf,
}

impl Auth {
    /// The keys that only some methods have.
    pub(super) fn of_methods(&self) -> [(&'static str, &Leaf); 17] {
        [
            ("mount", &self.mount),
            ("role", &self.role),
            ("jwt_file", &self.jwt_file),
            ("spiffe_socket", &self.spiffe_socket),
            ("spiffe_audience", &self.spiffe_audience),
            ("spiffe_id", &self.spiffe_id),
            ("spiffe_trust_domain", &self.spiffe_trust_domain),
            ("token_file", &self.token_file),
            ("role_id", &self.role_id),
            ("role_id_file", &self.role_id_file),
            ("secret_id", &self.secret_id),
            ("secret_id_file", &self.secret_id_file),
            ("wrapped_secret_id_file", &self.wrapped_secret_id_file),
            ("username", &self.username),
            ("password_file", &self.password_file),
            ("cert_file", &self.cert_file),
            ("key_file", &self.key_file),
        ]
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Admin {
    pub(super) listen: Leaf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Log {
    pub(super) level: Leaf,
    pub(super) format: Leaf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Health {
    pub(super) tolerance: Leaf,
    pub(super) fail_after: Leaf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Limits {
    pub(super) max_waiting: Leaf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StateDir {
    pub(super) dir: Leaf,
}

/// Takes the table apart; every unknown key is an error.
pub(super) fn parse(table: Table, errors: &mut Vec<ConfigError>) -> Raw {
    let unknown = |path: serde_ignored::Path<'_>| {
        // A leaf takes any value, so a path below one cannot come; array items show as numbers.
        errors.push(ConfigError::new(
            path.to_string(),
            "is no key of this configuration",
        ));
    };
    match serde_ignored::deserialize(table, unknown) {
        Ok(raw) => raw,
        Err(error) => {
            errors.push(ConfigError::new("configuration", error.to_string().trim()));
            Raw::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scalar_is_a_key() {
        let mut table = Table::new();
        for (name, keys) in SCALARS {
            let values = keys
                .iter()
                .map(|key| ((*key).to_owned(), Value::Boolean(true)));
            match *name {
                "" => table.extend(values),
                name => {
                    table.insert(name.to_owned(), Value::Table(values.collect()));
                }
            }
        }
        let mut errors = Vec::new();
        parse(table, &mut errors);
        assert!(errors.is_empty(), "{errors:?}");
    }
}

//! The file as it is written: every key, unchecked. A value stays a bare TOML value, so that one of
//! the wrong type is reported together with all other errors.

use serde::Deserialize;
use toml::{Table, Value};

use super::error::ConfigError;

/// A value that may be missing.
pub(super) type RawValue = Option<Value>;

/// The scalar keys by table, except those of `[auth]`. The empty name is the top level.
const TABLES: &[(&str, &[&str])] = &[
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
        &[
            "mount",
            "key",
            "max_in_flight",
            "accept_replaced",
            "key_id_suffix",
        ],
    ),
    ("outage", &["seed_cache", "max_age", "local_kek"]),
    ("admin", &["listen"]),
    ("drop_in", &["plugin", "health_listen", "metrics_listen"]),
    ("log", &["level", "format"]),
    ("health", &["tolerance", "fail_after"]),
    ("limits", &["max_waiting"]),
    ("state", &["dir"]),
];

/// The keys that are lists in the file. `transit.decrypt_also` is a list of tables there.
const LISTS: &[(&str, &str)] = &[
    ("socket", "allow_uids"),
    ("socket", "allow_gids"),
    ("transit", "decrypt_also"),
];

/// The auth methods.
pub(super) const METHODS: [&str; 6] = ["token", "kubernetes", "jwt", "approle", "userpass", "cert"];

/// Declares `[auth]`: each key with the methods that have it; an empty list means all methods.
macro_rules! auth_keys {
    ($($key:ident: $methods:expr,)*) => {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        pub(super) struct Auth {
            $(pub(super) $key: RawValue,)*
        }

        /// The keys of `[auth]`, each with the methods that have it; an empty list means all methods.
        pub(super) const AUTH_KEYS: &[(&str, &[&str])] = &[$((stringify!($key), &$methods),)*];

        impl Auth {
            /// The keys that are set.
            pub(super) fn keys_set(&self) -> Vec<&'static str> {
                let all = [$((stringify!($key), self.$key.is_some()),)*];
                all.into_iter().filter(|(_, is_set)| *is_set).map(|(key, _)| key).collect()
            }
        }
    };
}

auth_keys! {
    method: [],
    namespace: [],
    mount: ["kubernetes", "jwt", "approle", "userpass", "cert"],
    role: ["kubernetes", "jwt", "approle", "cert"],
    jwt_file: ["kubernetes", "jwt"],
    spiffe_socket: ["jwt"],
    spiffe_audience: ["jwt"],
    spiffe_id: ["jwt"],
    spiffe_trust_domain: ["jwt"],
    token_file: ["token"],
    role_id: ["approle"],
    role_id_file: ["approle"],
    secret_id: ["approle"],
    secret_id_file: ["approle"],
    wrapped_secret_id_file: ["approle"],
    username: ["userpass"],
    password_file: ["userpass"],
    cert_file: ["cert"],
    key_file: ["cert"],
}

/// All keys, each of which the environment can set: the table and the key.
pub(super) fn keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    let tables = TABLES
        .iter()
        .flat_map(|(table, keys)| keys.iter().map(move |key| (*table, *key)));
    let auth = AUTH_KEYS.iter().map(|(key, _)| ("auth", *key));
    tables.chain(auth).chain(LISTS.iter().copied())
}

/// A key's value as the environment writes it: the items of a list are separated by commas.
pub(super) fn value_of(table: &str, key: &str, text: &str) -> Value {
    let items = || text.split(',').map(str::trim);
    match (table, key) {
        ("transit", "decrypt_also") => Value::Array(items().map(key_to_decrypt).collect()),
        // One address is no list, as in the file.
        ("vault", "address") if text.contains(',') => {
            Value::Array(items().map(Value::from).collect())
        }
        _ if LISTS.contains(&(table, key)) => Value::Array(items().map(Value::from).collect()),
        _ => Value::from(text),
    }
}

/// `KEY` or `MOUNT/KEY`: the name of a key has no slash.
fn key_to_decrypt(text: &str) -> Value {
    let mut table = Table::new();
    let name = match text.rsplit_once('/') {
        Some((mount, name)) => {
            table.insert("mount".to_owned(), Value::from(mount));
            name
        }
        None => text,
    };
    table.insert("key".to_owned(), Value::from(name));
    Value::Table(table)
}

/// The whole file. Without `Debug`: it may hold a secret_id.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Raw {
    pub(super) kms_version: RawValue,
    pub(super) socket: Socket,
    pub(super) vault: Vault,
    pub(super) transit: Transit,
    pub(super) auth: Auth,
    pub(super) outage: Outage,
    pub(super) admin: Admin,
    pub(super) drop_in: DropIn,
    pub(super) log: Log,
    pub(super) health: Health,
    pub(super) limits: Limits,
    pub(super) state: StateDir,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Socket {
    pub(super) path: RawValue,
    pub(super) mode: RawValue,
    pub(super) owner: RawValue,
    pub(super) group: RawValue,
    pub(super) allow_uids: RawValue,
    pub(super) allow_gids: RawValue,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Vault {
    pub(super) address: RawValue,
    pub(super) namespace: RawValue,
    pub(super) ca_file: RawValue,
    pub(super) ca_dir: RawValue,
    pub(super) tls_server_name: RawValue,
    pub(super) client_cert_file: RawValue,
    pub(super) client_key_file: RawValue,
    pub(super) allow_plaintext: RawValue,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Transit {
    pub(super) mount: RawValue,
    pub(super) key: RawValue,
    pub(super) max_in_flight: RawValue,
    pub(super) accept_replaced: RawValue,
    pub(super) key_id_suffix: RawValue,
    pub(super) decrypt_also: Vec<DecryptAlso>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DecryptAlso {
    pub(super) namespace: RawValue,
    pub(super) mount: RawValue,
    pub(super) key: RawValue,
    pub(super) associated_data: RawValue,
    pub(super) provider_name: RawValue,
    pub(super) cluster_id: RawValue,
    pub(super) instance_id: RawValue,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Outage {
    pub(super) seed_cache: RawValue,
    pub(super) max_age: RawValue,
    pub(super) local_kek: RawValue,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Admin {
    pub(super) listen: RawValue,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DropIn {
    pub(super) plugin: RawValue,
    pub(super) health_listen: RawValue,
    pub(super) metrics_listen: RawValue,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Log {
    pub(super) level: RawValue,
    pub(super) format: RawValue,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Health {
    pub(super) tolerance: RawValue,
    pub(super) fail_after: RawValue,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Limits {
    pub(super) max_waiting: RawValue,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StateDir {
    pub(super) dir: RawValue,
}

/// Deserializes the table; every unknown key is an error.
pub(super) fn parse(table: Table, errors: &mut Vec<ConfigError>) -> Raw {
    let unknown = |path: serde_ignored::Path<'_>| {
        // A raw value accepts everything below it, so the path is that of a key; the items of an
        // array appear as numbers.
        errors.push(ConfigError::new(path.to_string(), "unknown key"));
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
    fn every_key_exists() {
        let mut table = Table::new();
        for (name, key) in keys() {
            let value = value_of(name, key, "text");
            if name.is_empty() {
                table.insert(key.to_owned(), value);
                continue;
            }
            let inner = table
                .entry(name)
                .or_insert_with(|| Value::Table(Table::new()));
            let inner = inner.as_table_mut().expect("a table");
            inner.insert(key.to_owned(), value);
        }
        let mut errors = Vec::new();
        parse(table, &mut errors);
        assert!(errors.is_empty(), "{errors:?}");
    }

    #[test]
    fn lists_are_separated_by_commas_and_other_values_are_not() {
        let read = |table, key, text| value_of(table, key, text).to_string();
        assert_eq!(read("socket", "allow_uids", "0, 1000"), r#"["0", "1000"]"#);
        assert_eq!(read("vault", "address", "https://a"), r#""https://a""#);
        assert_eq!(
            read("vault", "address", "https://a,https://b"),
            r#"["https://a", "https://b"]"#
        );
        assert_eq!(
            read("transit", "decrypt_also", "old, team/kms/older"),
            r#"[{ key = "old" }, { key = "older", mount = "team/kms" }]"#
        );
        assert_eq!(read("auth", "username", "a,b"), r#""a,b""#);
    }

    #[test]
    fn every_method_of_a_key_exists() {
        let mut methods = AUTH_KEYS.iter().flat_map(|(_, methods)| methods.iter());
        assert!(methods.all(|method| METHODS.contains(method)));
    }
}

//! The defaults that apply, for those who ask where a value comes from.

use std::collections::BTreeSet;

use toml::{Table, Value};

use crate::config::Config;
use crate::config::origin::Origin;
use crate::grpc::{AllowedPeers, SocketPath};
use crate::session::Method;

/// The one key whose empty value is not its default.
const EMPTY_HAS_A_MEANING: &str = "admin.listen";

/// The names of the keys that are set. An empty text counts as unset.
pub(in crate::config) fn keys_set(table: &Table) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for (name, value) in table {
        match value {
            Value::Table(inner) => {
                let inner = inner
                    .iter()
                    .map(|(key, value)| (format!("{name}.{key}"), value));
                keys.extend(inner.filter(is_set).map(|(key, _)| key));
            }
            value if is_set(&(name.clone(), value)) => {
                keys.insert(name.clone());
            }
            _ => {}
        }
    }
    keys
}

fn is_set((key, value): &(String, &Value)) -> bool {
    value.as_str() != Some("") || key == EMPTY_HAS_A_MEANING
}

/// What applies of the keys that are not set. A key without a default is not among them.
pub(in crate::config) fn defaults(config: &Config, set: &BTreeSet<String>) -> Vec<Origin> {
    let mut defaults = of_socket(config);
    defaults.extend(of_vault(config, set));
    let duration = |value| humantime::format_duration(value).to_string();
    let limits = &config.keys.limits;
    let log = config.log;
    defaults.extend([
        Origin::default("kms_version", config.kms_version.as_str()),
        Origin::default("transit.mount", config.keys.key.mount.as_str()),
        Origin::default("transit.max_in_flight", "adapts to the distance to Vault"),
        Origin::default(
            "outage.seed_cache",
            if config.outage.seed_cache {
                "memory"
            } else {
                "off"
            },
        ),
        Origin::default("outage.max_age", duration(config.outage.max_age)),
        Origin::default("outage.local_kek", config.outage.local_kek.to_string()),
        Origin::default("admin.listen", config.admin.to_string()),
        Origin::default("log.level", log.level.to_string()),
        Origin::default("log.format", log.format.as_str()),
        Origin::default("health.tolerance", duration(limits.tolerance)),
        Origin::default("health.fail_after", duration(limits.fail_after)),
        Origin::default("limits.max_waiting", config.max_waiting.to_string()),
    ]);
    if let Some(dir) = config.keys.state_file.parent() {
        defaults.push(Origin::default("state.dir", dir.display().to_string()));
    }
    defaults.retain(|origin| !set.contains(&origin.key));
    defaults.sort_by(|one, other| one.key.cmp(&other.key));
    defaults
}

fn of_socket(config: &Config) -> Vec<Origin> {
    let AllowedPeers { mut uids, gids } = config.peers.clone();
    // Of root the own user is root.
    uids.dedup();
    let path = match &config.socket.path {
        SocketPath::File(path) => path.display().to_string(),
        SocketPath::Abstract(name) => format!("@{name}"),
    };
    vec![
        Origin::default("socket.path", path),
        Origin::default(
            "socket.mode",
            format!("{:04o}", config.socket.permissions.mode),
        ),
        Origin::default("socket.allow_uids", format!("{uids:?}")),
        Origin::default("socket.allow_gids", format!("{gids:?}")),
    ]
}

/// Of `[vault]` and `[auth]`.
fn of_vault(config: &Config, set: &BTreeSet<String>) -> Vec<Origin> {
    let namespace = |name: &str| {
        if name.is_empty() {
            "root".to_owned()
        } else {
            name.to_owned()
        }
    };
    let (vault, auth) = (&config.vault, &config.auth);
    let mut defaults = vec![
        Origin::default(
            "vault.namespace",
            namespace(config.keys.key.namespace.as_str()),
        ),
        Origin::default("vault.allow_plaintext", "false"),
        Origin::default("auth.method", auth.method.name()),
        Origin::default("auth.namespace", namespace(auth.namespace.as_str())),
    ];
    let names_no_ca = vault.ca_file.is_none() && vault.ca_dir.is_none();
    if names_no_ca && vault.addresses.iter().any(|address| address.is_tls()) {
        let system = "the CA certificates of the system";
        defaults.push(Origin::default("vault.ca_file", system));
    }
    if !set.contains("auth.mount")
        && let Some(mount) = mount(&auth.method)
    {
        defaults.push(Origin::default("auth.mount", mount));
    }
    defaults
}

/// Where the method is mounted; `None` for a token, which is not logged in for.
fn mount(method: &Method) -> Option<&str> {
    let mount = match method {
        Method::Token(_) => return None,
        Method::Kubernetes(jwt) | Method::Jwt(jwt) => &jwt.mount,
        Method::AppRole(approle) => &approle.mount,
        Method::Userpass(userpass) => &userpass.mount,
        Method::Cert(cert) => &cert.mount,
    };
    Some(mount.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_text_is_unset_except_where_empty_has_a_meaning() {
        let text = "kms_version = ''\n[vault]\nnamespace = ''\naddress = 'a'\n[admin]\nlisten = ''";
        let keys = keys_set(&text.parse().expect("TOML"));
        let expected = ["admin.listen", "vault.address"].map(str::to_owned);
        assert_eq!(keys, BTreeSet::from(expected));
    }
}

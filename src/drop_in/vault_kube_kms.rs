//! `vault-kube-kms` of HashiCorp, as OpenShift's operators start it: flags, each also a variable.

use std::sync::LazyLock;

use super::given::{Entry, Given};
use super::input::Host;
use super::setting::{Kind, Setting};
use super::translation::Translation;
use super::{apply, go_client, keys};

/// The longest path of a socket (`sockaddr_un`).
const MAX_SOCKET_PATH: usize = 107;

/// Its own settings.
const OWN: &[Setting] = &[
    Setting::flag("-listen-address", &["VAULT_KUBE_KMS_LISTEN_ADDRESS"])
        .default("unix:///tmp/vault-kube-kms.socket")
        .decides("`socket.path`; `admin.listen` is a socket beside it"),
    Setting::flag("-vault-address", &["VAULT_KUBE_KMS_VAULT_ADDRESS"]).key("vault.address"),
    Setting::flag("-vault-namespace", &["VAULT_KUBE_KMS_VAULT_NAMESPACE", "VAULT_NAMESPACE"])
        .key("vault.namespace"),
    Setting::flag("-vault-auth-namespace", &["VAULT_KUBE_KMS_VAULT_AUTH_NAMESPACE"])
        .key("auth.namespace"),
    Setting::flag("-vault-key-path", &["VAULT_KUBE_KMS_VAULT_KEY_PATH"])
        .decides("`transit.mount` and `transit.key`, from MOUNT/keys/NAME"),
    Setting::flag("-transit-mount", &["VAULT_KUBE_KMS_TRANSIT_MOUNT"])
        .decides("`transit.mount`, without -vault-key-path"),
    Setting::flag("-transit-key", &["VAULT_KUBE_KMS_TRANSIT_KEY"])
        .decides("`transit.key`, without -vault-key-path"),
    Setting::flag("-tls-ca-file", &["VAULT_KUBE_KMS_TLS_CA_FILE", "VAULT_CACERT"])
        .kind(Kind::Path)
        .key("vault.ca_file"),
    Setting::flag("-tls-skip-verify", &["VAULT_KUBE_KMS_TLS_SKIP_VERIFY"])
        .kind(Kind::Bool)
        .decides("a warning: certificates are always verified"),
    Setting::flag("-tls-sni", &["VAULT_KUBE_KMS_TLS_SNI"]).key("vault.tls_server_name"),
    Setting::flag("-vault-connection-timeout", &["VAULT_KUBE_KMS_VAULT_CONNECTION_TIMEOUT"])
        .kind(Kind::Duration)
        .default("30s")
        .dropped("is not kept: a call ends with kube-apiserver's own deadline, and is tried again until then"),
    Setting::flag("-auth-method", &["VAULT_KUBE_KMS_AUTH_METHOD"])
        .default("approle")
        .decides("`auth.method`: approle alone"),
    Setting::flag("-auth-mount", &["VAULT_KUBE_KMS_AUTH_MOUNT"])
        .default("approle")
        .key("auth.mount"),
    Setting::flag("-approle-role-id", &["VAULT_KUBE_KMS_APPROLE_ROLE_ID"]).key("auth.role_id"),
    Setting::flag("-approle-secret-id-path", &["VAULT_KUBE_KMS_APPROLE_SECRET_ID_PATH"])
        .kind(Kind::Path)
        .key("auth.secret_id_file"),
    Setting::flag("-zap-log-level", &[]).decides("`log.level`"),
    Setting::flag("-log-level", &["VAULT_KUBE_KMS_LOG_LEVEL"])
        .decides("`log.level`, without -zap-log-level"),
    Setting::flag("-metrics-port", &["VAULT_KUBE_KMS_METRICS_PORT"])
        .kind(Kind::Integer)
        .default("9090")
        .decides("`drop_in.metrics_listen`, on 127.0.0.1; nothing if it is not above 0"),
    Setting::flag("-disable-runtime-metrics", &["VAULT_KUBE_KMS_DISABLE_RUNTIME_METRICS"])
        .kind(Kind::Bool)
        .dropped("is not needed: there are no metrics of a Go runtime"),
    Setting::flag("-health-port", &["VAULT_KUBE_KMS_HEALTH_PORT"])
        .kind(Kind::Integer)
        .default("8081")
        .decides("`drop_in.health_listen`, on 0.0.0.0; nothing if it is not above 0"),
    Setting::flag("-version", &[]).kind(Kind::Bool).decides("prints the version"),
    Setting::variable(&["VAULT_ADDR"])
        .unread("has no effect: the address is -vault-address (VAULT_KUBE_KMS_VAULT_ADDRESS)"),
    Setting::variable(&["VAULT_TOKEN"]).unread("has no effect: the login is by approle"),
];

/// All settings that it reads.
pub(super) fn settings() -> &'static [Setting] {
    static ALL: LazyLock<Vec<Setting>> = LazyLock::new(|| [OWN, go_client::SETTINGS].concat());
    &ALL
}

/// Translates what is given.
pub(super) fn translate(given: &Given, host: &Host, out: &mut Translation) {
    apply::settings(given, "approle", host, out);
    for (name, what) in [
        ("-vault-address", "the address of Vault"),
        ("-approle-role-id", "the role_id"),
        ("-approle-secret-id-path", "the file of the secret_id"),
    ] {
        if given.get(name).is_none() {
            apply::missing(given, name, what, out);
        }
    }
    method(given, out);
    key(given, out);
    if let Some(entry) = given.get("-listen-address")
        && let Some(path) = apply::unix_path(entry, out)
    {
        apply::socket(entry, path, host, out);
        admin(entry, out);
    }
    log_level(given, out);
    out.set(keys::PLUGIN, "vault-kube-kms", "vault-kube-kms");
    listen(
        given,
        "-metrics-port",
        keys::METRICS_LISTEN,
        "127.0.0.1",
        out,
    );
    listen(given, "-health-port", keys::HEALTH_LISTEN, "0.0.0.0", out);
    go_client::translate(given, "-tls-ca-file", false, host, out);
    if let Some(entry) = given
        .set("-tls-skip-verify")
        .filter(|_| given.is_true("-tls-skip-verify"))
    {
        apply::verified(entry, "-tls-ca-file", out);
    }
}

fn method(given: &Given, out: &mut Translation) {
    let Some(entry) = given.get("-auth-method") else {
        return;
    };
    if entry.value.eq_ignore_ascii_case("approle") {
        out.set("auth.method", "approle", entry.origin);
    } else {
        let cause = format!("{:?} is no method of this plugin", entry.value);
        out.error(entry.origin, cause, "use approle");
    }
}

/// The key, from its path or from the two older flags.
fn key(given: &Given, out: &mut Translation) {
    let (mount, key) = (given.set("-transit-mount"), given.set("-transit-key"));
    match given.set("-vault-key-path") {
        Some(path) => {
            let parts = path.value.trim_matches('/').rsplit_once("/keys/");
            match parts.filter(|(mount, key)| !mount.is_empty() && !key.contains('/')) {
                Some((mount, key)) => {
                    out.set("transit.mount", mount, path.origin);
                    out.set("transit.key", key, path.origin);
                }
                None => {
                    let cause = format!("{:?} is not of the form MOUNT/keys/NAME", path.value);
                    out.error(path.origin, cause, "write it so, as in transit/keys/kms");
                }
            }
            for unused in [mount, key].into_iter().flatten() {
                out.note(
                    unused.origin,
                    format!("has no effect: {} is set, too", path.origin),
                );
            }
        }
        None => {
            if let Some(mount) = mount {
                out.set("transit.mount", mount.value, mount.origin);
            }
            match key {
                Some(key) => out.set("transit.key", key.value, key.origin),
                None => apply::missing(given, "-vault-key-path", "MOUNT/keys/NAME", out),
            }
        }
    }
}

/// Two instances may run in one pod on the network of the host: each has an admin socket of its own.
fn admin(entry: Entry<'_>, out: &mut Translation) {
    let socket = out.value("socket.path").map(|it| it.text.clone());
    let Some(socket) = socket.filter(|it| it.starts_with('/')) else {
        return out.set("admin.listen", "", entry.origin);
    };
    let path = format!("{socket}.admin");
    if path.len() > MAX_SOCKET_PATH {
        out.note(
            entry.origin,
            "is too long for an admin socket beside it: `status` and `reload` do not work",
        );
        return out.set("admin.listen", "", entry.origin);
    }
    out.set("admin.listen", format!("unix:{path}"), entry.origin);
}

fn log_level(given: &Given, out: &mut Translation) {
    let Some(entry) = given.set("-zap-log-level").or(given.set("-log-level")) else {
        return;
    };
    let level = match entry.value.to_ascii_lowercase().as_str() {
        "debug" => "debug",
        "info" => "info",
        "warn" => "warn",
        "error" | "panic" | "dpanic" | "fatal" => "error",
        // Each step is more verbose than debug.
        number if number.parse::<u8>().is_ok_and(|it| it > 0) => "debug",
        other => {
            let cause = format!("{other:?} is no level");
            let remedy = "use debug, info, error, panic or a number above 0";
            return out.error(entry.origin, cause, remedy);
        }
    };
    out.set("log.level", level, entry.origin);
}

fn listen(given: &Given, name: &str, key: &'static str, host: &str, out: &mut Translation) {
    let Some(entry) = given.get(name) else {
        return;
    };
    match entry
        .value
        .parse::<i64>()
        .map(|port| (port, u16::try_from(port)))
    {
        Ok((port, _)) if port <= 0 => out.set(key, "", entry.origin),
        Ok((_, Ok(port))) => out.set(key, format!("{host}:{port}"), entry.origin),
        Ok((_, Err(_))) => out.error(entry.origin, "is not a port", "write a number up to 65535"),
        // It was reported.
        Err(_) => {}
    }
}

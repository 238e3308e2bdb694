//! `vault-kms-provider` of Ruddickmg, in Rust (`src/utilities/environment.rs`): variables alone.

use super::given::Given;
use super::input::Host;
use super::setting::{Kind, Setting};
use super::translation::Translation;
use super::{apply, keys};

/// Why a variable of Vault's own client has no effect.
const NOT_VAULTS: &str = "has no effect: this plugin does not read it";
/// What lets everybody write.
const OTHERS_WRITE: u32 = 0o002;
/// What lets a group write.
const GROUP_WRITES: u32 = 0o020;
/// The mode of a socket that it makes where its own is not a number.
const DEFAULT_MODE: u32 = 0o666;

/// Its settings.
const ALL: &[Setting] = &[
    Setting::variable(&["HTTP_ADDRESS"]).default("0.0.0.0:8080").key(keys::HEALTH_LISTEN),
    Setting::variable(&["SOCKET_PATH"])
        .default("./sockets/vault-kms-provider.sock")
        .decides("`socket.path`"),
    Setting::variable(&["SOCKET_PERMISSIONS"])
        .default("666")
        .decides("`socket.mode`, unless it lets everybody connect: then 0600, and a warning"),
    Setting::variable(&["LOG_LEVEL"]).default("info").decides("`log.level`"),
    Setting::variable(&["LOG_FORMAT"]).default("compact").decides("`log.format`: json, else text"),
    Setting::variable(&["VAULT_ADDRESS"])
        .default("https://vault.vault.svc.cluster.local:8200")
        .key("vault.address"),
    Setting::variable(&["VAULT_TRANSIT_KEY"])
        .default("vault-kms-provider")
        .key("transit.key"),
    Setting::variable(&["VAULT_TRANSIT_MOUNT"]).default("transit").key("transit.mount"),
    Setting::variable(&["VAULT_CA_CERT"]).kind(Kind::Path).key("vault.ca_file"),
    Setting::variable(&["VAULT_CA_PATH"]).kind(Kind::Path).key("vault.ca_dir"),
    Setting::variable(&["VAULT_CLIENT_CERT"]).kind(Kind::Path).decides("`vault.client_cert_file`"),
    Setting::variable(&["VAULT_CLIENT_KEY"]).kind(Kind::Path).decides("`vault.client_key_file`"),
    Setting::variable(&["VAULT_SKIP_VERIFY"]).decides("a warning: certificates are always verified"),
    Setting::variable(&["VAULT_TOKEN"]).secret(&["token"], "auth.token_file"),
    Setting::variable(&["VAULT_TOKEN_PATH"])
        .kind(Kind::Path)
        .login(&["token"], "auth.token_file"),
    Setting::variable(&["VAULT_KUBERNETES_JWT"]).secret(&["kubernetes"], "auth.jwt_file"),
    Setting::variable(&["VAULT_KUBERNETES_JWT_PATH"])
        .kind(Kind::Path)
        .login(&["kubernetes"], "auth.jwt_file"),
    Setting::variable(&["VAULT_KUBERNETES_ROLE"])
        .default("vault-kms-provider")
        .login(&["kubernetes"], "auth.role"),
    Setting::variable(&["VAULT_PASSWORD"]).secret(&["userpass"], "auth.password_file"),
    Setting::variable(&["VAULT_PASSWORD_PATH"])
        .kind(Kind::Path)
        .login(&["userpass"], "auth.password_file"),
    Setting::variable(&["VAULT_USER"])
        .default("vault-kms-provider")
        .login(&["userpass"], "auth.username"),
    Setting::variable(&["VAULT_ROLE_ID"]).login(&["approle"], "auth.role_id"),
    Setting::variable(&["VAULT_SECRET_ID"]).secret(&["approle"], "auth.secret_id_file"),
    Setting::variable(&["VAULT_SECRET_ID_PATH"])
        .kind(Kind::Path)
        .login(&["approle"], "auth.secret_id_file"),
    Setting::variable(&["VAULT_JWT"]).secret(&["jwt"], "auth.jwt_file"),
    Setting::variable(&["VAULT_JWT_PATH"]).kind(Kind::Path).login(&["jwt"], "auth.jwt_file"),
    Setting::variable(&["VAULT_JWT_ROLE"]).login(&["jwt"], "auth.role"),
    Setting::variable(&["VAULT_CERTIFICATE_NAME"]).login(&["cert"], "auth.role"),
    Setting::variable(&["VAULT_AUTH_MOUNT"])
        .login(&["kubernetes", "userpass", "approle", "jwt", "cert"], "auth.mount"),
    Setting::variable(&["VAULT_TRANSIT_PATH"]).unread(
        "has no effect, as with that plugin, although its chart sets it: the mount is VAULT_TRANSIT_MOUNT, else transit",
    ),
    Setting::variable(&["VAULT_ADDR"]).unread("has no effect: the address is VAULT_ADDRESS"),
    Setting::variable(&["VAULT_NAMESPACE"]).unread(NOT_VAULTS),
    Setting::variable(&["VAULT_CACERT"]).unread("has no effect: the CA is VAULT_CA_CERT"),
    Setting::variable(&["VAULT_CAPATH"]).unread("has no effect: the CAs are in VAULT_CA_PATH"),
    Setting::variable(&["VAULT_TLS_SERVER_NAME"]).unread(NOT_VAULTS),
];

/// All settings that it reads.
pub(super) fn settings() -> &'static [Setting] {
    ALL
}

/// Translates what is given.
pub(super) fn translate(given: &Given, host: &Host, out: &mut Translation) {
    let login = login(given);
    match login {
        Some((method, origin)) => out.set("auth.method", method, origin),
        None => out.error(
            "VAULT_TOKEN",
            "neither it nor another credential is set",
            "set VAULT_TOKEN_PATH, VAULT_KUBERNETES_JWT_PATH, VAULT_PASSWORD_PATH, VAULT_ROLE_ID and \
             VAULT_SECRET_ID_PATH, VAULT_JWT_PATH or VAULT_CERTIFICATE_NAME",
        ),
    }
    apply::settings(given, login.map_or("", |(method, _)| method), host, out);
    if let Some(entry) = given.get("SOCKET_PATH") {
        apply::socket(entry, entry.value, host, out);
        out.creates = apply::socket_dir(out).map(Into::into);
    }
    permissions(given, host, out);
    log(given, out);
    tls(given, host, out);
    out.set(keys::PLUGIN, "vault-kms-provider", "vault-kms-provider");
    apply::plaintext(out);
}

/// The first that matches, as that plugin chooses.
fn login(given: &Given) -> Option<(&'static str, &'static str)> {
    let one = |value: &str, path: &str| given.set(value).or(given.set(path)).map(|it| it.origin);
    let by = |method: &'static str| move |origin| (method, origin);
    one("VAULT_TOKEN", "VAULT_TOKEN_PATH")
        .map(by("token"))
        .or_else(|| one("VAULT_KUBERNETES_JWT", "VAULT_KUBERNETES_JWT_PATH").map(by("kubernetes")))
        .or_else(|| one("VAULT_PASSWORD", "VAULT_PASSWORD_PATH").map(by("userpass")))
        .or_else(|| {
            let secret_id = one("VAULT_SECRET_ID", "VAULT_SECRET_ID_PATH");
            given.set("VAULT_ROLE_ID").and(secret_id).map(by("approle"))
        })
        .or_else(|| one("VAULT_JWT", "VAULT_JWT_PATH").map(by("jwt")))
        .or_else(|| {
            let name = given.set("VAULT_CERTIFICATE_NAME")?;
            Some(("cert", name.origin))
        })
}

fn permissions(given: &Given, host: &Host, out: &mut Translation) {
    let Some(entry) = given.get("SOCKET_PERMISSIONS") else {
        return;
    };
    // What is not octal is 666 there, such as `any`.
    let mode = u32::from_str_radix(entry.value, 8).unwrap_or(DEFAULT_MODE);
    let is_abstract = out
        .value("socket.path")
        .is_some_and(|it| it.text.starts_with('@'));
    if is_abstract {
        // It has no file; who connects is checked as for any other.
    } else if mode & OTHERS_WRITE != 0 {
        out.note(
            entry.origin,
            format!(
                "{mode:o} lets every local process decrypt, and is not kept: the socket has mode 0600, so that root \
                 and the plugin's user connect; for a kube-apiserver of another user set \
                 VAULT_KMS_PLUGIN_SOCKET_ALLOW_UIDS (socket.allow_uids), VAULT_KMS_PLUGIN_SOCKET_GROUP (socket.group) \
                 and VAULT_KMS_PLUGIN_SOCKET_MODE=0660"
            ),
        );
    } else {
        out.set("socket.mode", format!("{:04o}", mode & 0o777), entry.origin);
        if mode & GROUP_WRITES != 0 {
            match host.gid {
                Some(gid) => out.set("socket.allow_gids", gid.to_string(), entry.origin),
                None => out.note(
                    entry.origin,
                    "lets the group of the plugin connect: name it in socket.allow_gids, too",
                ),
            }
        }
    }
}

fn log(given: &Given, out: &mut Translation) {
    if let Some(entry) = given.get("LOG_LEVEL") {
        let level = match entry.value {
            level @ ("error" | "warn" | "info" | "debug" | "trace") => level,
            other => {
                let text = format!(
                    "{other:?} is no level of that plugin, which takes info then; so does this one"
                );
                out.note(entry.origin, text);
                "info"
            }
        };
        out.set("log.level", level, entry.origin);
    }
    if let Some(entry) = given.get("LOG_FORMAT") {
        let format = if entry.value == "json" {
            "json"
        } else {
            "text"
        };
        out.set("log.format", format, entry.origin);
    }
}

fn tls(given: &Given, host: &Host, out: &mut Translation) {
    match (
        given.set("VAULT_CLIENT_CERT"),
        given.set("VAULT_CLIENT_KEY"),
    ) {
        (Some(cert), Some(key)) => {
            apply::path("vault.client_cert_file", cert, host, out);
            apply::path("vault.client_key_file", key, host, out);
        }
        (None, None) => {}
        (one, other) => {
            if let Some(half) = one.or(other) {
                let text = "has no effect, as with that plugin: VAULT_CLIENT_CERT and VAULT_CLIENT_KEY are set together";
                out.note(half.origin, text);
            }
        }
    }
    let only = given.set("VAULT_CA_CERT").or(given.set("VAULT_CA_PATH"));
    if let Some(entry) = only {
        let text = "these CAs alone are trusted; that plugin trusts those of the system as well";
        out.note(entry.origin, text);
    }
    let skips = |value: &str| !matches!(value, "0" | "f" | "F" | "false" | "False" | "FALSE");
    if let Some(entry) = given.set("VAULT_SKIP_VERIFY").filter(|it| skips(it.value)) {
        apply::verified(entry, "VAULT_CA_CERT", out);
    }
}

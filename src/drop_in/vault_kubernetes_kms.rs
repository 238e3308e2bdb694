//! `vault-kubernetes-kms` of FalcoSuessgott, in Go (`cmd/plugin.go`): flags over variables.

use std::sync::LazyLock;

use super::given::Given;
use super::input::Host;
use super::setting::{Kind, Setting};
use super::translation::Translation;
use super::{apply, go_client, keys};

/// Why its renewal of tokens has no effect.
const RENEWAL: &str = "is not needed: the token is renewed at 70% of its lease";
const BOTH: &str = "is not kept: KMS v1 and v2 are both served, and kube-apiserver uses the one that its \
                    EncryptionConfiguration names";
const METHODS: &str = "token, approle, userpass, cert or jwt";

/// Its own settings.
const OWN: &[Setting] = &[
    Setting::flag("-socket", &["VAULT_KMS_SOCKET"])
        .default("unix:///opt/kms/vaultkms.socket")
        .decides("`socket.path`"),
    Setting::flag(
        "-force-socket-overwrite",
        &[
            "VAULT_KMS_FORCE_SOCKET_OVERWRITE",
            "VAULT_KUBERNETES_KMS_FORCE_SOCKET_OVERWRITE",
            "FORCE_SOCKET_OVERWRITE",
        ],
    )
    .kind(Kind::Bool)
    .dropped("is not needed: a socket that nobody serves is replaced; one in use, and any other file, never is"),
    Setting::flag("-debug", &["VAULT_KMS_DEBUG"]).kind(Kind::Bool).decides("`log.level`"),
    Setting::flag("-health-port", &["VAULT_KMS_HEALTH_PORT"])
        .kind(Kind::Integer)
        .default("8080")
        .decides("`drop_in.health_listen` and `drop_in.metrics_listen`, on all addresses"),
    Setting::flag("-disable-v1", &["VAULT_KMS_DISABLE_V1"]).kind(Kind::Bool).dropped(BOTH),
    Setting::flag("-disable-v2", &["VAULT_KMS_DISABLE_V2"]).kind(Kind::Bool).dropped(BOTH),
    Setting::flag("-version", &[]).kind(Kind::Bool).decides("prints the version"),
    Setting::flag("-vault-address", &["VAULT_KMS_VAULT_ADDR"]).key("vault.address"),
    Setting::flag("-vault-namespace", &["VAULT_KMS_VAULT_NAMESPACE", "VAULT_NAMESPACE"])
        .key("vault.namespace"),
    Setting::flag("-vault-ca-cert", &["VAULT_KMS_VAULT_CACERT", "VAULT_CACERT"])
        .kind(Kind::Path)
        .key("vault.ca_file"),
    Setting::flag("-transit-mount", &["VAULT_KMS_TRANSIT_MOUNT"])
        .default("transit")
        .key("transit.mount"),
    Setting::flag("-transit-key", &["VAULT_KMS_TRANSIT_KEY"]).default("kms").key("transit.key"),
    Setting::flag("-token-refresh-interval", &["VAULT_KMS_TOKEN_REFRESH_INTERVAL"])
        .kind(Kind::Duration)
        .default("60s")
        .dropped(RENEWAL),
    Setting::flag(
        "-token-renewal",
        &["VAULT_KMS_TOKEN_RENEWAL_SECONDS", "VAULT_KMS_TOKEN_RENEWAL"],
    )
    .kind(Kind::Integer)
    .default("3600")
    .dropped(RENEWAL),
    Setting::flag("-auth-method", &["VAULT_KMS_AUTH_METHOD"]).decides("`auth.method`"),
    Setting::flag("-token", &["VAULT_KMS_TOKEN"]).secret(&["token"], "auth.token_file"),
    Setting::flag("-approle-mount", &["VAULT_KMS_APPROLE_MOUNT"])
        .default("approle")
        .login(&["approle"], "auth.mount"),
    Setting::flag("-approle-role-id", &["VAULT_KMS_APPROLE_ROLE_ID"])
        .login(&["approle"], "auth.role_id"),
    Setting::flag("-approle-secret-id", &["VAULT_KMS_APPROLE_SECRET_ID"])
        .secret(&["approle"], "auth.secret_id_file"),
    Setting::flag("-userpass-mount", &["VAULT_KMS_USERPASS_MOUNT"])
        .default("userpass")
        .login(&["userpass"], "auth.mount"),
    Setting::flag("-userpass-username", &["VAULT_KMS_USERPASS_USERNAME"])
        .login(&["userpass"], "auth.username"),
    Setting::flag("-userpass-password", &["VAULT_KMS_USERPASS_PASSWORD"])
        .secret(&["userpass"], "auth.password_file"),
    Setting::flag("-cert-mount", &["VAULT_KMS_CERT_MOUNT"])
        .default("cert")
        .login(&["cert", "cert with one file"], "auth.mount"),
    Setting::flag("-cert-role", &["VAULT_KMS_CERT_ROLE"])
        .login(&["cert", "cert with one file"], "auth.role"),
    Setting::flag("-cert-file", &["VAULT_KMS_CERT_FILE"])
        .kind(Kind::Path)
        .login(&["cert"], "auth.cert_file"),
    Setting::flag("-cert-key", &["VAULT_KMS_CERT_KEY"])
        .kind(Kind::Path)
        .login(&["cert"], "auth.key_file"),
    Setting::flag("-cert-pem", &["VAULT_KMS_CERT_PEM"])
        .kind(Kind::Path)
        .login(&["cert with one file"], "auth.cert_file"),
    Setting::flag("-jwt-mount", &["VAULT_KMS_JWT_MOUNT"])
        .default("jwt")
        .login(&["jwt", "jwt from SPIFFE"], "auth.mount"),
    Setting::flag("-jwt-role", &["VAULT_KMS_JWT_ROLE"])
        .login(&["jwt", "jwt from SPIFFE"], "auth.role"),
    Setting::flag("-jwt-token-source", &["VAULT_KMS_JWT_TOKEN_SOURCE"])
        .default("file")
        .decides("which of `auth.jwt_file` and `auth.spiffe_audience` is set"),
    Setting::flag("-jwt-token-path", &["VAULT_KMS_JWT_TOKEN_PATH"])
        .kind(Kind::Path)
        .default("/var/run/secrets/kubernetes.io/serviceaccount/token")
        .login(&["jwt"], "auth.jwt_file"),
    Setting::flag(
        "-jwt-spiffe-endpoint",
        &["VAULT_KMS_JWT_SPIFFE_ENDPOINT", "SPIFFE_ENDPOINT_SOCKET"],
    )
    .login(&["jwt from SPIFFE"], "auth.spiffe_socket"),
    Setting::flag("-jwt-spiffe-audience", &["VAULT_KMS_JWT_SPIFFE_AUDIENCE"])
        .login(&["jwt from SPIFFE"], "auth.spiffe_audience"),
    Setting::flag("-jwt-spiffe-id", &["VAULT_KMS_JWT_SPIFFE_ID"])
        .login(&["jwt from SPIFFE"], "auth.spiffe_id"),
    Setting::variable(&["VAULT_ADDR"]).unread("has no effect: the address is -vault-address (VAULT_KMS_VAULT_ADDR)"),
    Setting::variable(&["VAULT_AGENT_ADDR"])
        .unread("has no effect: the address is -vault-address (VAULT_KMS_VAULT_ADDR)"),
    Setting::variable(&["VAULT_TOKEN"]).unread("has no effect: the token is -token (VAULT_KMS_TOKEN)"),
];

/// What each login needs.
const REQUIRED: &[(&str, &[(&str, &str)])] = &[
    ("token", &[("-token", "the token")]),
    (
        "approle",
        &[
            ("-approle-role-id", "the role_id"),
            ("-approle-secret-id", "the secret_id"),
        ],
    ),
    (
        "userpass",
        &[
            ("-userpass-username", "the user in Vault"),
            ("-userpass-password", "the password"),
        ],
    ),
    (
        "cert",
        &[
            ("-cert-role", "the role in Vault"),
            (
                "-cert-file",
                "the file of the certificate, or set -cert-pem",
            ),
            ("-cert-key", "the file of its key, or set -cert-pem"),
        ],
    ),
    ("cert with one file", &[("-cert-role", "the role in Vault")]),
    ("jwt", &[("-jwt-role", "the role in Vault")]),
    (
        "jwt from SPIFFE",
        &[
            ("-jwt-role", "the role in Vault"),
            (
                "-jwt-spiffe-audience",
                "one of the bound_audiences of the role",
            ),
            ("-jwt-spiffe-id", "the SPIFFE ID of the plugin"),
        ],
    ),
];

/// All settings that it reads.
pub(super) fn settings() -> &'static [Setting] {
    static ALL: LazyLock<Vec<Setting>> = LazyLock::new(|| [OWN, go_client::SETTINGS].concat());
    &ALL
}

/// Translates what is given.
pub(super) fn translate(given: &Given, host: &Host, out: &mut Translation) {
    let login = login(given, out);
    apply::settings(given, login.unwrap_or_default(), host, out);
    if given.get("-vault-address").is_none() {
        apply::missing(given, "-vault-address", "the address of Vault", out);
    }
    if given.is_true("-disable-v1") && given.is_true("-disable-v2") {
        out.error(
            "-disable-v2",
            "leaves no version of KMS, with -disable-v1",
            "remove one of them",
        );
    }
    if let Some(entry) = given.get("-socket")
        && let Some(path) = apply::unix_path(entry, out)
    {
        apply::socket(entry, path, host, out);
    }
    if let Some(debug) = given.set("-debug").filter(|_| given.is_true("-debug")) {
        out.set("log.level", "debug", debug.origin);
    }
    out.set("log.format", "json", "vault-kubernetes-kms");
    out.set(keys::PLUGIN, "vault-kubernetes-kms", "vault-kubernetes-kms");
    listen(given, host, out);
    let has_certificate = login.is_some_and(|it| it.starts_with("cert"));
    go_client::translate(given, "-vault-ca-cert", has_certificate, host, out);
}

fn listen(given: &Given, host: &Host, out: &mut Translation) {
    let Some(entry) = given.get("-health-port") else {
        return;
    };
    match entry.value.parse::<u16>() {
        Ok(port) => {
            let address = host.all_addresses(port);
            out.set(keys::HEALTH_LISTEN, address.clone(), entry.origin);
            out.set(keys::METRICS_LISTEN, address, entry.origin);
        }
        // What is no number at all was reported.
        Err(_) if entry.value.parse::<i64>().is_ok() => {
            out.error(entry.origin, "is not a port", "write a number up to 65535");
        }
        Err(_) => {}
    }
}

/// How it logs in, in the words of the table.
fn login(given: &Given, out: &mut Translation) -> Option<&'static str> {
    let Some(method) = given.get("-auth-method") else {
        apply::missing(given, "-auth-method", METHODS, out);
        return None;
    };
    let (login, name) = match method.value.to_ascii_lowercase().as_str() {
        "token" => ("token", "token"),
        "approle" => ("approle", "approle"),
        "userpass" => ("userpass", "userpass"),
        "cert" if given.set("-cert-pem").is_some() => ("cert with one file", "cert"),
        "cert" => ("cert", "cert"),
        "jwt" => (jwt(given, out)?, "jwt"),
        other => {
            let cause = format!("{other:?} is no method of this plugin");
            out.error(method.origin, cause, format!("use {METHODS}"));
            return None;
        }
    };
    out.set("auth.method", name, method.origin);
    let required = REQUIRED.iter().find(|(name, _)| *name == login);
    for (setting, what) in required.map_or(&[][..], |(_, settings)| settings) {
        if given.get(setting).is_none() {
            apply::missing(given, setting, what, out);
        }
    }
    Some(login)
}

fn jwt(given: &Given, out: &mut Translation) -> Option<&'static str> {
    let source = given.get("-jwt-token-source")?;
    match source.value {
        "file" => Some("jwt"),
        "spiffe" => Some("jwt from SPIFFE"),
        other => {
            let cause = format!("{other:?} is no source of a JWT");
            out.error(source.origin, cause, "use file or spiffe");
            None
        }
    }
}

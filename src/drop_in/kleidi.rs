//! Kleidi (`cmd/kleidi/main.go`, `internal/providers/hvault.go`): flags, and a JSON file.

use std::sync::LazyLock;

use super::given::Given;
use super::input::Host;
use super::setting::{Kind, Setting};
use super::translation::Translation;
use super::{apply, go_client, keys};

/// Where it finds the token of its service account (`api/auth/kubernetes`).
const JWT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Its own settings.
const OWN: &[Setting] = &[
    Setting::flag("-listen", &[])
        .default("unix:///tmp/kleidi/kleidi-kms-plugin.socket")
        .decides("`socket.path`"),
    Setting::flag("-provider", &[])
        .default("softhsm")
        .decides("an error unless it is hvault: what softhsm and tpm wrote is not Vault's"),
    Setting::flag("-configfile", &[])
        .default("/opt/kleidi/config.json")
        .decides("the file with the fields below"),
    Setting::flag("-debugmode", &[])
        .kind(Kind::Bool)
        .decides("`log.level`"),
    Setting::field("namespace").key("vault.namespace"),
    Setting::field("transitkey").key("transit.key"),
    Setting::field("transitpath")
        .default("transit")
        .key("transit.mount"),
    Setting::field("address").key("vault.address"),
    Setting::field("authmethod").decides("`auth.method`: k8s is kubernetes, cert is cert"),
    Setting::field("authpath").login(&["kubernetes", "cert"], "auth.mount"),
    Setting::field("vaultrole").login(&["kubernetes", "cert"], "auth.role"),
    Setting::variable(&["VAULT_CACERT"])
        .kind(Kind::Path)
        .key("vault.ca_file"),
    Setting::variable(&["VAULT_ADDR"]).unread("has no effect: the address is in the JSON file"),
    Setting::variable(&["VAULT_NAMESPACE"])
        .unread("has no effect: the namespace is in the JSON file"),
    Setting::variable(&["VAULT_TOKEN"]).unread("has no effect: the login is by authmethod"),
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
    for (name, what) in [
        ("address", "the address of Vault"),
        ("transitkey", "the name of the Transit key"),
    ] {
        if given.get(name).is_none() {
            apply::missing(given, name, what, out);
        }
    }
    // A file with a Transit key is one of that provider.
    let provider = given.set("-provider").or_else(|| {
        let is_vaults = given.set("transitkey").is_some();
        given.get("-provider").filter(|_| !is_vaults)
    });
    if let Some(entry) = provider.filter(|it| it.value != "hvault") {
        let cause = format!(
            "what the provider {:?} encrypted cannot be decrypted with Vault",
            entry.value
        );
        let remedy = "keep Kleidi as a second provider of the EncryptionConfiguration until everything is re-encrypted";
        out.error(entry.origin, cause, remedy);
    }
    if let Some(entry) = given.get("-listen")
        && let Some(path) = apply::unix_path(entry, out)
    {
        apply::socket(entry, path, host, out);
    }
    if let Some(debug) = given
        .set("-debugmode")
        .filter(|_| given.is_true("-debugmode"))
    {
        out.set("log.level", "debug", debug.origin);
    }
    out.set(keys::PLUGIN, "kleidi", "kleidi");
    go_client::translate(given, "VAULT_CACERT", false, host, out);
}

fn login(given: &Given, out: &mut Translation) -> Option<&'static str> {
    const REMEDY: &str = "use k8s or cert";
    let Some(entry) = given.get("authmethod") else {
        apply::missing(given, "authmethod", "k8s or cert", out);
        return None;
    };
    match entry.value {
        "k8s" => {
            out.set("auth.method", "kubernetes", entry.origin);
            out.set("auth.jwt_file", JWT, entry.origin);
            if given.get("vaultrole").is_none() {
                apply::missing(given, "vaultrole", "the role in Vault", out);
            }
            Some("kubernetes")
        }
        "cert" => {
            out.set("auth.method", "cert", entry.origin);
            if given.set("VAULT_CLIENT_CERT").is_none() {
                apply::missing(
                    given,
                    "VAULT_CLIENT_CERT",
                    "the file of the certificate to log in with",
                    out,
                );
            }
            Some("cert")
        }
        other => {
            out.error(
                entry.origin,
                format!("{other:?} is no method of this plugin"),
                REMEDY,
            );
            None
        }
    }
}

//! The variables that Vault's own client for Go reads, in each plugin that is made with it (`api/client.go`).

use super::apply;
use super::given::Given;
use super::input::Host;
use super::setting::{Kind, Setting};
use super::translation::Translation;

/// Why a setting of the client has no effect.
const CALLS: &str =
    "is not kept: a call ends with kube-apiserver's own deadline, and is tried again until then";

/// The variables, but for those that a plugin has a flag for.
pub(super) const SETTINGS: &[Setting] = &[
    Setting::variable(&["VAULT_CACERT_BYTES"]).decides("an error: write the certificate to a file"),
    Setting::variable(&["VAULT_CAPATH"]).kind(Kind::Path).decides("`vault.ca_dir`, unless a CA file is set"),
    Setting::variable(&["VAULT_CLIENT_CERT"]).kind(Kind::Path).decides("`vault.client_cert_file`"),
    Setting::variable(&["VAULT_CLIENT_KEY"]).kind(Kind::Path).decides("`vault.client_key_file`"),
    Setting::variable(&["VAULT_TLS_SERVER_NAME"]).decides("`vault.tls_server_name`, unless a flag sets it"),
    Setting::variable(&["VAULT_SKIP_VERIFY"]).decides("a warning: certificates are always verified"),
    Setting::variable(&["VAULT_PROXY_ADDR"]).decides("the proxy, as before"),
    Setting::variable(&["VAULT_HTTP_PROXY"]).decides("the proxy, as before"),
    Setting::variable(&["VAULT_CLIENT_TIMEOUT"]).dropped(CALLS),
    Setting::variable(&["VAULT_MAX_RETRIES"]).dropped(CALLS),
    Setting::variable(&["VAULT_RATE_LIMIT"])
        .dropped("is not kept: transit.max_in_flight limits the requests in flight, and calls that wait share one"),
    Setting::variable(&["VAULT_HEADERS"]).dropped("is not kept: requests have no headers of their own"),
    Setting::variable(&["VAULT_SRV_LOOKUP"])
        .dropped("is not kept: name each server in vault.address, separated by commas"),
    Setting::variable(&["VAULT_DISABLE_REDIRECTS"])
        .dropped("is not kept: a redirect is followed, but to no other host"),
];

/// Variables of the environment that the daemon itself still reads.
pub(super) const KEPT: &[&str] = &["VAULT_PROXY_ADDR", "VAULT_HTTP_PROXY"];

/// Translates them. `ca` is the plugin's own way to name the CA; `has_certificate` says that the login has a
/// client certificate of its own.
pub(super) fn translate(
    given: &Given,
    ca: &str,
    has_certificate: bool,
    host: &Host,
    out: &mut Translation,
) {
    let has_ca = out.value("vault.ca_file").is_some();
    match (given.set("VAULT_CACERT_BYTES"), given.set("VAULT_CAPATH")) {
        (Some(bytes), _) if !has_ca => {
            let remedy = format!("write it to a file and name that with {ca}");
            out.error(
                bytes.origin,
                "is a certificate in a variable, which is not read",
                remedy,
            );
        }
        (_, Some(dir)) if !has_ca => apply::path("vault.ca_dir", dir, host, out),
        (bytes, dir) => {
            for unused in [bytes, dir].into_iter().flatten() {
                out.note(unused.origin, format!("has no effect: {ca} is set, too"));
            }
        }
    }
    client_certificate(given, has_certificate, host, out);
    if let Some(name) = given.set("VAULT_TLS_SERVER_NAME") {
        match out.value("vault.tls_server_name").map(|it| it.origin) {
            None => out.set("vault.tls_server_name", name.value, name.origin),
            Some(other) => out.note(name.origin, format!("has no effect: {other} is set, too")),
        }
    }
    if given.is_true("VAULT_SKIP_VERIFY")
        && let Some(entry) = given.set("VAULT_SKIP_VERIFY")
    {
        apply::verified(entry, ca, out);
    }
    apply::plaintext(out);
}

fn client_certificate(given: &Given, is_taken: bool, host: &Host, out: &mut Translation) {
    let (cert, key) = (
        given.set("VAULT_CLIENT_CERT"),
        given.set("VAULT_CLIENT_KEY"),
    );
    match (cert, key) {
        (None, None) => {}
        (cert, key) if is_taken => {
            for unused in [cert, key].into_iter().flatten() {
                out.note(
                    unused.origin,
                    "has no effect: the login has a certificate of its own",
                );
            }
        }
        (Some(cert), Some(key)) => {
            apply::path("vault.client_cert_file", cert, host, out);
            apply::path("vault.client_key_file", key, host, out);
        }
        (one, other) => {
            let Some(one) = one.or(other) else { return };
            let remedy = "set both VAULT_CLIENT_CERT and VAULT_CLIENT_KEY, or none";
            out.error(
                one.origin,
                "is one half of a certificate and its key",
                remedy,
            );
        }
    }
}

//! What is the same for all plugins: the settings that are a key of the configuration, and those that have no
//! effect.

use std::path::Path;

use super::given::{Entry, Given, go_bool};
use super::input::Host;
use super::setting::{Kind, Meaning, Setting, Target};
use super::translation::{Secret, Translation};
use zeroize::Zeroizing;

/// The directory of the state file, where the socket has none.
const STATE_DIR: &str = "/var/lib/vault-kms-plugin";
/// A variable of the host, which is set whether this plugin uses it or not.
const OF_THE_HOST: &str = "SPIFFE_ENDPOINT_SOCKET";

/// Translates each setting that is a key of the configuration or has no effect. `login` is how the plugin logs
/// in, in the words of its table.
pub(super) fn settings(given: &Given, login: &str, host: &Host, out: &mut Translation) {
    for setting in given.settings() {
        let set = given.set(setting.name());
        let value = || given.get(setting.name());
        match (setting.meaning, set) {
            (Meaning::To(target), _) => put(setting, target, value(), host, out),
            (Meaning::Login(logins, target), _) if logins.contains(&login) => {
                put(setting, target, value(), host, out);
            }
            (Meaning::Login(..), Some(entry)) if entry.origin != OF_THE_HOST => {
                let text = format!("has no effect: the login is by {login}");
                out.note(entry.origin, text);
            }
            (Meaning::Dropped(why), Some(entry)) if is_chosen(setting, entry) => {
                out.note(entry.origin, why);
            }
            (Meaning::Unread(why), Some(entry)) => out.note(entry.origin, why),
            _ => {}
        }
    }
}

/// Whether a value differs from the default.
fn is_chosen(setting: &Setting, entry: Entry<'_>) -> bool {
    let default = setting.default.unwrap_or("false");
    match setting.kind {
        Kind::Bool => go_bool(entry.value) != go_bool(default),
        _ => setting.default != Some(entry.value),
    }
}

fn put(
    setting: &Setting,
    target: Target,
    entry: Option<Entry<'_>>,
    host: &Host,
    out: &mut Translation,
) {
    let Some(entry) = entry else {
        return;
    };
    match target {
        Target::Secret(key) => out.secrets.push(Secret {
            key,
            secret: Zeroizing::new(entry.value.trim().to_owned()),
            origin: entry.origin,
        }),
        Target::Key(key) => {
            if let Some(secret) = out.secret(key) {
                let text = format!("has no effect: {} is set, too", secret.origin);
                return out.note(entry.origin, text);
            }
            if setting.kind == Kind::Path {
                path(key, entry, host, out);
            } else {
                out.set(key, entry.value, entry.origin);
            }
        }
    }
}

/// Sets a key to a path.
pub(super) fn path(key: &'static str, entry: Entry<'_>, host: &Host, out: &mut Translation) {
    match host.absolute(entry.value) {
        Some(path) => out.set(key, path.display().to_string(), entry.origin),
        None => relative(entry, out),
    }
}

/// Reports a relative path whose directory is not known.
fn relative(entry: Entry<'_>, out: &mut Translation) {
    let cause = format!(
        "{:?} depends on the working directory, which is not known",
        entry.value
    );
    out.error(entry.origin, cause, "write an absolute path");
}

/// Sets the socket: a path, or `@name`.
pub(super) fn socket(entry: Entry<'_>, path: &str, host: &Host, out: &mut Translation) {
    if path.starts_with('@') {
        out.set("socket.path", path, entry.origin);
        out.set("state.dir", STATE_DIR, entry.origin);
        return;
    }
    let entry = Entry {
        value: path,
        ..entry
    };
    self::path("socket.path", entry, host, out);
}

/// The path in an address such as `unix:///run/kms.sock`.
pub(super) fn unix_path<'a>(entry: Entry<'a>, out: &mut Translation) -> Option<&'a str> {
    const SCHEME: &str = "unix://";
    let (scheme, path) = entry
        .value
        .split_at_checked(SCHEME.len())
        .unwrap_or_default();
    if scheme.eq_ignore_ascii_case(SCHEME) && !path.is_empty() {
        return Some(path);
    }
    let cause = format!("{:?} is not of the form unix:///path", entry.value);
    out.error(
        entry.origin,
        cause,
        "write unix:// and the path of the socket",
    );
    None
}

/// The directory of the socket, if it is a file.
pub(super) fn socket_dir(out: &Translation) -> Option<&Path> {
    let path = &out.value("socket.path")?.text;
    Path::new(path).parent().filter(|_| path.starts_with('/'))
}

/// Allows an address without TLS: the plugin did, and the configuration warns of it.
pub(super) fn plaintext(out: &mut Translation) {
    let is_plain = |text: &str| {
        text.get(..7)
            .is_some_and(|it| it.eq_ignore_ascii_case("http://"))
    };
    let address = out.value("vault.address").filter(|it| is_plain(&it.text));
    if let Some(origin) = address.map(|it| it.origin) {
        out.set("vault.allow_plaintext", "true", origin);
    }
}

/// Warns that certificates are verified although the plugin was asked not to. `ca` is what names the CA.
pub(super) fn verified(entry: Entry<'_>, ca: &str, out: &mut Translation) {
    let knows_ca = ["vault.ca_file", "vault.ca_dir"]
        .iter()
        .any(|key| out.value(key).is_some());
    let then = if knows_ca {
        "connections fail unless the configured CA has signed Vault's certificate for the name in its address"
    } else {
        "connections fail unless a CA of the system has signed Vault's certificate"
    };
    let text = format!(
        "is not kept: the certificate of Vault is always verified, because whoever can pose as Vault reads every \
         seed; {then}: name the CA with {ca} (vault.ca_file), then remove this"
    );
    out.note(entry.origin, text);
}

/// A required setting that is missing.
pub(super) fn missing(given: &Given, name: &str, what: &str, out: &mut Translation) {
    out.error(given.names(name), "is missing", format!("set it to {what}"));
}

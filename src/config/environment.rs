//! The environment's part of the configuration: our variables take precedence over the file,
//! Vault's are defaults.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::raw;
use super::reader::Reader;
use crate::system::boot;

/// The plugin's own variables begin with it.
pub const PREFIX: &str = "VAULT_KMS_PLUGIN_";
/// The variable of the command line; not a key of the file.
pub(super) const CONFIG_FILE: &str = "VAULT_KMS_PLUGIN_CONFIG";
/// Where the SPIFFE agent listens, for every program on the host (the Workload API's specification).
const SPIFFE_SOCKET: &str = "SPIFFE_ENDPOINT_SOCKET";
/// Vault's variables that are defaults for keys of `[vault]`. Each also exists with `BAO_`, which
/// takes precedence. An agent's address takes precedence over the server's (`api/client.go`).
const VAULT_DEFAULTS: &[(&str, &str)] = &[
    ("AGENT_ADDR", "address"),
    ("ADDR", "address"),
    ("NAMESPACE", "namespace"),
    ("CACERT", "ca_file"),
    ("CAPATH", "ca_dir"),
    ("TLS_SERVER_NAME", "tls_server_name"),
    ("CLIENT_CERT", "client_cert_file"),
    ("CLIENT_KEY", "client_key_file"),
];

/// Keys that are one setting: if the file has one of them, no variable of Vault's is a default for
/// another. It would add CAs to those that the file trusts, or a key to a certificate of another.
const ONE_SETTING: [&[Key]; 2] = [
    &[("vault", "ca_file"), ("vault", "ca_dir")],
    &[
        ("vault", "client_cert_file"),
        ("vault", "client_key_file"),
        ("auth", "cert_file"),
        ("auth", "key_file"),
    ],
];
/// Variables of Vault's own client that are not read although they say where Vault is, whom to trust
/// or who to be; the key that is read instead.
const IGNORED: [(&str, &str); 4] = [
    ("CACERT_BYTES", "ca_file"),
    ("CLIENT_CERT_BYTES", "client_cert_file"),
    ("CLIENT_KEY_BYTES", "client_key_file"),
    ("SRV_LOOKUP", "address"),
];
/// Keys whose values are not shown: what a login needs.
pub(super) const SECRET: [Key; 2] = [("auth", "role_id"), ("auth", "secret_id")];
/// Keys whose empty value is not the default: no admin server.
const EMPTY_HAS_A_MEANING: [Key; 1] = [("admin", "listen")];

/// The common variables for proxies, and the one that shows that a CGI client chose their value.
const PROXIES: [&str; 7] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "NO_PROXY",
    "no_proxy",
    "REQUEST_METHOD",
];

/// A table and a key in it.
pub(super) type Key = (&'static str, &'static str);

/// Variables and their values, as they were at start.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

/// Shows the names alone: a value may be a token.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl FromIterator<(String, String)> for Environment {
    /// Of all these variables, the relevant ones.
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        let relevant = variables.into_iter().filter(|(name, _)| is_relevant(name));
        Self(relevant.collect())
    }
}

impl Environment {
    /// The relevant variables of the process.
    #[must_use]
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// The part that counts beside the settings of another plugin, which say what Vault's variables mean to that:
    /// our own, those of proxies, and these.
    pub(super) fn of_plugin(self, kept: &[&str]) -> Self {
        let counts = |name: &str| {
            name.starts_with(PREFIX) || PROXIES.contains(&name) || kept.contains(&name)
        };
        let variables = self.0.into_iter();
        Self(variables.filter(|(name, _)| counts(name)).collect())
    }

    /// One of Vault's variables by its name without `VAULT_`: its full name, and its value. The
    /// variable with `BAO_` takes precedence if it is set, even to an empty value (`api/env.go`).
    pub(super) fn vault(&self, name: &str) -> Option<(String, &str)> {
        let full = |prefix: &str| format!("{prefix}_{name}");
        let names = [full("BAO"), full("VAULT")];
        let name = names.into_iter().find(|name| self.0.contains_key(name))?;
        let value = self.get(&name)?;
        Some((name, value))
    }

    /// The socket of the SPIFFE agent; it was used.
    pub(super) fn spiffe_socket(&self, reader: &mut Reader) -> Option<&str> {
        let value = self.get(SPIFFE_SOCKET)?;
        reader.uses("auth.spiffe_socket", SPIFFE_SOCKET, Some(value));
        Some(value)
    }

    /// The configuration file that it names.
    #[must_use]
    pub fn config_file(&self) -> Option<PathBuf> {
        self.get(CONFIG_FILE).map(PathBuf::from)
    }

    /// A variable by its full name; an empty one counts as unset.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    /// Puts the environment's values into the table of `file`. An empty variable is unset.
    pub(super) fn overlay(&self, table: &mut Table, file: Option<&Path>, reader: &mut Reader) {
        for (variable, value) in self.0.range(PREFIX.to_owned()..) {
            let Some(name) = variable.strip_prefix(PREFIX) else {
                break;
            };
            let is_no_key = [CONFIG_FILE, boot::VARIABLE].contains(&variable.as_str());
            if is_no_key || is_service_link(name) {
                continue;
            }
            match find_key(name) {
                Some(key) if value.is_empty() && !EMPTY_HAS_A_MEANING.contains(&key) => {}
                Some(key) => {
                    set(table, key, value);
                    // It may have been another plugin's setting.
                    reader.origins.retain(|origin| origin.key != full_name(key));
                    let shown = Some(value.as_str()).filter(|_| !SECRET.contains(&key));
                    reader.uses(&full_name(key), variable, shown);
                }
                None => reader.error(variable, "unknown key"),
            }
        }
        if file.is_some() && self.get(CONFIG_FILE).map(Path::new) == file {
            reader.uses("configuration file", CONFIG_FILE, self.get(CONFIG_FILE));
        }
        let configured = table.clone();
        for (variable, key) in VAULT_DEFAULTS {
            if let Some((name, value)) = self.vault(variable)
                && !is_set(table, ("vault", key))
                && !is_configured(&configured, key)
            {
                set(table, ("vault", key), value);
                reader.uses(&full_name(("vault", key)), &name, Some(value));
            }
        }
        for (variable, key) in IGNORED {
            if let Some((name, _)) = self.vault(variable)
                && !is_configured(&configured, key)
            {
                let warning = format!("{name}: is not read: set vault.{key} instead");
                reader.warnings.push(warning);
            }
        }
    }
}

/// A key by its name in messages.
pub(super) fn key_of(name: &str) -> Option<Key> {
    raw::keys().find(|key| full_name(*key) == name)
}

/// The file that the variable of the command line names.
pub(super) fn config_file() -> Option<PathBuf> {
    let name = std::env::var_os(CONFIG_FILE)?;
    (!name.is_empty()).then(|| name.into())
}

/// Whether a variable can decide anything here.
fn is_relevant(name: &str) -> bool {
    name.starts_with("VAULT_")
        || name.starts_with("BAO_")
        || name == SPIFFE_SOCKET
        || PROXIES.contains(&name)
}

/// A key as messages name it.
fn full_name((table, key): Key) -> String {
    if table.is_empty() {
        return key.to_owned();
    }
    format!("{table}.{key}")
}

/// Kubernetes sets such variables for every Service that is named `vault-kms-plugin`.
fn is_service_link(name: &str) -> bool {
    name == "PORT" || name.starts_with("PORT_") || name.starts_with("SERVICE_")
}

fn find_key(name: &str) -> Option<Key> {
    raw::keys().find(|key| full_name(*key).replace('.', "_").to_uppercase() == name)
}

fn is_set(table: &Table, (name, key): Key) -> bool {
    let inner = table.get(name).and_then(Value::as_table);
    inner.is_some_and(|inner| inner.contains_key(key))
}

/// Whether the table has the setting that this key of `[vault]` is a part of.
fn is_configured(table: &Table, key: &'static str) -> bool {
    let key = ("vault", key);
    let setting = ONE_SETTING.into_iter().find(|keys| keys.contains(&key));
    let mut keys = setting.unwrap_or(&[]).iter().chain([&key]);
    keys.any(|key| is_set(table, *key))
}

/// Sets a key.
pub(super) fn set(table: &mut Table, (name, key): Key, text: &str) {
    let value = raw::value_of(name, key, text);
    if name.is_empty() {
        table.insert(key.to_owned(), value);
        return;
    }
    let inner = table
        .entry(name)
        .or_insert_with(|| Value::Table(Table::new()));
    // If the file has another value in the table's place, parsing it reports the error.
    if let Value::Table(inner) = inner {
        inner.insert(key.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let owned = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        owned.collect()
    }

    fn overlaid(file: &str, variables: &[(&str, &str)]) -> (Table, Reader) {
        let mut table = file.parse().expect("TOML");
        let mut reader = Reader::default();
        environment(variables).overlay(&mut table, None, &mut reader);
        (table, reader)
    }

    /// `[vault]` after the environment was applied, and the variables that were used.
    fn vault(file: &str, variables: &[(&str, &str)]) -> (String, Vec<String>) {
        let (table, reader) = overlaid(file, variables);
        let vault = table.get("vault").map(Value::to_string);
        let used = reader.origins.into_iter().filter_map(|it| it.variable);
        (vault.unwrap_or_default(), used.collect())
    }

    #[test]
    fn our_variables_take_precedence_over_the_file_and_vaults_do_not() {
        let file = "[vault]\naddress = \"https://file\"";
        let ours = ("VAULT_KMS_PLUGIN_VAULT_ADDRESS", "https://ours");
        let vaults = ("VAULT_ADDR", "https://vaults");
        let is = |host: &str| format!("{{ address = \"https://{host}\" }}");
        let names = |name: &str| vec![name.to_owned()];
        assert_eq!(vault(file, &[ours, vaults]), (is("ours"), names(ours.0)));
        assert_eq!(vault(file, &[vaults]), (is("file"), Vec::new()));
        assert_eq!(vault("", &[vaults]), (is("vaults"), names(vaults.0)));
    }

    #[test]
    fn an_empty_variable_is_unset_except_where_empty_has_a_meaning() {
        let file = "[vault]\nnamespace = \"team\"\n[admin]\nlisten = \"[::1]:1\"";
        for name in ["VAULT_KMS_PLUGIN_VAULT_NAMESPACE", "VAULT_NAMESPACE"] {
            let unset = ("{ namespace = \"team\" }".to_owned(), Vec::new());
            assert_eq!(vault(file, &[(name, "")]), unset);
        }
        for (table, key) in raw::keys() {
            let name = format!("{PREFIX}{table}_{key}").to_uppercase();
            let (table, reader) = overlaid("", &[(&name.replace("__", "_"), "")]);
            assert!(reader.errors.is_empty(), "{name}: {:?}", reader.errors);
            assert_eq!(table.is_empty(), key != "listen", "{name}");
        }
        let (table, _) = overlaid(file, &[("VAULT_KMS_PLUGIN_ADMIN_LISTEN", "")]);
        assert_eq!(table["admin"]["listen"], Value::from(""));
    }

    #[test]
    fn a_part_of_a_setting_that_the_file_has_is_not_taken_from_vaults_variables() {
        let trusted = [("VAULT_CACERT", "/a"), ("BAO_CAPATH", "/b")];
        let pair = [("VAULT_CLIENT_CERT", "/c"), ("VAULT_CLIENT_KEY", "/k")];
        for (file, variables) in [
            ("[vault]\nca_file = \"/f\"", trusted),
            ("[vault]\nca_dir = \"/f\"", trusted),
            ("[vault]\nclient_cert_file = \"/f\"", pair),
            ("[auth]\ncert_file = \"/f\"", pair),
        ] {
            let (table, reader) = overlaid(file, &variables);
            assert_eq!(table, file.parse().expect("TOML"), "{file}");
            assert!(reader.origins.is_empty(), "{file}");
        }
        let both = (r#"{ ca_dir = "/b", ca_file = "/a" }"#.to_owned(), 2);
        let (table, used) = vault("", &trusted);
        assert_eq!((table, used.len()), both);
    }

    #[test]
    fn a_variable_of_vaults_that_is_not_read_is_reported() {
        let bytes = ("VAULT_CACERT_BYTES", "-----BEGIN");
        let (_, reader) = overlaid("", &[bytes, ("BAO_CLIENT_KEY_BYTES", "x")]);
        let expected = [
            "VAULT_CACERT_BYTES: is not read: set vault.ca_file instead",
            "BAO_CLIENT_KEY_BYTES: is not read: set vault.client_key_file instead",
        ];
        assert_eq!(reader.warnings, expected);
        let (_, reader) = overlaid("[vault]\nca_dir = \"/f\"", &[bytes]);
        assert!(reader.warnings.is_empty(), "{:?}", reader.warnings);
    }

    #[test]
    fn a_bao_variable_takes_precedence_even_if_empty() {
        let value = |variables: &[_]| {
            environment(variables)
                .vault("ADDR")
                .map(|it| it.1.to_owned())
        };
        let both = [("VAULT_ADDR", "a"), ("BAO_ADDR", "b")];
        assert_eq!(value(&both).as_deref(), Some("b"));
        assert_eq!(value(&[("VAULT_ADDR", "a"), ("BAO_ADDR", "")]), None);
    }

    #[test]
    fn a_variable_with_an_unknown_key_is_an_error_unless_it_is_a_service_link() {
        let (_, reader) = overlaid("", &[("VAULT_KMS_PLUGIN_SOKET_PATH", "/x")]);
        assert_eq!(reader.errors.len(), 1);
        let links = [
            ("VAULT_KMS_PLUGIN_SERVICE_HOST", "10.0.0.1"),
            ("VAULT_KMS_PLUGIN_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("VAULT_KMS_PLUGIN_CONFIG", "/etc/x.toml"),
            ("VAULT_KMS_PLUGIN_BOOT_ID", "1"),
        ];
        assert!(overlaid("", &links).1.errors.is_empty());
    }

    #[test]
    fn a_value_has_its_variable_and_a_secret_is_not_shown() {
        let (_, reader) = overlaid(
            "",
            &[
                ("VAULT_KMS_PLUGIN_AUTH_SECRET_ID", "s3cret"),
                ("VAULT_KMS_PLUGIN_KMS_VERSION", "v2"),
                ("VAULT_ADDR", "https://a"),
            ],
        );
        let shown = reader.origins.iter().map(|origin| {
            let variable = origin.variable.as_deref().unwrap_or_default();
            let value = origin.value.as_deref().unwrap_or("(not shown)");
            format!("{variable}: {} = {value}", origin.key)
        });
        let expected = [
            "VAULT_KMS_PLUGIN_AUTH_SECRET_ID: auth.secret_id = (not shown)",
            "VAULT_KMS_PLUGIN_KMS_VERSION: kms_version = v2",
            "VAULT_ADDR: vault.address = https://a",
        ];
        assert_eq!(shown.collect::<Vec<_>>(), expected);
        assert!(!format!("{reader:?}").contains("s3cret"));
    }

    #[test]
    fn debug_output_shows_no_value() {
        let secret = environment(&[("VAULT_TOKEN", "hvs.secret")]);
        assert!(!format!("{secret:?}").contains("hvs.secret"));
    }
}

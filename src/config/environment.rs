//! The environment's part of the configuration: our variables take precedence over the file,
//! Vault's are defaults.

use std::collections::BTreeMap;
use std::fmt;

use toml::{Table, Value};

use super::error::ConfigError;
use super::raw::scalars;

const PREFIX: &str = "VAULT_KMS_PLUGIN_";
/// The variable of the command line; not a key of the file.
const CONFIG_FILE: &str = "VAULT_KMS_PLUGIN_CONFIG";
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
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

impl Environment {
    /// The relevant variables of the process.
    #[must_use]
    pub fn of_process() -> Self {
        let ours = |name: &str| {
            name.starts_with("VAULT_")
                || name.starts_with("BAO_")
                || name == SPIFFE_SOCKET
                || PROXIES.contains(&name)
        };
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| ours(name))
            .collect()
    }

    /// One of Vault's variables by its name without `VAULT_`. The variable with `BAO_` takes
    /// precedence if it is set, even to an empty value (`api/env.go`).
    #[must_use]
    pub fn vault(&self, name: &str) -> Option<&str> {
        let bao = self.0.get(&format!("BAO_{name}"));
        let value = bao.or_else(|| self.0.get(&format!("VAULT_{name}")))?;
        (!value.is_empty()).then_some(value)
    }

    /// The socket of the SPIFFE agent.
    pub(super) fn spiffe_socket(&self) -> Option<&str> {
        self.get(SPIFFE_SOCKET)
    }

    /// A variable by its full name; an empty one counts as unset.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    /// Puts the environment's values into the file's table.
    pub(super) fn overlay(&self, table: &mut Table, errors: &mut Vec<ConfigError>) {
        for (variable, value) in self.0.range(PREFIX.to_owned()..) {
            let Some(name) = variable.strip_prefix(PREFIX) else {
                break;
            };
            if variable == CONFIG_FILE || is_service_link(name) {
                continue;
            }
            match find_key(name) {
                Some((name, key)) => set(table, name, key, value),
                None => errors.push(ConfigError::new(variable, "unknown key")),
            }
        }
        for (variable, key) in VAULT_DEFAULTS {
            if let Some(value) = self.vault(variable)
                && !is_set(table, "vault", key)
            {
                set(table, "vault", key, value);
            }
        }
    }
}

/// Kubernetes sets such variables for every Service that is named `vault-kms-plugin`.
fn is_service_link(name: &str) -> bool {
    name == "PORT" || name.starts_with("PORT_") || name.starts_with("SERVICE_")
}

fn find_key(name: &str) -> Option<(&'static str, &'static str)> {
    scalars().find(|(table, key)| {
        let joined = if table.is_empty() {
            (*key).to_owned()
        } else {
            format!("{table}_{key}")
        };
        joined.to_uppercase() == name
    })
}

fn is_set(table: &Table, name: &str, key: &str) -> bool {
    let inner = table.get(name).and_then(Value::as_table);
    inner.is_some_and(|inner| inner.contains_key(key))
}

fn set(table: &mut Table, name: &str, key: &str, value: &str) {
    let value = Value::String(value.to_owned());
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

    fn overlaid(file: &str, variables: &[(&str, &str)]) -> (Table, Vec<ConfigError>) {
        let mut table = file.parse().expect("TOML");
        let mut errors = Vec::new();
        environment(variables).overlay(&mut table, &mut errors);
        (table, errors)
    }

    #[test]
    fn our_variables_take_precedence_over_the_file_and_vaults_do_not() {
        let file = "[vault]\naddress = \"https://file\"";
        let ours = ("VAULT_KMS_PLUGIN_VAULT_ADDRESS", "https://ours");
        let vaults = ("VAULT_ADDR", "https://vaults");
        let address =
            |(table, _): (Table, _)| table["vault"]["address"].as_str().map(str::to_owned);
        assert_eq!(
            address(overlaid(file, &[ours, vaults])).as_deref(),
            Some("https://ours")
        );
        assert_eq!(
            address(overlaid(file, &[vaults])).as_deref(),
            Some("https://file")
        );
        assert_eq!(
            address(overlaid("", &[vaults])).as_deref(),
            Some("https://vaults")
        );
    }

    #[test]
    fn a_bao_variable_takes_precedence_even_if_empty() {
        let both = environment(&[("VAULT_ADDR", "a"), ("BAO_ADDR", "b")]);
        assert_eq!(both.vault("ADDR"), Some("b"));
        let empty = environment(&[("VAULT_ADDR", "a"), ("BAO_ADDR", "")]);
        assert_eq!(empty.vault("ADDR"), None);
    }

    #[test]
    fn a_variable_with_an_unknown_key_is_an_error_unless_it_is_a_service_link() {
        let (_, errors) = overlaid("", &[("VAULT_KMS_PLUGIN_SOKET_PATH", "/x")]);
        assert_eq!(errors.len(), 1);
        let links = [
            ("VAULT_KMS_PLUGIN_SERVICE_HOST", "10.0.0.1"),
            ("VAULT_KMS_PLUGIN_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("VAULT_KMS_PLUGIN_CONFIG", "/etc/x.toml"),
        ];
        assert!(overlaid("", &links).1.is_empty());
    }

    #[test]
    fn debug_output_shows_no_value() {
        let secret = environment(&[("VAULT_TOKEN", "hvs.secret")]);
        assert!(!format!("{secret:?}").contains("hvs.secret"));
    }
}

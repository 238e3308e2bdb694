//! Variables of the input that are no setting of the other plugin: those that this one reads from its own
//! environment, and those that nobody reads any more.

use crate::config::PREFIX;
use crate::drop_in::{Note, Plugin};

/// Proxies, which are in no configuration file.
const OURS: [&str; 8] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "NO_PROXY",
    "no_proxy",
    "VAULT_PROXY_ADDR",
    "VAULT_HTTP_PROXY",
];

/// A variable and its value.
pub(super) type Variable = (String, String);

/// The variables that go into the environment of the converted plugin, and notes about those that do not.
pub(super) fn carried(plugin: Plugin, variables: &[Variable]) -> (Vec<Variable>, Vec<Note>) {
    let is_setting = |name: &str| {
        let mut settings = plugin.settings().iter();
        settings.any(|setting| setting.variables.contains(&name))
    };
    let is_ours = |name: &str| {
        let is_proxy = OURS.contains(&name);
        name.starts_with(PREFIX) || (is_proxy && (!name.starts_with("VAULT_") || is_setting(name)))
    };
    let mut carried = Vec::new();
    let mut notes = Vec::new();
    for (name, value) in variables {
        if value.is_empty() {
        } else if is_ours(name) {
            carried.push((name.clone(), value.clone()));
        } else if !is_setting(name) && !plugin.is_near(name) {
            let text = format!("is not carried over: it is no setting of {plugin}");
            notes.push(Note {
                setting: name.clone(),
                text,
            });
        }
    }
    (carried, notes)
}

/// The lines of an environment file, as systemd reads it.
pub(super) fn file(variables: &[Variable]) -> String {
    let quoted = |value: &str| {
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{}\"", escaped.replace('$', "\\$").replace('`', "\\`"))
    };
    let lines = variables
        .iter()
        .map(|(name, value)| format!("{name}={}\n", quoted(value)));
    lines.collect()
}

/// The `env` of a container.
pub(super) fn of_container(variables: &[Variable]) -> String {
    let text = |value: &str| serde_json::Value::from(value).to_string();
    let items = variables.iter().map(|(name, value)| {
        format!(
            "        - name: {}\n          value: {}\n",
            text(name),
            text(value)
        )
    });
    format!("      env:\n{}", items.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::environment_file;

    #[test]
    fn what_is_written_for_systemd_is_read_back() {
        let value = "http://user:pa$$\\\"`word@proxy:3128";
        let variables = [("HTTPS_PROXY".to_owned(), value.to_owned())];
        assert_eq!(environment_file::parse(&file(&variables)), variables);
    }

    #[test]
    fn proxies_and_our_own_variables_are_carried_and_others_are_named() {
        let variables = [
            "HTTPS_PROXY",
            "VAULT_PROXY_ADDR",
            "VAULT_KMS_PLUGIN_LOG_LEVEL",
            "GOMAXPROCS",
            "VAULT_KMS_TOKEN",
        ]
        .map(|name| (name.to_owned(), "x".to_owned()));
        let names = |plugin| {
            let (carried, notes) = carried(plugin, &variables);
            let carried: Vec<_> = carried.into_iter().map(|(name, _)| name).collect();
            (
                carried,
                notes.into_iter().map(|it| it.setting).collect::<Vec<_>>(),
            )
        };
        let (of_go, noted) = names(Plugin::VaultKubernetesKms);
        assert_eq!(
            of_go,
            [
                "HTTPS_PROXY",
                "VAULT_PROXY_ADDR",
                "VAULT_KMS_PLUGIN_LOG_LEVEL"
            ]
        );
        assert_eq!(noted, ["GOMAXPROCS"]);
        let (of_rust, _) = names(Plugin::VaultKmsProvider);
        assert_eq!(of_rust, ["HTTPS_PROXY", "VAULT_KMS_PLUGIN_LOG_LEVEL"]);
    }
}

//! Where the values come from that are not in the file.

use std::process;

use super::Report;
use crate::config::{Origin, PREFIX};
use crate::diagnosis::Diagnosis;
use crate::system::pid_namespace;

/// The process that systemd started itself, as of version 248 (systemd.exec(5)).
const STARTED_BY_SYSTEMD: &str = "SYSTEMD_EXEC_PID";

/// Whose environment is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Host {
    /// That of a shell: the daemon may have another one.
    Shell,
    /// That of the daemon: its unit's or its container's.
    Daemon,
}

impl Host {
    /// The daemon's if a unit runs this command, such as its `ExecReload=`, or if it runs in the
    /// daemon's container, where the daemon is the first process.
    pub(super) fn of_process() -> Self {
        let systemds = std::env::var(STARTED_BY_SYSTEMD).ok();
        let own_id = process::id().to_string();
        if systemds == Some(own_id) || pid_namespace::is_the_daemons() {
            Self::Daemon
        } else {
            Self::Shell
        }
    }
}

/// Reports the variables, each on a line, and the defaults together. A variable that a shell has for
/// other programs, such as Vault's own, is a warning if it is a shell's; those of the plugin were set
/// for this command.
pub(super) fn report(origins: &[Origin], host: Host, report: &mut Report) {
    const NAME: &str = "environment";
    let mut sorted: Vec<_> = origins.iter().collect();
    sorted.sort_by_key(|origin| &origin.variable);
    let mut defaults = Vec::new();
    for origin in sorted {
        let Origin { key, value, .. } = origin;
        let value = value.as_deref();
        let Some(variable) = &origin.variable else {
            defaults.push(format!("{key} = {}", value.unwrap_or_default()));
            continue;
        };
        let sets = match value {
            Some("") => format!("{variable} sets {key} to \"\""),
            Some(value) => format!("{variable} sets {key} to {value}"),
            None => format!("{variable} sets {key}"),
        };
        // With a hyphen it is no variable: an argument of another plugin, given to this command, or its default.
        let is_of_this_command = variable.starts_with(PREFIX) || variable.contains('-');
        if host == Host::Shell && !is_of_this_command {
            let cause = format!("{sets} in this shell, and the service may not have it");
            let remedy = "set it in the configuration file or in the environment of the service; \
                          --unit NAME checks with that environment";
            report.warning(NAME, Diagnosis::new(cause).with_remedy(remedy));
        } else {
            report.ok(NAME, sets);
        }
    }
    if !defaults.is_empty() {
        report.ok("defaults", defaults.join(", "));
    }
    report.values(origins.to_vec());
}

#[cfg(test)]
mod tests {
    use super::super::{Outcome, Step};
    use super::*;

    fn reported(variable: Option<&str>, value: Option<&str>, host: Host) -> Step {
        let origin = Origin {
            key: "vault.address".to_owned(),
            variable: variable.map(str::to_owned),
            value: value.map(str::to_owned),
        };
        let mut found = Report::default();
        report(&[origin], host, &mut found);
        let [step] = found.steps() else {
            panic!("{:?}", found.steps());
        };
        step.clone()
    }

    #[test]
    fn a_variable_that_is_a_shells_is_a_warning_and_the_plugins_own_is_not() {
        for (variable, host, outcome) in [
            ("VAULT_ADDR", Host::Shell, Outcome::Warning),
            ("BAO_ADDR", Host::Shell, Outcome::Warning),
            ("HTTPS_PROXY", Host::Shell, Outcome::Warning),
            ("VAULT_ADDR", Host::Daemon, Outcome::Ok),
            ("VAULT_KMS_PLUGIN_VAULT_ADDRESS", Host::Shell, Outcome::Ok),
        ] {
            let step = reported(Some(variable), Some("https://a"), host);
            assert_eq!((step.name, step.outcome), ("environment", outcome));
            let sets = format!("{variable} sets vault.address to https://a");
            assert!(step.text.starts_with(&sets), "{}", step.text);
        }
    }

    #[test]
    fn a_default_has_its_value_and_a_secret_has_none() {
        let step = reported(None, Some("https://a"), Host::Shell);
        assert_eq!((step.name, step.outcome), ("defaults", Outcome::Ok));
        assert_eq!(step.text, "vault.address = https://a");
        let step = reported(Some("VAULT_TOKEN"), None, Host::Daemon);
        assert_eq!(step.text, "VAULT_TOKEN sets vault.address");
    }
}

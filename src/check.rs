//! `check`: what can be told of a configuration without serving it, a step at a time.
//!
//! It listens nowhere, and prints no secret: its texts are those that the daemon would log.

mod warnings;

use std::fmt;
use std::io::{self, Write};
use std::path::Path;

use tracing::instrument::WithSubscriber;

use crate::config::{Config, Source};
use crate::grpc::BoundSocket;
use crate::metrics::Metrics;
use crate::system::Exit;
use crate::vault::Client;
use warnings::Warnings;

/// Where systemd puts the credentials of services.
const CREDENTIALS: &str = "/run/credentials";

/// What was found out, in the order of finding out.
#[derive(Debug, Default)]
pub struct Report {
    steps: Vec<Step>,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was looked at.
    pub name: &'static str,
    /// How that went.
    pub outcome: Outcome,
    /// What there is to say.
    pub text: String,
    /// What to do about it, where the text does not say so itself.
    pub mend: Option<String>,
}

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Good,
    /// The daemon would run, but an operator should know.
    Warning,
    /// The daemon would not run, or not work.
    Bad,
}

impl Report {
    /// Adds a step that went well.
    pub fn good(&mut self, name: &'static str, text: impl Into<String>) {
        self.add(Step::new(name, Outcome::Good, text.into()));
    }

    /// Adds what an operator should know.
    pub fn warning(&mut self, name: &'static str, text: impl Into<String>) {
        self.add(Step::new(name, Outcome::Warning, text.into()));
    }

    /// Adds a step that went wrong.
    pub fn bad(&mut self, name: &'static str, text: impl Into<String>) {
        self.add(Step::new(name, Outcome::Bad, text.into()));
    }

    /// Adds a step.
    pub fn add(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// All steps.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The process's exit code for it: warnings are no failure.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self.steps.iter().any(|step| step.outcome == Outcome::Bad) {
            true => Exit::Config,
            false => Exit::Ok,
        }
    }

    /// Writes a line for each step.
    ///
    /// # Errors
    /// What writing gives.
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        for step in &self.steps {
            writeln!(to, "{step}")?;
        }
        to.flush()
    }
}

impl Step {
    fn new(name: &'static str, outcome: Outcome, text: String) -> Self {
        Self {
            name,
            outcome,
            text,
            mend: None,
        }
    }
}

impl fmt::Display for Step {
    /// On one line, whatever the text holds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.outcome {
            Outcome::Good => '✓',
            Outcome::Warning => '!',
            Outcome::Bad => '✗',
        };
        let text = self.text.split(['\n', '\r']).collect::<Vec<_>>().join(" ");
        write!(f, "{mark} {}: {text}", self.name)?;
        match &self.mend {
            Some(mend) => write!(f, "; {mend}"),
            None => Ok(()),
        }
    }
}

/// Checks what `source` holds, as far as that goes without Vault. Gives what further steps need,
/// unless it is wrong.
pub async fn offline(source: &Source, report: &mut Report) -> Option<(Config, Client)> {
    let warnings = Warnings::default();
    let checked = look(source, report)
        .with_subscriber(warnings.subscriber())
        .await;
    for warning in warnings.take() {
        report.warning("files", warning);
    }
    checked
}

async fn look(source: &Source, report: &mut Report) -> Option<(Config, Client)> {
    let config = configuration(source, report)?;
    let client = certificates(&config, report);
    if let Err(error) = BoundSocket::refuse_other_files(&config.socket.path) {
        report.bad("socket", error.to_string());
    }
    credentials(&config, report).await;
    Some((config, client?))
}

fn configuration(source: &Source, report: &mut Report) -> Option<Config> {
    const NAME: &str = "configuration";
    let config = match source.load() {
        Ok(config) => config,
        Err(errors) => {
            for error in errors.iter() {
                report.bad(NAME, error.to_string());
            }
            return None;
        }
    };
    let origin = match source.path() {
        Some(path) => path.display().to_string(),
        None => "what the environment says".to_owned(),
    };
    report.good(NAME, format!("{origin} is valid"));
    for warning in &config.warnings {
        report.warning(NAME, warning);
    }
    Some(config)
}

fn certificates(config: &Config, report: &mut Report) -> Option<Client> {
    const NAME: &str = "certificates";
    let vault = &config.vault;
    let shown = vault.client_certificate.as_ref();
    let files = [
        vault.ca_file.as_deref(),
        vault.ca_dir.as_deref(),
        shown.map(|it| it.cert_file.as_path()),
        shown.and_then(|it| it.key_file.as_deref()),
    ];
    let mut hidden = files.into_iter().flatten().filter(|file| is_hidden(file));
    if let Some(file) = hidden.next() {
        report.warning(NAME, not_shown(file));
        return None;
    }
    let client = Client::new(vault, Metrics::default());
    client
        .map_err(|error| report.bad(NAME, error.to_string()))
        .ok()
}

/// The daemon starts without them, and waits for them.
async fn credentials(config: &Config, report: &mut Report) {
    for credential in config.auth.credentials() {
        let problem = match credential.path() {
            Some(path) if is_hidden(path) => Some(not_shown(path)),
            _ => credential.problem().await,
        };
        if let Some(problem) = problem {
            report.warning("credentials", problem);
        }
    }
}

/// Whether this is a credential of a service that is kept from this process. systemd (252) keeps
/// those of a service from the commands of its own reload.
fn is_hidden(path: &Path) -> bool {
    let denied = |error: io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    path.starts_with(CREDENTIALS) && std::fs::metadata(path).is_err_and(denied)
}

fn not_shown(path: &Path) -> String {
    let path = path.display();
    format!("{path} cannot be looked at from here: systemd shows it to the service itself alone")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(report: &Report) -> String {
        let mut bytes = Vec::new();
        report.write(&mut bytes).expect("a vector takes all");
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn each_step_is_one_line_with_its_mark_and_its_mend() {
        let mut report = Report::default();
        report.good("configuration", "a.toml is valid");
        report.warning("configuration", "two\nlines");
        let refused = Step::new("login", Outcome::Bad, "refused".to_owned());
        report.add(Step {
            mend: Some("ask somebody".to_owned()),
            ..refused
        });
        let expected = "✓ configuration: a.toml is valid\n\
                        ! configuration: two lines\n\
                        ✗ login: refused; ask somebody\n";
        assert_eq!(written(&report), expected);
    }

    #[test]
    fn a_warning_is_no_failure() {
        let mut report = Report::default();
        report.warning("files", "careful");
        assert_eq!(report.exit(), Exit::Ok);
        report.bad("socket", "no");
        assert_eq!(report.exit(), Exit::Config);
    }
}

//! The findings, and how they are written: a line for each step, or JSON.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::config::Origin;
use crate::diagnosis::Diagnosis;
use crate::system::{Exit, one_line};
use crate::vault::Negotiated;

/// The findings, in the order of the steps.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    steps: Vec<Step>,
    /// The values of the configuration that are not in its file.
    values: Vec<Origin>,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What was checked.
    pub name: &'static str,
    /// The result.
    pub outcome: Outcome,
    /// The finding.
    pub text: String,
    /// What an operator can do about it.
    pub remedy: Option<String>,
    /// What a connection negotiated, in the step about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Negotiated>,
}

/// The result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It works.
    Ok,
    /// The daemon would run, but an operator should know.
    Warning,
    /// The host or the configuration is wrong: the daemon would not run, or not work.
    Error,
    /// Vault is unreachable or refuses: the daemon would run, and wait.
    Unavailable,
}

/// How a report is written.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// With colours.
    pub colour: bool,
    /// As JSON.
    pub json: bool,
}

impl Style {
    /// For the output of this process: with colours on a terminal, unless `NO_COLOR` is set.
    #[must_use]
    pub fn of(json: bool) -> Self {
        let is_plain = |name: &str, when: &dyn Fn(&OsStr) -> bool| {
            std::env::var_os(name).is_some_and(|value| when(&value))
        };
        let plain = is_plain("NO_COLOR", &|value| !value.is_empty())
            || is_plain("TERM", &|value| value == "dumb");
        let colour = io::stdout().is_terminal() && !plain;
        Self { colour, json }
    }
}

impl Report {
    /// Adds a step that works.
    pub fn ok(&mut self, name: &'static str, text: impl Into<Diagnosis>) {
        self.add(name, Outcome::Ok, text.into());
    }

    /// Adds what an operator should know.
    pub fn warning(&mut self, name: &'static str, problem: impl Into<Diagnosis>) {
        self.add(name, Outcome::Warning, problem.into());
    }

    /// Adds what is wrong on the host or in the configuration. `remedy` is used if the problem has
    /// none of its own.
    pub fn error(&mut self, name: &'static str, problem: impl Into<Diagnosis>, remedy: &str) {
        self.add(name, Outcome::Error, or_remedy(problem, remedy));
    }

    /// Adds what Vault refuses, or why it is unreachable. `remedy` is used if the problem has none
    /// of its own.
    pub fn unavailable(&mut self, name: &'static str, problem: impl Into<Diagnosis>, remedy: &str) {
        self.add(name, Outcome::Unavailable, or_remedy(problem, remedy));
    }

    fn add(&mut self, name: &'static str, outcome: Outcome, finding: Diagnosis) {
        self.steps.push(Step {
            name,
            outcome,
            text: one_line(&finding.cause),
            remedy: finding.remedy.as_deref().map(one_line),
            tls: None,
        });
    }

    /// Adds what a connection negotiated.
    pub(super) fn negotiated(&mut self, negotiated: Negotiated) {
        let text = format!(
            "TLS {} with the key exchange {}{} and the signature {}",
            negotiated.version,
            negotiated.key_exchange,
            if negotiated.is_post_quantum {
                ""
            } else {
                ", not post-quantum,"
            },
            negotiated.signature
        );
        self.ok("tls", text);
        if let Some(step) = self.steps.last_mut() {
            step.tls = Some(negotiated);
        }
    }

    /// Adds the values of the configuration that are not in its file.
    pub(super) fn values(&mut self, values: Vec<Origin>) {
        self.values = values;
    }

    /// All steps.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether a step of this name has another outcome than `Ok`.
    #[must_use]
    pub(super) fn has_problem(&self, name: &str) -> bool {
        let mut steps = self.steps.iter();
        steps.any(|step| step.name == name && step.outcome != Outcome::Ok)
    }

    /// The exit code of the process. Warnings are a failure only if `strict`.
    #[must_use]
    pub fn exit(&self, strict: bool) -> Exit {
        let any = |outcome| self.steps.iter().any(|step| step.outcome == outcome);
        if any(Outcome::Error) {
            Exit::Config
        } else if any(Outcome::Unavailable) {
            Exit::Unavailable
        } else if strict && any(Outcome::Warning) {
            Exit::Warned
        } else {
            Exit::Ok
        }
    }

    /// Writes the report.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write(&self, mut to: impl Write, style: Style) -> io::Result<()> {
        if style.json {
            serde_json::to_writer_pretty(&mut to, self)?;
            writeln!(to)?;
            return to.flush();
        }
        for step in &self.steps {
            let (symbol, colour) = step.outcome.symbol();
            if style.colour {
                writeln!(to, "\x1b[{colour}m{symbol}\x1b[0m {step}")?;
            } else {
                writeln!(to, "{symbol} {step}")?;
            }
        }
        to.flush()
    }
}

impl Outcome {
    /// Its symbol, and the number of the symbol's colour on a terminal.
    fn symbol(self) -> (char, u8) {
        match self {
            Self::Ok => ('✓', 32),
            Self::Warning => ('!', 33),
            Self::Error | Self::Unavailable => ('✗', 31),
        }
    }
}

impl fmt::Display for Step {
    /// Without the symbol; the remedy is on a line of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.text)?;
        match &self.remedy {
            Some(remedy) => write!(f, "\n    {remedy}"),
            None => Ok(()),
        }
    }
}

/// The problem with this remedy, unless it has one of its own.
fn or_remedy(problem: impl Into<Diagnosis>, remedy: &str) -> Diagnosis {
    let problem = problem.into();
    match problem.remedy {
        Some(_) => problem,
        None => problem.with_remedy(remedy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(report: &Report, style: Style) -> String {
        let mut bytes = Vec::new();
        report
            .write(&mut bytes, style)
            .expect("a vector takes everything");
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn each_step_is_one_line_with_its_symbol_and_its_remedy_below() {
        let mut report = Report::default();
        report.ok("configuration", "a.toml is valid");
        report.warning("configuration", "two\nlines");
        report.unavailable("login", "refused", "ask somebody");
        let expected = "✓ configuration: a.toml is valid\n\
                        ! configuration: two lines\n\
                        ✗ login: refused\n    ask somebody\n";
        assert_eq!(written(&report, Style::default()), expected);
        let style = Style {
            colour: true,
            json: false,
        };
        assert!(written(&report, style).contains("\x1b[31m✗\x1b[0m login: refused\n"));
    }

    #[test]
    fn an_error_of_the_host_takes_precedence_over_one_of_vault() {
        let mut report = Report::default();
        report.warning("files", "careful");
        assert_eq!(report.exit(false), Exit::Ok);
        assert_eq!(report.exit(true), Exit::Warned);
        report.unavailable("vault", "sealed", "unseal it");
        assert_eq!(report.exit(true), Exit::Unavailable);
        report.error("socket", "no", "move it");
        assert_eq!(report.exit(false), Exit::Config);
    }
}

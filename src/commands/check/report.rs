//! What was found out, and how it is told: a line for each step, or JSON.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::session::Diagnosis;
use crate::system::{Exit, one_line};

/// What was found out, in the order of finding out.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    steps: Vec<Step>,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What was looked at.
    pub name: &'static str,
    /// How that went.
    pub outcome: Outcome,
    /// What there is to say.
    pub text: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should.
    Ok,
    /// The daemon would run, but an operator should know.
    Warning,
    /// This side is wrong: the daemon would not run, or not work.
    Error,
    /// Vault is away or refuses: the daemon would run, and wait.
    Unavailable,
}

/// How a report is written.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// With colours, for a terminal.
    pub colour: bool,
    /// As JSON.
    pub json: bool,
}

impl Style {
    /// For this process's output: colours for a terminal, unless `NO_COLOR` says otherwise.
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
    /// Adds a step that went well.
    pub fn ok(&mut self, name: &'static str, text: impl Into<String>) {
        self.add(name, Outcome::Ok, text.into(), "");
    }

    /// Adds what an operator should know.
    pub fn warning(&mut self, name: &'static str, text: impl Into<String>) {
        self.add(name, Outcome::Warning, text.into(), "");
    }

    /// Adds what is wrong on this side, and what to do.
    pub fn error(&mut self, name: &'static str, text: impl Into<String>, remedy: &str) {
        self.add(name, Outcome::Error, text.into(), remedy);
    }

    /// Adds what Vault refuses, or what cannot be had of it, and what to do.
    pub fn unavailable(&mut self, name: &'static str, text: impl Into<String>, remedy: &str) {
        self.add(name, Outcome::Unavailable, text.into(), remedy);
    }

    /// The same, told by the session; `remedy` where it does not say what to do.
    pub fn diagnosis(&mut self, name: &'static str, trouble: &Diagnosis, remedy: &str) {
        let remedy = match trouble.remedy.as_str() {
            "" => remedy,
            told => told,
        };
        self.unavailable(name, &*trouble.cause, remedy);
    }

    fn add(&mut self, name: &'static str, outcome: Outcome, text: String, remedy: &str) {
        let remedy = Some(remedy).filter(|remedy| !remedy.is_empty());
        self.steps.push(Step {
            name,
            outcome,
            text: one_line(&text),
            remedy: remedy.map(one_line),
        });
    }

    /// All steps.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether a step of this name went other than well.
    #[must_use]
    pub(super) fn complains_of(&self, name: &str) -> bool {
        let mut steps = self.steps.iter();
        steps.any(|step| step.name == name && step.outcome != Outcome::Ok)
    }

    /// The process's exit code for it. Warnings are a failure only where that is asked for.
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

    /// Writes it.
    ///
    /// # Errors
    /// What writing gives.
    pub fn write(&self, mut to: impl Write, style: Style) -> io::Result<()> {
        if style.json {
            serde_json::to_writer_pretty(&mut to, self)?;
            writeln!(to)?;
            return to.flush();
        }
        for step in &self.steps {
            match (style.colour, step.outcome.paint()) {
                (true, (mark, colour)) => {
                    writeln!(to, "\x1b[{colour}m{mark}\x1b[0m {step}")?;
                }
                (false, (mark, _)) => writeln!(to, "{mark} {step}")?,
            }
        }
        to.flush()
    }
}

impl Outcome {
    /// Its mark, and the colour of that as terminals number them.
    fn paint(self) -> (char, u8) {
        match self {
            Self::Ok => ('✓', 32),
            Self::Warning => ('!', 33),
            Self::Error | Self::Unavailable => ('✗', 31),
        }
    }
}

impl fmt::Display for Step {
    /// Without its mark; what to do stands under it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.text)?;
        match &self.remedy {
            Some(remedy) => write!(f, "\n    {remedy}"),
            None => Ok(()),
        }
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
    fn each_step_is_one_line_with_its_mark_and_what_to_do_under_it() {
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
    fn what_is_wrong_here_counts_more_than_what_vault_refuses() {
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

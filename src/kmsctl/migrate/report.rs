//! What a run prints at its end.

use std::fmt::Write;

use serde::Serialize;

use super::outcome::Outcome;

/// How many failures of a resource are printed; JSON has more.
const MAX_PRINTED: usize = 20;

/// What became of all resources.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// Whether nothing was sent.
    pub(super) dry_run: bool,
    /// Whether all objects were dealt with and none failed.
    pub(super) complete: bool,
    /// One after the other.
    pub(super) resources: Vec<Outcome>,
    /// Why it ended early.
    pub(super) error: Option<String>,
}

impl Report {
    /// As text.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let is_empty = |one: &&Outcome| one.complete && one.method == "direct" && one.done() == 0;
        let without = self.resources.iter().filter(is_empty).count();
        for one in self.resources.iter().filter(|one| !is_empty(one)) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}", self.line(one));
            for failed in one.failures.iter().take(MAX_PRINTED) {
                let _ = writeln!(text, "  {}: {}", failed.object, failed.message);
            }
            let printed = one.failures.len().min(MAX_PRINTED) as u64;
            if one.failed > printed {
                let _ = writeln!(text, "  and {} more", one.failed - printed);
            }
        }
        if without > 0 {
            let _ = writeln!(text, "{without} resources without an object left to write");
        }
        text
    }

    /// As JSON.
    pub(super) fn json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    fn line(&self, one: &Outcome) -> String {
        let name = &one.resource;
        if self.dry_run {
            return format!(
                "{name}: {} objects would be written, unless they are up to date",
                one.written
            );
        }
        if one.method == "svm" {
            let seconds = one.seconds;
            return format!("{name}: written by a StorageVersionMigration in {seconds:.1} s");
        }
        let Outcome {
            written,
            current,
            gone,
            failed,
            seconds,
            ..
        } = one;
        let mut line = format!("{name}: {written} written, {current} up to date");
        if *gone > 0 {
            let _ = write!(line, ", {gone} deleted meanwhile");
        }
        if *failed > 0 {
            let _ = write!(line, ", {failed} FAILED");
        }
        let _ = write!(line, " ({seconds:.1} s)");
        if !one.complete && *failed == 0 {
            line.push_str(", not finished");
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_printed_with_their_messages_and_bounded() {
        let mut outcome = Outcome::new("secrets".to_owned(), "direct");
        outcome.written = 3;
        for number in 0..60 {
            outcome.fail(format!("a/{number}"), "denied".to_owned());
        }
        let report = Report {
            resources: vec![outcome],
            ..Report::default()
        };
        let text = report.text();
        assert!(
            text.starts_with("secrets: 3 written, 0 up to date, 60 FAILED"),
            "{text}"
        );
        assert!(
            text.contains("  a/0: denied\n") && text.ends_with("  and 40 more\n"),
            "{text}"
        );
    }
}

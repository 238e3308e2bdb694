//! Whether Status returns `ok`, and if not, which condition is not met.

use std::fmt;

use super::arguments::Arguments;
use crate::keys::{Policy, SeedCacheReport, status_now};
use crate::reason::Reason;

/// Each condition of readiness.
#[derive(Debug)]
pub(super) struct Readiness {
    conditions: [Condition; 3],
    seed_cache: Option<SeedCacheReport>,
}

#[derive(Debug)]
struct Condition {
    name: &'static str,
    /// Why it is not met, and its code.
    missing: Option<(Reason, String)>,
}

impl Readiness {
    /// As the Status policy decides: the same snapshot, the same limits.
    pub(super) fn of(args: &Arguments) -> Self {
        let keys = args.keys.borrow();
        let sessions = args.sessions.borrow();
        let reason = match status_now(&keys, &sessions, args.limits) {
            Policy::Answer(report) => report.reason.map(|reason| (reason, report.healthz)),
            Policy::Fail(error) | Policy::Wait(error) => Some((error.reason, error.to_string())),
        };
        let silence = keys.last_success.map(|at| at.elapsed());
        let in_time = silence.is_some_and(|silence| silence < args.limits.tolerance);
        let (is_proven, has_verdict) = (keys.proven.is_some(), keys.verdict().is_some());
        // Where no other condition says why Status is not ok, Vault has not answered yet: with a state
        // file of an earlier boot.
        let answers = in_time && (reason.is_none() || !is_proven || has_verdict);
        let condition = |name, is_met: bool| Condition {
            name,
            missing: reason.clone().filter(|_| !is_met),
        };
        Self {
            conditions: [
                condition("key-proven", is_proven),
                condition("no-verdict", !has_verdict),
                condition("vault-answers", answers),
            ],
            seed_cache: args.seed_cache.report(),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.reason().is_none()
    }

    /// Why it is not ready.
    pub(super) fn reason(&self) -> Option<&str> {
        self.missing().map(|(_, text)| text.as_str())
    }

    /// The code of that.
    pub(super) fn reason_code(&self) -> Option<Reason> {
        self.missing().map(|(reason, _)| *reason)
    }

    fn missing(&self) -> Option<&(Reason, String)> {
        self.conditions.iter().find_map(|it| it.missing.as_ref())
    }
}

impl fmt::Display for Readiness {
    /// One line per condition, in the format of kube-apiserver.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Condition { name, missing } in &self.conditions {
            match missing {
                None => writeln!(f, "[+]{name} ok")?,
                Some((reason, text)) => writeln!(f, "[-]{name} failed: {reason}: {text}")?,
            }
        }
        if let Some(cache) = &self.seed_cache {
            // No condition of readiness: it is there for when another one fails.
            let state = if cache.serving {
                ", answering because vault fails"
            } else {
                ""
            };
            writeln!(f, "[+]seed-cache ok: {} seeds{state}", cache.entries)?;
        }
        let outcome = if self.is_ready() { "passed" } else { "failed" };
        writeln!(f, "readyz check {outcome}")
    }
}

//! What is found out about a file that kube-apiserver accepts.

use super::super::report::Outcome;
use crate::diagnosis::Diagnosis;

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// How bad it is.
    pub(super) outcome: Outcome,
    /// What it is.
    pub(super) text: Diagnosis,
}

impl Finding {
    /// What an operator should know.
    pub(super) fn warning(text: impl Into<Diagnosis>) -> Self {
        Self {
            outcome: Outcome::Warning,
            text: text.into(),
        }
    }

    /// What does not work.
    pub(super) fn error(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Error,
            text: Diagnosis::new(cause).with_remedy(remedy),
        }
    }
}

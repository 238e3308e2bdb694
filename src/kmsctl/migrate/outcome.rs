//! What became of the objects of a resource, and of a whole run.

use serde::Serialize;

use crate::diagnosis::Diagnosis;

/// How many failures of a resource are kept with their messages.
const MAX_FAILURES: usize = 50;

/// What became of the objects of a resource.
#[derive(Debug, Default, Clone, Serialize)]
pub(super) struct Outcome {
    /// Its name.
    pub(super) resource: String,
    /// `direct` or `svm`.
    pub(super) method: &'static str,
    /// Stored again.
    pub(super) written: u64,
    /// Up to date before.
    pub(super) current: u64,
    /// Deleted meanwhile.
    pub(super) gone: u64,
    /// Could not be written.
    pub(super) failed: u64,
    /// Whether each object was looked at, in this run or in the one that it goes on from.
    pub(super) complete: bool,
    /// The first failures.
    pub(super) failures: Vec<Failed>,
    /// How long it took.
    pub(super) seconds: f64,
}

/// An object, or a part of a resource, that could not be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Failed {
    /// Which one.
    pub(super) object: String,
    /// What kube-apiserver says.
    pub(super) message: String,
}

/// How a run ended before its end.
#[derive(Debug)]
pub(super) enum Ended {
    /// By a signal.
    Stopped,
    /// kube-apiserver is away, refuses, or fails again and again.
    Unavailable(Diagnosis),
}

impl Outcome {
    /// Nothing yet.
    pub(super) fn new(resource: String, method: &'static str) -> Self {
        Self {
            resource,
            method,
            ..Self::default()
        }
    }

    /// How many objects were dealt with.
    pub(super) fn done(&self) -> u64 {
        self.written + self.current + self.gone + self.failed
    }

    /// Adds a failure.
    pub(super) fn fail(&mut self, object: String, message: String) {
        self.failed += 1;
        if self.failures.len() < MAX_FAILURES {
            self.failures.push(Failed { object, message });
        }
    }

    /// Whether nothing is left to do.
    pub(super) fn is_clean(&self) -> bool {
        self.complete && self.failed == 0
    }
}

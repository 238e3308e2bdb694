//! Why kube-apiserver refuses a file, and under which conditions.

use crate::diagnosis::Diagnosis;

/// What is done about a file that is no EncryptionConfiguration at all.
pub(super) const CORRECT_THE_FILE: &str =
    "correct that file, or name the one of kube-apiserver's --encryption-provider-config";

/// When kube-apiserver refuses the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Each version does.
    Always,
    /// Since it decodes strictly: Kubernetes 1.31.
    Strict,
    /// Nobody knows: it cannot be read here.
    Unknown,
    /// If it reads a changed file again by itself.
    Reload,
    /// Unless the feature gate of KMS v1 is enabled, since Kubernetes 1.29.
    NoKmsV1 {
        /// Whether v1 is written out, and so was meant.
        is_written: bool,
    },
}

impl When {
    /// Whether no option of a current kube-apiserver makes it accept the file.
    pub(super) fn is_certain(self) -> bool {
        matches!(self, Self::Always | Self::Strict)
    }
}

/// One reason to refuse a file. No text contains a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What is wrong.
    pub(super) problem: Diagnosis,
    /// When that is a reason.
    pub(super) when: When,
}

impl Refusal {
    /// What every version refuses.
    pub(super) fn always(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(When::Always, cause, remedy)
    }

    /// The same under a condition.
    pub(super) fn new(when: When, cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            problem: Diagnosis::new(cause).with_remedy(remedy),
            when,
        }
    }
}

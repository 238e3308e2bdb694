//! Files that others could change: those that decide which Vault is trusted are rejected, the rest
//! causes a warning.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use crate::diagnosis::Diagnosis;
use crate::system::file_trust::{Weakness, weaknesses, weaknesses_in};

/// What is wrong with the files.
#[derive(Debug, Default)]
pub(super) struct Trust {
    /// The user of the daemon; `None` if it is not known.
    own: Option<u32>,
    /// Whether the mounts of this process are shared with nobody but those that whoever made its pod chose.
    in_pod_of_others: bool,
    pub(super) errors: Vec<ConfigError>,
    pub(super) warnings: Vec<String>,
    /// What was reported: many files have a directory in common.
    reported: BTreeSet<PathBuf>,
}

impl Trust {
    pub(super) fn new(own: Option<u32>, in_pod_of_others: bool) -> Self {
        Self {
            own,
            in_pod_of_others,
            ..Self::default()
        }
    }

    /// A file that decides what is trusted.
    pub(super) fn needs(&mut self, key: &str, file: &Path) {
        self.refuse(key, weaknesses(file, self.own));
    }

    /// A directory of such files.
    pub(super) fn needs_all_in(&mut self, key: &str, dir: &Path) {
        self.refuse(key, weaknesses_in(dir, self.own));
    }

    /// Another file, or a directory.
    pub(super) fn prefers(&mut self, key: &str, path: &Path) {
        for weakness in weaknesses(path, self.own) {
            self.warn(key, &weakness, &weakness.remedy());
        }
    }

    /// A directory in which the daemon writes.
    pub(super) fn prefers_for_writing(&mut self, key: &str, dir: &Path) {
        let real = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
        for weakness in weaknesses(dir, self.own) {
            let remedy = if weakness.path == real {
                weakness.remedy_for_writer(self.own)
            } else {
                weakness.remedy()
            };
            self.warn(key, &weakness, &remedy);
        }
    }

    fn refuse(&mut self, key: &str, found: Vec<Weakness>) {
        for weakness in found {
            let is_of_the_pod = self.in_pod_of_others && weakness.is_of_a_pod();
            if weakness.is_group_of_directory() || is_of_the_pod {
                self.warn(key, &weakness, &weakness.remedy());
            } else if self.reported.insert(weakness.path.clone()) {
                let cause = Diagnosis::new(weakness.to_string());
                let cause = cause.with_remedy(weakness.remedy());
                self.errors.push(ConfigError::new(key, cause));
            }
        }
    }

    fn warn(&mut self, key: &str, weakness: &Weakness, remedy: &str) {
        if self.reported.insert(weakness.path.clone()) {
            let text = format!("{key}: {weakness}; {remedy}");
            self.warnings.push(text);
        }
    }
}

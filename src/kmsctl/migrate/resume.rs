//! How far a run is, in a file: so that the next one goes on from there.
//!
//! It is valid only for the same file and the same key_ids: after another rotation everything is written
//! again.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::diagnosis::Diagnosis;
use crate::system::atomic_file;

/// How far a run is.
#[derive(Debug)]
pub(super) struct Resume {
    /// `None` keeps nothing.
    path: Option<PathBuf>,
    state: State,
}

/// What the file holds.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// What the run writes with.
    generation: String,
    resources: BTreeMap<String, Position>,
}

/// How far a resource is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// Where the next page begins.
    #[serde(default, rename = "continue")]
    pub(super) token: String,
    /// Whether all its objects are written.
    #[serde(default)]
    pub(super) done: bool,
}

impl Resume {
    /// Keeps nothing.
    pub(super) fn nothing() -> Self {
        Self {
            path: None,
            state: State::default(),
        }
    }

    /// Reads the file if there is one of the same generation.
    ///
    /// # Errors
    /// If it cannot be read, is not such a file, or could not be written.
    pub(super) fn open(path: &Path, generation: String) -> Result<Self, Diagnosis> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let error = |cause: String| Diagnosis::new(format!("--state {}: {cause}", path.display()));
        let empty = |generation| State {
            generation,
            ..State::default()
        };
        let state = match std::fs::read(&path) {
            Ok(text) => {
                let kept: State = serde_json::from_slice(&text).map_err(|cause| {
                    error(format!("is not a state of migrate: {cause}"))
                        .with_remedy("name another file")
                })?;
                if kept.generation == generation {
                    kept
                } else {
                    empty(generation)
                }
            }
            Err(cause) if cause.kind() == ErrorKind::NotFound => empty(generation),
            Err(cause) => return Err(error(format!("cannot be read: {cause}"))),
        };
        let resume = Self {
            path: Some(path),
            state,
        };
        resume.save()?;
        Ok(resume)
    }

    /// How far a resource is.
    pub(super) fn position(&self, resource: &str) -> Position {
        self.state
            .resources
            .get(resource)
            .cloned()
            .unwrap_or_default()
    }

    /// Keeps how far a resource is.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn keep(&mut self, resource: &str, position: Position) -> Result<(), Diagnosis> {
        self.state.resources.insert(resource.to_owned(), position);
        self.save()
    }

    /// Removes the file, since nothing is left to go on with.
    pub(super) fn remove(&self) {
        if let Some(path) = &self.path {
            // What stays would be valid: it says that all is done.
            let _ = std::fs::remove_file(path);
        }
    }

    fn save(&self) -> Result<(), Diagnosis> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let text = serde_json::to_vec(&self.state).unwrap_or_default();
        atomic_file::replace(path, &text).map_err(|cause| {
            Diagnosis::new(format!(
                "--state {}: cannot be written: {cause}",
                path.display()
            ))
            .with_remedy("name a file in a directory that you may write to")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_kept_for_the_same_generation_only() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("state.json");
        let open = |generation: &str| Resume::open(&path, generation.to_owned()).expect("a file");
        let position = Position {
            token: "abc".to_owned(),
            done: false,
        };
        open("1")
            .keep("secrets", position.clone())
            .expect("written");
        assert_eq!(open("1").position("secrets"), position);
        assert_eq!(open("1").position("configmaps"), Position::default());
        assert_eq!(open("2").position("secrets"), Position::default());
        assert_eq!(open("1").position("secrets"), Position::default());
        open("1").remove();
        assert!(!path.exists());
        std::fs::write(&path, "kubeconfig").expect("written");
        let error = Resume::open(&path, "1".to_owned()).expect_err("another file");
        assert!(error.to_string().contains("is not a state"), "{error}");
    }
}

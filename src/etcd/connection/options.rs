//! Where etcd is, and which files its TLS needs.

use std::fmt;
use std::path::PathBuf;

/// How etcd is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// The addresses of its members; each is tried until one answers.
    pub endpoints: Vec<String>,
    /// The CA that issued the certificates of the members; the system's CAs if there is none.
    pub cacert: Option<NamedFile>,
    /// The client certificate and its key.
    pub identity: Option<(NamedFile, NamedFile)>,
}

/// A file, and what named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    /// The file.
    pub path: PathBuf,
    /// What named it, for an error: `--cacert`.
    pub named_by: String,
}

impl NamedFile {
    /// A file that an option of the command line names.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, named_by: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            named_by: named_by.into(),
        }
    }
}

impl fmt::Display for NamedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.path.display(), self.named_by)
    }
}

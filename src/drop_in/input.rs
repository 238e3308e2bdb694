//! What a user of another plugin has: its arguments, the environment, the fields of its file, and what is
//! known of the host that it runs on.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::plugin::Plugin;

/// A plugin, and all that its settings come from.
#[derive(Clone)]
pub struct Invocation {
    /// The plugin.
    pub plugin: Plugin,
    /// Its arguments, without its own name.
    pub arguments: Vec<String>,
    /// Its environment.
    pub variables: BTreeMap<String, String>,
    /// The fields of its file, with dots between the names. A list is joined by commas.
    pub fields: Vec<(String, String)>,
    /// Where it runs.
    pub host: Host,
}

/// What is known of where the plugin runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// What a relative path is in; `None` if it is not known.
    pub working_directory: Option<PathBuf>,
    /// The group that files of the process get; `None` if it is not known.
    pub gid: Option<u32>,
    /// Whether the kernel has IPv6, so that a port of all addresses is one of both families.
    pub has_ipv6: bool,
}

/// Shows names alone: a value may be a secret.
impl fmt::Debug for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Invocation");
        shown.field("plugin", &self.plugin);
        shown.finish_non_exhaustive()
    }
}

impl Host {
    /// The port on all addresses of the host, as Go's `:PORT` means it.
    pub(super) fn all_addresses(&self, port: u16) -> String {
        if self.has_ipv6 {
            format!("[::]:{port}")
        } else {
            format!("0.0.0.0:{port}")
        }
    }

    /// An absolute path; `None` if it depends on a working directory that is not known.
    pub(super) fn absolute(&self, path: &str) -> Option<PathBuf> {
        let path = Path::new(path);
        let whole = match &self.working_directory {
            _ if path.is_absolute() => return Some(path.to_owned()),
            Some(dir) => dir.join(path),
            None => return None,
        };
        // Without the `.` of `./sockets`.
        Some(whole.components().collect())
    }
}

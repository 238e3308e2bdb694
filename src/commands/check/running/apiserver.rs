//! kube-apiserver on this host: who it is, its file, and what it sees where.

use std::fs;
use std::path::PathBuf;

use crate::commands::check::kube_flag::flag_value;
use crate::system::identity::Identity;

const NAME: &str = "kube-apiserver";
const FLAG: &str = "encryption-provider-config";

/// A process.
#[derive(Debug)]
pub(super) struct Apiserver {
    pub(super) pid: u32,
    pub(super) identity: Identity,
    /// The file of `--encryption-provider-config`.
    pub(super) encryption_config: Option<PathBuf>,
}

impl Apiserver {
    /// All that run here, and are visible from here.
    pub(super) fn all() -> Vec<Self> {
        let Ok(processes) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        let ids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let mut found: Vec<_> = ids.filter_map(Self::of).collect();
        found.sort_unstable_by_key(|one| one.pid);
        found
    }

    fn of(pid: u32) -> Option<Self> {
        let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
        // It may carry a version.
        if !read("comm")?.starts_with(NAME) {
            return None;
        }
        Some(Self {
            pid,
            identity: Identity::read(&read("status")?)?,
            encryption_config: encryption_config(&read("cmdline")?),
        })
    }
}

/// The file of the flag in a command line, whose arguments end with a NUL.
fn encryption_config(command_line: &str) -> Option<PathBuf> {
    let arguments: Vec<_> = command_line.split('\0').collect();
    flag_value(&arguments, FLAG).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_taken_from_the_flag_in_each_of_its_forms() {
        for (line, file) in [
            (
                "kube-apiserver\0--encryption-provider-config=/e.yaml\0",
                Some("/e.yaml"),
            ),
            (
                "kube-apiserver\0--encryption-provider-config\0/e.yaml\0",
                Some("/e.yaml"),
            ),
            (
                "kube-apiserver\0--encryption-provider-config=/a\0--encryption-provider-config=/b\0",
                Some("/b"),
            ),
            (
                "kube-apiserver\0--encryption-provider-config-automatic-reload=true\0",
                None,
            ),
            ("kube-apiserver\0--v=2\0", None),
        ] {
            assert_eq!(encryption_config(line), file.map(PathBuf::from), "{line}");
        }
    }
}

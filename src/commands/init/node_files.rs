//! The files for the nodes: the plugin as a unit or a pod, and what kube-apiserver is started with.

mod apiserver;
mod plugin;

use super::answers::Answers;
use super::output::OutputFile;
pub(in crate::commands) use plugin::{PROGRAM, SERVICE, SOCKET_UNIT, TMPFILES, pod, units};

/// The files of the platform.
pub(super) fn files(answers: &Answers) -> Vec<OutputFile> {
    let mut files = plugin::files(answers);
    files.push(apiserver::file(answers));
    files
}

//! The shell of an operator who follows a page.

use std::path::Path;
use std::process::Command;

use super::child;

/// Runs commands in `dir`, which is the operator's home and holds the kubeconfig, with the programs of its
/// `bin`. Returns what they wrote to stdout.
pub(crate) async fn run(dir: &Path, text: &str, variables: &[(String, String)]) -> String {
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", text]);
    child::clean_environment(&mut command);
    let bin = dir.join("bin").display().to_string();
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .env("PATH", format!("{bin}:{path}"))
        .env("HOME", dir)
        .env("KUBECONFIG", dir.join("kubeconfig"))
        .envs(variables.iter().cloned())
        .current_dir(dir);
    // Not on this thread: what the commands talk to may be served by it.
    let ended = tokio::task::spawn_blocking(move || command.output());
    let ended = ended.await.expect("the thread ends").expect("bash runs");
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{text}\n{errors}");
    eprint!("{errors}");
    String::from_utf8_lossy(&ended.stdout).into_owned()
}

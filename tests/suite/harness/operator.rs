//! The shell of an operator who follows a page.

use std::env;
use std::path::Path;
use std::process::Command;

use super::child;
use super::servers::{self, Server};

/// Runs commands in `dir`, which is the operator's home and holds the kubeconfig, with the programs of its
/// `bin`. Returns what they wrote to stdout.
pub(crate) async fn run(dir: &Path, text: &str, variables: &[(String, String)]) -> String {
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", text]);
    child::clean_environment(&mut command);
    let mut path = vec![dir.join("bin")];
    if text.contains("kubectl") {
        path.push(servers::with_its_name(Server::Kubectl));
    }
    path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    command
        .env("PATH", env::join_paths(path).expect("they hold no colon"))
        .env("HOME", dir)
        .env("KUBECONFIG", dir.join("kubeconfig"))
        .envs(variables.iter().cloned())
        .current_dir(dir);
    // Not on this thread: what the commands talk to may be served by it.
    let ended = tokio::task::spawn_blocking(move || command.output());
    let ended = ended.await.expect("the thread ends").expect("bash runs");
    let errors = String::from_utf8_lossy(&ended.stderr);
    let printed = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(ended.status.success(), "{text}\n{printed}\n{errors}");
    eprint!("{errors}");
    printed
}

//! The configuration and arguments of a Vault.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::super::child::{self, Child};
use super::super::servers::{Server, binary};
use super::Kind;

/// `godebug` chooses what Go's TLS offers, among others; empty for its defaults.
pub(super) fn launch(dir: &TempDir, port: u16, kind: &Kind, godebug: &str) -> Child {
    let mut args = vec!["server".to_owned()];
    match kind {
        Kind::Dev => args.extend([
            "-dev".to_owned(),
            "-dev-root-token-id=root".to_owned(),
            format!("-dev-listen-address=127.0.0.1:{port}"),
            "-dev-no-store-token".to_owned(),
        ]),
        Kind::Persistent { .. } => args.push(format!("-config={}", config_path(dir).display())),
    }
    Child::spawn(
        &binary(Server::Vault),
        &args,
        &dir.path().join("log"),
        |command| {
            child::clean_environment(command);
            command.env("HOME", dir.path());
            command.env("GODEBUG", godebug);
        },
    )
}

fn config_path(dir: &TempDir) -> PathBuf {
    dir.path().join("config.hcl")
}

pub(super) fn write_config(dir: &TempDir, config: &str) {
    fs::write(config_path(dir), config).expect("Vault's configuration can be written");
}

/// File storage: unlike raft it has no election, so a restarted server is active at once.
pub(super) fn file_config(dir: &TempDir, port: u16, more: &str) -> String {
    format!(
        r#"disable_mlock = true
api_addr = "http://127.0.0.1:{port}"
storage "file" {{
  path = "{dir}/data"
}}
{listener}
{more}
"#,
        dir = dir.path().display(),
        listener = listener(port)
    )
}

/// One node of several, each of which looks for the others at `ports`.
pub(super) fn raft_config(dir: &TempDir, port: u16, ports: &[u16]) -> String {
    let data = dir.path().join("data");
    // Vault requires it to exist; OpenBao creates it.
    fs::create_dir_all(&data).expect("a directory can be made");
    let join = |port| format!("  retry_join {{ leader_api_addr = \"http://127.0.0.1:{port}\" }}\n");
    // The default multiplier, 5, is for slow machines and makes elections slow; a node
    // that joined gets its vote at the second reconciliation.
    format!(
        r#"disable_mlock = true
api_addr = "http://127.0.0.1:{port}"
cluster_addr = "https://127.0.0.1:{cluster}"
storage "raft" {{
  path = "{data}"
  node_id = "n{port}"
  performance_multiplier = "1"
  autopilot_update_interval = "1s"
  autopilot_reconcile_interval = "1s"
{joins}}}
{listener}
"#,
        cluster = port + 1,
        data = data.display(),
        joins = ports.iter().map(join).collect::<String>(),
        listener = listener(port)
    )
}

fn listener(port: u16) -> String {
    format!(
        r#"listener "tcp" {{
  address = "127.0.0.1:{port}"
  tls_disable = true
}}"#
    )
}

//! What a Vault is started with.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::super::child::{self, Child};
use super::super::servers::{Server, binary};
use super::Kind;

pub(super) fn launch(dir: &TempDir, port: u16, kind: &Kind) -> Child {
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
        },
    )
}

fn config_path(dir: &TempDir) -> PathBuf {
    dir.path().join("config.hcl")
}

/// File storage: unlike raft it has no election, so a restarted server is active at once.
pub(super) fn write_config(dir: &TempDir, port: u16, more: &str) {
    let config = format!(
        r#"disable_mlock = true
api_addr = "http://127.0.0.1:{port}"
storage "file" {{
  path = "{dir}/data"
}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  tls_disable = true
}}
{more}
"#,
        dir = dir.path().display()
    );
    fs::write(config_path(dir), config).expect("Vault's configuration can be written");
}

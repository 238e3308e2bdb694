//! `init` as somebody new to it uses it: the files that it writes prepare a real Vault, configure a daemon that
//! becomes ready, and lead a real kube-apiserver to encrypted Secrets.

mod answers;
mod hosts;
mod kube_apiserver;
mod login;
mod pages;
mod policy;
mod prompts;
mod talos;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use super::LIMIT;
use super::harness::child::clean_environment;
use super::harness::daemon::{Builder, Daemon};
use super::harness::kms::KmsClient;
use super::harness::operator;
use super::harness::servers::{self, Server};
use super::harness::vault::Vault;

const PROGRAM: &str = env!("CARGO_BIN_EXE_vault-kms-plugin");
/// The directory of a node's files, in what `init` writes.
const NODE: &str = "/etc/vault-kms-plugin/";
const SOCKET: &str = "/run/vault-kms-plugin/kms.sock";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `init` with these arguments, in this directory, without a terminal.
fn init(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    clean_environment(&mut command);
    command.arg("init").args(arguments).current_dir(dir);
    command.stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// An operator's directory with the files of an installation in `files`.
struct Site {
    dir: TempDir,
    /// What `init` printed.
    said: String,
}

impl Site {
    /// For a Vault at this address.
    fn new(address: &str, arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let common = ["--out", "files", "--address", address];
        let made = init(dir.path(), &[&common[..], arguments].concat());
        let problem = text(&made.stderr);
        assert!(made.status.success(), "{arguments:?}: {problem}");
        fs::create_dir(dir.path().join("bin")).unwrap();
        symlink(
            servers::binary(Server::Vault),
            dir.path().join("bin").join(cli_name()),
        )
        .unwrap();
        Self {
            dir,
            said: text(&made.stdout),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("files").join(name)
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    /// Runs the script for Vault as its operator.
    async fn set_up(&self, vault: &Vault, arguments: &str) -> String {
        let variables = ["VAULT", "BAO"].map(|prefix| {
            [
                (format!("{prefix}_ADDR"), vault.address()),
                (format!("{prefix}_TOKEN"), vault.root_token().to_owned()),
            ]
        });
        let command = format!("sh files/vault-setup.sh {arguments}");
        operator::run(self.dir.path(), &command, &variables.concat()).await
    }

    /// The same, for a command that has to fail; what it said.
    fn set_up_fails(&self, vault: &Vault, arguments: &[&str]) -> String {
        let command = format!("sh files/vault-setup.sh {}", arguments.join(" "));
        let ended = self.shell(vault, &[], &command);
        assert!(!ended.status.success(), "{}", text(&ended.stdout));
        text(&ended.stderr)
    }

    /// A command in the directory of the operator, with more variables in the environment.
    fn shell(&self, vault: &Vault, variables: &[(&str, &str)], line: &str) -> Output {
        let mut command = Command::new("sh");
        clean_environment(&mut command);
        let bin = self.dir.path().join("bin").display().to_string();
        command
            .args(["-c", line])
            .current_dir(self.dir.path())
            .env("PATH", format!("{bin}:/usr/bin:/bin"))
            .env("HOME", self.dir.path());
        for prefix in ["VAULT", "BAO"] {
            command
                .env(format!("{prefix}_ADDR"), vault.address())
                .env(format!("{prefix}_TOKEN"), vault.root_token());
        }
        command.envs(variables.iter().copied()).output().unwrap()
    }

    /// The configuration of a node whose directory is that of the credentials of node `cp-1`.
    fn node(&self) -> Builder {
        let dir = format!("{}/", self.path("nodes/cp-1").display());
        Daemon::builder().extra(&self.file("config.toml").replace(NODE, &dir))
    }

    /// A daemon with it, which encrypts and decrypts.
    async fn ready(&self) -> Daemon {
        let daemon = self.node().spawn().await;
        let client = KmsClient::connect(daemon.socket());
        let status = client.wait_ok(LIMIT).await;
        let (ciphertext, key_id) = client.encrypt(&[7; 32]).await.unwrap();
        assert_eq!(key_id, status.key_id);
        let decrypted = client.decrypt(&ciphertext, &key_id).await;
        assert_eq!(decrypted.unwrap(), [7; 32]);
        daemon
    }
}

/// Each of the two finds its server by its own name.
fn cli_name() -> &'static str {
    if servers::is_openbao() {
        "bao"
    } else {
        "vault"
    }
}

tests! {
    [answers, hosts, kube_apiserver, login, pages, policy, prompts, talos]
}

//! The program under the names of other plugins, with arguments and variables as their users have them: it serves
//! over their sockets, says what it does not keep, and ends as they do.

mod errors;
mod logins;
mod openshift;
mod packaged;
mod table;

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::LIMIT;
use super::harness::child::{Child, clean_environment, free_port};
use super::harness::kms::KmsClient;
use super::harness::vault::{Fixture, Vault};
use super::harness::wait;
use super::surfaces;

const PROGRAM: &str = env!("CARGO_BIN_EXE_vault-kms-plugin");
const SEED: [u8; 32] = [7; 32];
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// A directory with a link to the program under the name of another plugin.
struct Site {
    dir: TempDir,
    program: PathBuf,
}

impl Site {
    fn new(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join(name);
        symlink(PROGRAM, &program).unwrap();
        Self { dir, program }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Runs it to its end.
    fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new(&self.program);
        clean_environment(&mut command);
        let variables = variables.iter().copied();
        command
            .args(arguments)
            .envs(variables)
            .current_dir(self.dir.path());
        command.output().unwrap()
    }

    /// Starts it; its log is in the file `log`.
    fn start(&self, arguments: &[String], variables: &[(&str, String)]) -> Child {
        Child::spawn(&self.program, arguments, &self.path("log"), |command| {
            clean_environment(command);
            let variables = variables.iter().map(|(name, value)| (name, value));
            command.envs(variables).current_dir(self.dir.path());
        })
    }
}

/// The arguments of `vault-kubernetes-kms` for a fixture, with a port that is free.
fn kubernetes_kms(vault: &Vault, fixture: &Fixture, socket: &Path) -> Vec<String> {
    kubernetes_kms_on(free_port(), vault, fixture, socket)
}

fn kubernetes_kms_on(port: u16, vault: &Vault, fixture: &Fixture, socket: &Path) -> Vec<String> {
    vec![
        format!("-vault-address={}", vault.address()),
        "--transit-mount".to_owned(),
        fixture.mount.clone(),
        format!("-socket=unix://{}", socket.display()),
        format!("-health-port={port}"),
    ]
}

/// Our own variable, so that tests beside each other have an admin server each.
fn admin() -> (&'static str, String) {
    (
        "VAULT_KMS_PLUGIN_ADMIN_LISTEN",
        format!("127.0.0.1:{}", free_port()),
    )
}

/// Encrypts and decrypts over the socket.
async fn works(socket: &Path) {
    wait::until_true("the socket", LIMIT, async || socket.exists()).await;
    let client = KmsClient::connect(socket);
    client.wait_ok(LIMIT).await;
    let (ciphertext, key_id) = client.encrypt(&SEED).await.unwrap();
    assert!(ciphertext.starts_with(b"vault:v1:"));
    assert_eq!(client.decrypt(&ciphertext, &key_id).await.unwrap(), SEED);
    // What the other plugin wrote has its key_id.
    for theirs in ["1", "1700000000"] {
        assert_eq!(client.decrypt(&ciphertext, theirs).await.unwrap(), SEED);
    }
}

/// The status and the text of a path, on the port that the plugin has it on.
async fn get(port: u16, path: &str) -> Option<(u16, String)> {
    surfaces::get(&format!("127.0.0.1:{port}"), path).await
}

/// Waits until a path is answered with 200; what it says.
async fn served(port: u16, path: &str) -> String {
    let what = format!("{path} on {port}");
    wait::until(&what, LIMIT, async || {
        let (status, text) = get(port, path).await?;
        (status == 200).then_some(text)
    })
    .await
}

async fn stopped(child: &mut Child) {
    child.signal(Signal::TERM);
    assert_eq!(child.wait_exit(STOP_LIMIT).await, 0, "{}", child.log());
}

async fn vault_kubernetes_kms_serves_with_its_arguments_and_names_what_it_does_not_keep() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let site = Site::new("vault-kubernetes-kms");
    let socket = site.path("vaultkms.socket");
    let port = free_port();
    let mut arguments = kubernetes_kms_on(port, vault, &fixture, &socket);
    let token = format!("-token={}", fixture.token);
    arguments.extend(
        [
            "-auth-method=token",
            &token,
            "-disable-v1",
            "-token-renewal=60",
        ]
        .map(str::to_owned),
    );
    let variables = [
        admin(),
        ("VAULT_SKIP_VERIFY", "true".to_owned()),
        ("VAULT_ADDR", "https://127.0.0.1:9".to_owned()),
    ];
    let mut child = site.start(&arguments, &variables);
    works(&socket).await;
    assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o777, 0o600);
    assert_eq!(served(port, "/health").await.trim(), "OK");
    assert_eq!(served(port, "/live").await.trim(), "OK");
    let metrics = served(port, "/metrics").await;
    assert!(
        metrics.contains("vault_kubernetes_kms_encryption_operation_duration_seconds"),
        "{metrics}"
    );
    let log = child.log();
    for text in [
        "settings of another plugin translated",
        "vault.address from -vault-address",
        "-disable-v1: is not kept",
        "-token-renewal: is not needed",
        "VAULT_SKIP_VERIFY: is not kept: the certificate of Vault is always verified",
        "VAULT_ADDR: has no effect",
        "-token: a secret in the arguments",
    ] {
        assert!(log.contains(text), "{text}: {log}");
    }
    assert!(!log.contains(&fixture.token), "the token is in the log");
    let is_json = |line: &str| serde_json::from_str::<serde_json::Value>(line).is_ok();
    assert!(log.lines().all(is_json), "{log}");
    stopped(&mut child).await;
    assert!(!socket.exists());
}

async fn vault_kms_provider_makes_its_directory_and_its_socket_is_not_for_everybody() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let site = Site::new("vault-kms-provider");
    let token = site.write("token", &fixture.token);
    let port = free_port();
    let variables = [
        admin(),
        ("HTTP_ADDRESS", format!("127.0.0.1:{port}")),
        ("LOG_FORMAT", "json".to_owned()),
        ("SOCKET_PERMISSIONS", "any".to_owned()),
        ("VAULT_ADDRESS", vault.address()),
        ("VAULT_TRANSIT_MOUNT", fixture.mount.clone()),
        ("VAULT_TRANSIT_KEY", fixture.key.clone()),
        ("VAULT_TRANSIT_PATH", "another".to_owned()),
        ("VAULT_TOKEN_PATH", token.display().to_string()),
        // Vault's own, which that plugin does not read.
        ("VAULT_NAMESPACE", "nowhere".to_owned()),
    ];
    let mut child = site.start(&[], &variables);
    let socket = site.path("sockets/vault-kms-provider.sock");
    works(&socket).await;
    assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o777, 0o600);
    for path in ["/health", "/ready"] {
        served(port, path).await;
    }
    assert_eq!(get(port, "/metrics").await.map(|it| it.0), Some(404));
    let log = child.log();
    for text in [
        "SOCKET_PERMISSIONS: 666 lets every local process decrypt, and is not kept",
        "VAULT_TRANSIT_PATH: has no effect",
        "VAULT_NAMESPACE: has no effect",
    ] {
        assert!(log.contains(text), "{text}: {log}");
    }
    stopped(&mut child).await;
}

async fn a_reload_makes_the_same_of_arguments_and_environment_again() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let site = Site::new("vault-kms-provider");
    let token = site.write("token", &fixture.token);
    let socket = site.path("kms.sock");
    let admin = admin();
    let variables = [
        admin.clone(),
        ("HTTP_ADDRESS", format!("127.0.0.1:{}", free_port())),
        ("SOCKET_PATH", socket.display().to_string()),
        ("SOCKET_PERMISSIONS", "600".to_owned()),
        ("VAULT_ADDRESS", vault.address()),
        ("VAULT_TRANSIT_MOUNT", fixture.mount.clone()),
        ("VAULT_TRANSIT_KEY", fixture.key.clone()),
        ("VAULT_TOKEN_PATH", token.display().to_string()),
    ];
    let mut child = site.start(&[], &variables);
    works(&socket).await;
    let address = format!("--address={}", admin.1);
    let reloaded = site.run(&["reload", &address], &[]);
    let errors = String::from_utf8_lossy(&reloaded.stderr).into_owned();
    assert!(reloaded.status.success(), "{errors}{}", child.log());
    assert!(
        child.log().contains("configuration reloaded"),
        "{}",
        child.log()
    );
    // Without an address the variables of the plugin, and our own, say where it is.
    let status = site.run(&["status"], &[(admin.0, &admin.1)]);
    assert!(
        status.status.success(),
        "{}",
        String::from_utf8_lossy(&status.stderr)
    );
    works(&socket).await;
    stopped(&mut child).await;
}

tests! {
    [errors, logins, openshift, packaged, table]
    multi vault_kubernetes_kms_serves_with_its_arguments_and_names_what_it_does_not_keep [Vault];
    multi vault_kms_provider_makes_its_directory_and_its_socket_is_not_for_everybody [Vault];
    multi a_reload_makes_the_same_of_arguments_and_environment_again [Vault];
}

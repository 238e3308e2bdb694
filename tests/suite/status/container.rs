//! Commands beside the daemon in its container, as kubelet and crictl start them: root without the right to
//! pass by the modes of files, while the daemon has a user of its own.

use std::fs;
use std::os::unix::fs::chown;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::child::{Child, clean_environment};
use crate::harness::kms::KmsClient;
use crate::harness::vault::Vault;
use crate::harness::wait;
use crate::{LIMIT, daemon_for};

const PROGRAM: &str = env!("CARGO_BIN_EXE_vault-kms-plugin");
const UID: u32 = 12345;

/// The process id, out here, of the daemon with this configuration.
fn pid_of(config: &str) -> Option<u32> {
    let ids = fs::read_dir("/proc").unwrap();
    let mut ids = ids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.find(|pid: &u32| {
        let read = |name| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        read("comm").starts_with("vault-kms-plug") && read("cmdline").contains(config)
    })
}

/// The daemon, which `unshare --kill-child` does not end: a process that changes its user loses the signal that it
/// was to be sent at its parent's death.
struct Inner(u32);

impl Drop for Inner {
    fn drop(&mut self) {
        let pid = i32::try_from(self.0).ok().and_then(Pid::from_raw);
        let _ = kill_process(pid.unwrap(), Signal::KILL);
    }
}

async fn a_command_beside_the_daemon_becomes_its_user() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let builder = daemon_for(&vault.address(), &fixture);
    let dir = builder.dir().to_owned();
    let listen = format!("[admin]\nlisten = \"unix:{}/admin.sock\"", dir.display());
    let builder = builder.extra(&listen);
    let config = builder.write_file("config.toml", &builder.config_text());
    let config = config.to_str().unwrap();
    for file in fs::read_dir(&dir).unwrap() {
        chown(file.unwrap().path(), Some(UID), Some(UID)).unwrap();
    }
    chown(&dir, Some(UID), Some(UID)).unwrap();
    let log = tempfile::NamedTempFile::new().unwrap();
    let user = UID.to_string();
    let arguments = [
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "setpriv",
        "--reuid",
        &user,
        "--regid",
        &user,
        "--clear-groups",
        PROGRAM,
        "serve",
        "--config",
        config,
    ];
    let _daemon = Child::spawn(
        "unshare".as_ref(),
        &arguments,
        log.path(),
        clean_environment,
    );
    KmsClient::connect(builder.socket()).wait_ok(LIMIT).await;
    let inner = Inner(pid_of(config).expect("the daemon"));
    let pid = inner.0.to_string();
    let exec = |arguments: &[&str]| {
        let mut command = Command::new("nsenter");
        clean_environment(&mut command);
        let output = command
            .args(["--target", &pid, "--pid", "--mount", "--"])
            .args(["setpriv", "--bounding-set", "-all,+setuid,+setgid", PROGRAM])
            .args(arguments)
            .args(["--config", config])
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    wait::until_true("the admin server", LIMIT, async || {
        exec(&["status"]).0 == Some(0)
    })
    .await;
    for (command, text) in [
        (&["status"][..], "Status returns ok"),
        (&["check"], "✓ socket: "),
        (&["reload"], "applied"),
        (&["status", "--live"], ""),
    ] {
        let (code, said) = exec(command);
        assert_eq!(code, Some(0), "{command:?}: {said}");
        assert!(said.contains(text), "{command:?}: {said}");
    }
}

tests! {
    single a_command_beside_the_daemon_becomes_its_user [Vault, Mounts, Root];
}

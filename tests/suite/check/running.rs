//! `check --running`: the live socket as kube-apiserver uses it, and what it says where that would fail.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::super::harness::child::{Child, clean_environment};
use super::super::harness::daemon::Daemon;
use super::super::harness::kms::KmsClient;
use super::super::harness::kubernetes::{EncryptionConfiguration, Etcd, KubeApiserver};
use super::super::harness::vault::Vault;
use super::super::harness::wait;
use super::super::{LIMIT, daemon_for};
use super::Said;

/// A user that owns nothing, and its groups.
const USER: &str = "--reuid 12345 --regid 12346 --groups 12347";

async fn run(daemon: &Daemon) -> Said {
    let config = daemon.config_path().display().to_string();
    let arguments = ["check", "--running", "--config", &config];
    ended(daemon, env!("CARGO_BIN_EXE_vault-kms-plugin"), &arguments).await
}

pub(super) async fn ended(daemon: &Daemon, program: &str, arguments: &[&str]) -> Said {
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut child = Child::spawn(Path::new(program), arguments, log.path(), clean_environment);
    let code = child.wait_exit(LIMIT).await;
    Said {
        code,
        text: std::fs::read_to_string(log.path()).unwrap(),
        dir: daemon.dir().display().to_string(),
    }
}

/// A process that is called kube-apiserver, of another user; nothing else runs where `check` looks.
pub(super) struct Double {
    dir: TempDir,
    /// What precedes it.
    wrapper: String,
}

impl Double {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path| std::fs::set_permissions(path, PermissionsExt::from_mode(0o755));
        mode(dir.path()).unwrap();
        let program = dir.path().join("kube-apiserver");
        std::fs::write(&program, "#!/bin/sh\nsleep 100\n").unwrap();
        mode(&program).unwrap();
        Self {
            dir,
            wrapper: String::new(),
        }
    }

    pub(super) fn encryption_config(&self) -> PathBuf {
        self.dir.path().join("encryption.yaml")
    }

    pub(super) async fn check(&self, daemon: &Daemon) -> Said {
        let yaml = EncryptionConfiguration::v2(daemon.socket());
        std::fs::write(self.encryption_config(), yaml).unwrap();
        self.check_with(daemon, &self.wrapper).await
    }

    /// With whatever the file is.
    async fn check_with(&self, daemon: &Daemon, wrapper: &str) -> Said {
        let script = format!(
            "{} setpriv {USER} {}/kube-apiserver --encryption-provider-config={} >/dev/null 2>&1 &
             until grep -qx kube-apiserver /proc/[0-9]*/comm 2>/dev/null; do sleep 0.05; done
             {} check --running --config {}",
            wrapper,
            self.dir.path().display(),
            self.encryption_config().display(),
            env!("CARGO_BIN_EXE_vault-kms-plugin"),
            daemon.config_path().display(),
        );
        let arguments = ["--pid", "--fork", "--mount-proc", "sh", "-c", &script];
        ended(daemon, "unshare", &arguments).await
    }
}

async fn the_live_socket_is_used_as_kube_apiserver_uses_it() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let daemon = daemon_for(&vault.address(), &fixture).spawn().await;
    KmsClient::connect(daemon.socket()).wait_ok(LIMIT).await;
    let etcd = Etcd::start().await;
    let encryption = EncryptionConfiguration::v2(daemon.socket());
    let _kubernetes = KubeApiserver::start(&etcd, Some(&encryption), None).await;
    let said = run(&daemon).await;
    let shown = daemon.socket().display();
    said.ends_with(0)
        .says(&format!("✓ running: {shown}, as kube-apiserver (pid "))
        .says("): Status ok in ")
        .says("✓ encryption config: ");
    assert_eq!(said.text.matches("✓ running: ").count(), 1, "{}", said.text);
    assert_eq!(daemon.stop().await, 0);
    let said = run(&daemon).await;
    said.names("as kube-apiserver (pid ", "start the plugin");
}

async fn a_user_who_may_not_reach_the_socket_is_named_with_the_remedy() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let double = Double::new();
    let started = async |more: &str| {
        let builder = daemon_for(&vault.address(), &fixture).extra(more);
        let open = PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(builder.dir(), open).unwrap();
        let daemon = builder.spawn().await;
        let own = KmsClient::connect(daemon.socket());
        own.wait_ok(LIMIT).await;
        daemon
    };
    let daemon = started("").await;
    double.check(&daemon).await.names(
        "user 12345): Permission denied",
        "socket.mode, socket.group, socket.owner",
    );
    let daemon = started("[socket]\nmode = \"0660\"\ngroup = \"12347\"\nallow_uids = [0]").await;
    double.check(&daemon).await.names(
        "user 12345): the plugin closed the connection",
        "set socket.allow_uids = [0, 12345] and reload",
    );
    // By a supplementary group through the mode, by its user through the list.
    let admitted = "[socket]\nmode = \"0660\"\ngroup = \"12347\"\nallow_uids = [0, 12345]";
    let daemon = started(admitted).await;
    let said = double.check(&daemon).await;
    said.ends_with(0)
        .says("user 12345): Status ok in ")
        .says("✓ encryption config: ");
}

/// The list names the group, and the kernel knows the members.
async fn a_member_of_the_sockets_group_is_served_by_a_supplementary_group() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let double = Double::new();
    let more =
        "[socket]\nmode = \"0660\"\ngroup = \"12347\"\nallow_uids = [0]\nallow_gids = [12347]";
    let builder = daemon_for(&vault.address(), &fixture).extra(more);
    let open = PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(builder.dir(), open).unwrap();
    let daemon = builder.spawn().await;
    KmsClient::connect(daemon.socket()).wait_ok(LIMIT).await;
    let said = double.check(&daemon).await;
    said.ends_with(0).says("user 12345): Status ok in ");
    // Another group on the list, of which it is no primary member.
    for change in [
        "allow_gids = [12399]",
        "allow_gids = [12347]\nmode = \"0600\"",
    ] {
        daemon.change_config(&format!("[socket]\n{change}"));
        daemon.signal(rustix::process::Signal::HUP);
        wait::until_true("the user to be refused", LIMIT, async || {
            let said = double.check(&daemon).await;
            !said.text.contains("user 12345): Status ok in ")
        })
        .await;
    }
}

async fn a_socket_that_is_not_mounted_into_kube_apiserver_is_found_out() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let daemon = daemon_for(&vault.address(), &fixture).spawn().await;
    KmsClient::connect(daemon.socket()).wait_ok(LIMIT).await;
    let mut double = Double::new();
    let dir = daemon.socket().parent().unwrap().display();
    double.wrapper = format!("unshare --mount sh -c 'mount -t tmpfs none {dir} && exec \"$@\"' sh");
    let said = double.check(&daemon).await;
    said.names(
        "user 12345): No such file or directory",
        "mount the directory of the socket into kube-apiserver",
    )
    .names(
        "is not this plugin's socket",
        "mount the directory of the socket, and not the socket, into its pod",
    );
}

/// Anybody can call a process kube-apiserver.
async fn nothing_but_a_regular_file_of_that_process_is_opened() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let daemon = daemon_for(&vault.address(), &fixture).spawn().await;
    let double = Double::new();
    std::os::unix::fs::symlink("/dev/zero", double.encryption_config()).unwrap();
    let said = double.check_with(&daemon, "").await;
    said.names("is no regular file", "name a file that can be read");
    std::fs::remove_file(double.encryption_config()).unwrap();
    // A file that only root may read.
    let secret = daemon.dir().join("secret");
    std::fs::write(&secret, "kind: s3cret\n").unwrap();
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink(&secret, double.encryption_config()).unwrap();
    let said = double.check_with(&daemon, "").await;
    said.says("cannot be read from here: Permission denied");
    assert!(!said.text.contains("s3cret"), "{}", said.text);
}

async fn a_plugin_that_hangs_is_reported_in_time() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let daemon = daemon_for(&vault.address(), &fixture).spawn().await;
    KmsClient::connect(daemon.socket()).wait_ok(LIMIT).await;
    daemon.signal(rustix::process::Signal::STOP);
    let config = daemon.config_path().display().to_string();
    let program = env!("CARGO_BIN_EXE_vault-kms-plugin");
    let mut arguments = vec!["--pid", "--fork", "--mount-proc", program];
    arguments.extend(["check", "--running", "--config", &config]);
    let said = ended(&daemon, "unshare", &arguments).await;
    said.ends_with(69).says("no answer within 3s");
    daemon.signal(rustix::process::Signal::CONT);
}

async fn without_kube_apiserver_the_socket_is_used_as_this_user() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let daemon = daemon_for(&vault.address(), &fixture).spawn().await;
    KmsClient::connect(daemon.socket()).wait_ok(LIMIT).await;
    let config = daemon.config_path().display().to_string();
    let program = env!("CARGO_BIN_EXE_vault-kms-plugin");
    let mut arguments = vec!["--pid", "--fork", "--mount-proc", program];
    arguments.extend(["check", "--running", "--strict", "--config", &config]);
    let said = ended(&daemon, "unshare", &arguments).await;
    said.ends_with(0)
        .says(", as user 0: no kube-apiserver is visible from here: Status ok in ");
    vault.delete_key(&fixture.mount, &fixture.key).await;
    let said = ended(&daemon, "unshare", &arguments).await;
    said.ends_with(69);
}

tests! {
    multi the_live_socket_is_used_as_kube_apiserver_uses_it [Vault, Kubernetes];
    single a_user_who_may_not_reach_the_socket_is_named_with_the_remedy [Vault, Mounts, Root];
    single a_member_of_the_sockets_group_is_served_by_a_supplementary_group [Vault, Mounts, Root];
    single a_socket_that_is_not_mounted_into_kube_apiserver_is_found_out [Vault, Mounts, Root];
    single nothing_but_a_regular_file_of_that_process_is_opened [Vault, Mounts, Root];
    single a_plugin_that_hangs_is_reported_in_time [Vault, Mounts, Root];
    single without_kube_apiserver_the_socket_is_used_as_this_user [Vault, Mounts, Root];
}

//! Container images without a builder: archives as `docker save` writes them, with one layer.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::super::harness::servers::{self, KUBERNETES, Server, binary};
use super::super::packages;

/// The release of etcd that tests/servers/etcd pins.
pub(super) const ETCD: &str = "3.6.16";
/// What the sandbox of each pod runs.
pub(super) const PAUSE: &str = "localhost/pause:3.10.2";
/// The plugin's image before and after an upgrade.
pub(super) const PLUGIN: &str = "localhost/vault-kms-plugin:0.1.0";
pub(super) const UPGRADED: &str = "localhost/vault-kms-plugin:0.2.0";
/// The same plugin as OpenShift's operators are given it: in the place of HashiCorp's.
pub(super) const KUBE_KMS: &str = "localhost/vault-kube-kms:0.1.0";
/// The client of kube-apiserver, which asks a plugin for all that kube-apiserver asks it for.
pub(super) const CHECKER: &str = "localhost/conformance:1.37";
const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    "amd64"
};
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/image/root.sh");

/// A directory with the archives of all images; made once.
pub(super) fn all() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(make)
}

fn make() -> PathBuf {
    let dir = servers::target_dir().join("images");
    fs::create_dir_all(&dir).unwrap();
    let of_kubernetes = [
        Server::KubeApiserver,
        Server::KubeControllerManager,
        Server::KubeScheduler,
    ];
    for server in of_kubernetes {
        let image = format!("localhost/{}:v{KUBERNETES}", server.name());
        of_program(&dir, &image, server.name(), &binary(server), None);
    }
    let etcd = format!("localhost/etcd:{ETCD}");
    of_program(&dir, &etcd, "etcd", &binary(Server::Etcd), None);
    let pause = Some("/usr/local/bin/pause");
    of_program(&dir, PAUSE, "pause", &servers::pause(), pause);
    let checker = servers::conformance("v0.37.2");
    let entry = Some("/usr/local/bin/conformance");
    of_program(&dir, CHECKER, "conformance", &checker, entry);
    of_the_plugin(&dir);
    dir
}

/// Of one static program.
fn of_program(dir: &Path, image: &str, name: &str, program: &Path, entry: Option<&str>) {
    // It is named after what it is made of.
    let stem = program.file_name().unwrap().to_str().unwrap();
    let archive = dir.join(format!("{name}.tar"));
    let made_of = dir.join(format!("{name}.of"));
    if archive.exists() && fs::read_to_string(&made_of).is_ok_and(|it| it == stem) {
        return;
    }
    let root = tempfile::tempdir_in(dir).unwrap();
    let place = root.path().join("usr/local/bin");
    fs::create_dir_all(&place).unwrap();
    fs::copy(program, place.join(name)).unwrap();
    write(image, root.path(), entry, &archive);
    fs::write(made_of, stem).unwrap();
}

/// The shipped one twice, as two releases.
fn of_the_plugin(dir: &Path) {
    let archive = |version: &str| dir.join(format!("plugin-{version}.tar"));
    let root = tempfile::tempdir_in(dir).unwrap();
    let program = servers::release_daemon();
    let made = Command::new("sh")
        .args([ROOT.as_ref(), root.path(), program.as_path()])
        .output();
    let made = made.unwrap();
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{said}");
    let entry = Some("/usr/local/bin/vault-kms-plugin");
    // The very image of a release, if packaging/build.sh made it.
    if packages::is_built_for(ARCHITECTURE) {
        fs::copy(packages::image(ARCHITECTURE), archive("0.1.0")).unwrap();
    } else {
        write(PLUGIN, root.path(), entry, &archive("0.1.0"));
    }
    let archive_of_kube_kms = dir.join("vault-kube-kms.tar");
    write(
        KUBE_KMS,
        root.path(),
        Some("/vault-kube-kms"),
        &archive_of_kube_kms,
    );
    // Another image, and not only another name.
    fs::write(root.path().join("release"), "0.2.0\n").unwrap();
    write(UPGRADED, root.path(), entry, &archive("0.2.0"));
}

fn write(image: &str, root: &Path, entry: Option<&str>, archive: &Path) {
    let dir = tempfile::tempdir().unwrap();
    let layer = dir.path().join("layer.tar");
    tar(root, &layer, &["."]);
    let mut hash = Sha256::new();
    io::copy(&mut File::open(&layer).unwrap(), &mut hash).unwrap();
    let digest: String = hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let config = json!({
        "architecture": ARCHITECTURE,
        "os": "linux",
        "config": { "Entrypoint": entry.map(|it| [it]), "Env": ["PATH=/usr/local/bin"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
        "history": [{}],
    });
    let manifest =
        json!([{ "Config": "config.json", "RepoTags": [image], "Layers": ["layer.tar"] }]);
    fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    fs::write(dir.path().join("manifest.json"), manifest.to_string()).unwrap();
    tar(
        dir.path(),
        archive,
        &["config.json", "layer.tar", "manifest.json"],
    );
}

fn tar(dir: &Path, archive: &Path, members: &[&str]) {
    let mut command = Command::new("tar");
    command.args(["--owner=0", "--group=0", "--numeric-owner", "--sort=name"]);
    command.arg("-C").arg(dir).arg("-cf").arg(archive);
    let made = command.args(members).output().unwrap();
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{said}");
}

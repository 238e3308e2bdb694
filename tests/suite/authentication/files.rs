//! Credential files: how they are replaced, and which of them cannot be used.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use tonic::Code;

use super::super::harness::vault::Vault;
use super::super::{daemon_at, daemon_for};
use super::methods::works;
use super::refused;

/// Writes a version into `dir` as kubelet does: into a directory of its own, to which `..data` is
/// moved.
fn project(dir: &Path, version: &str, token: &str) {
    let real = dir.join(version);
    fs::create_dir_all(&real).unwrap();
    fs::write(real.join("token"), token).unwrap();
    let next = dir.join("..data_tmp");
    symlink(version, &next).unwrap();
    fs::rename(&next, dir.join("..data")).unwrap();
}

async fn symlinks_that_kubelet_swaps_are_followed() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let builder = daemon_at(&vault.address(), &fixture);
    let dir = builder.dir().join("projected");
    fs::create_dir(&dir).unwrap();
    project(&dir, "..2026_01", "hvs.wrong");
    symlink("..data/token", dir.join("token")).unwrap();
    let auth = format!(
        "[auth]\nmethod = \"token\"\ntoken_file = \"{}/token\"",
        dir.display()
    );
    let daemon = builder.extra(&auth).spawn().await;
    daemon.logged("put a valid token into").await;
    project(&dir, "..2026_02", &fixture.token);
    fs::remove_dir_all(dir.join("..2026_01")).unwrap();
    works(&daemon).await;
}

async fn an_unusable_credential_file_is_reported_and_its_successor_is_used() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    type Make = fn(&Path);
    let cases: [(&str, Make); 4] = [
        (
            "is larger than 64 KiB, which is too large for a credential",
            |path| {
                fs::write(path, vec![b'x'; 64 * 1024 + 1]).unwrap();
            },
        ),
        ("is not UTF-8 text", |path| {
            fs::write(path, [0xff, 0xfe]).unwrap()
        }),
        ("cannot be read", |path| fs::create_dir(path).unwrap()),
        ("cannot be opened", |path| symlink("nowhere", path).unwrap()),
    ];
    for (cause, make) in cases {
        let builder = daemon_at(&vault.address(), &fixture);
        let path = builder.dir().join("credential");
        make(&path);
        let auth = format!(
            "[auth]\nmethod = \"token\"\ntoken_file = \"{}\"",
            path.display()
        );
        let daemon = builder.extra(&auth).spawn().await;
        let texts = ["auth.token_file", cause, path.to_str().unwrap()];
        refused(&daemon, Code::PermissionDenied, &texts).await;
        if path.is_dir() {
            fs::remove_dir(&path).unwrap();
        }
        let fresh = path.with_extension("fresh");
        fs::write(&fresh, &fixture.token).unwrap();
        fs::rename(&fresh, &path).unwrap();
        works(&daemon).await;
    }
}

async fn a_file_of_64_kib_is_read() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let blanks = " ".repeat(64 * 1024 - fixture.token.len());
    let padded = fixture.token.clone() + &blanks;
    let daemon = daemon_for(&vault.address(), &fixture)
        .token(&padded)
        .spawn()
        .await;
    works(&daemon).await;
}

async fn a_world_readable_credential_file_causes_a_warning() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let daemon = daemon_for(&vault.address(), &fixture).spawn().await;
    works(&daemon).await;
    let warning = "credential file is world-readable";
    assert!(!daemon.log().contains(warning), "{}", daemon.log());
    fs::set_permissions(daemon.token_path(), fs::Permissions::from_mode(0o644)).unwrap();
    daemon.restart().await;
    works(&daemon).await;
    daemon.logged(warning).await;
}

tests! {
    single symlinks_that_kubelet_swaps_are_followed [Vault];
    single an_unusable_credential_file_is_reported_and_its_successor_is_used [Vault];
    single a_file_of_64_kib_is_read [Vault];
    single a_world_readable_credential_file_causes_a_warning [Vault];
}

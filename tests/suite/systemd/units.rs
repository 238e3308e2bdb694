//! The shipped units themselves.

use std::fs;
use std::path::Path;

use super::super::harness::machine::Output;
use super::{SERVICE, installed};

/// What the hardening is measured by; see docs/hardening.md for what is left open.
const EXPOSURE: f64 = 1.3;

async fn the_units_are_sound_and_the_service_is_hardened() {
    let machine = installed().boot().await;
    for unit in [
        "vault-kms-plugin.service",
        "vault-kms-plugin.socket",
        "vault-kms-plugin@.service",
        "vault-kms-plugin@.socket",
    ] {
        let path = format!("/etc/systemd/system/{unit}");
        let Output { code, text } = machine
            .run(&["systemd-analyze", "--man=no", "verify", &path])
            .await;
        let about_us: Vec<_> = text
            .lines()
            .filter(|line| line.contains("vault-kms"))
            .collect();
        assert!(code == 0 && about_us.is_empty(), "{text}");
    }
    let report = machine.ok(&["systemd-analyze", "security", SERVICE]).await;
    let level = report
        .lines()
        .find_map(|line| line.split_once("plugin.service: "));
    let level = level.and_then(|(_, rest)| rest.split(' ').next()?.parse::<f64>().ok());
    let level = level.unwrap_or_else(|| panic!("no level: {report}"));
    eprintln!("exposure {level}");
    assert!(level <= EXPOSURE, "{report}");
}

async fn the_user_and_the_directories_are_made() {
    let machine = installed().boot().await;
    let owned = machine
        .ok(&[
            "stat",
            "-c",
            "%A %U %G %n",
            "/etc/vault-kms-plugin",
            "/run/vault-kms-plugin",
        ])
        .await;
    assert_eq!(
        owned,
        "drwxr-x--- root vault-kms-plugin /etc/vault-kms-plugin\n\
         drwxr-xr-x vault-kms-plugin vault-kms-plugin /run/vault-kms-plugin\n"
    );
}

/// Those have their kubelet, and with it kube-apiserver, inside.
fn the_units_start_before_what_starts_kube_apiserver() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    for unit in ["vault-kms-plugin.service", "vault-kms-plugin.socket"] {
        let text = fs::read_to_string(dir.join(unit)).unwrap();
        let before = text.lines().find_map(|line| line.strip_prefix("Before="));
        let before: Vec<_> = before.unwrap_or_default().split(' ').collect();
        for service in [
            "kubelet.service",
            "kube-apiserver.service",
            "k3s.service",
            "rke2-server.service",
            "k0scontroller.service",
        ] {
            assert!(before.contains(&service), "{unit}: {service}");
        }
    }
}

tests! {
    plain the_units_start_before_what_starts_kube_apiserver;
    single the_units_are_sound_and_the_service_is_hardened [Machines];
    single the_user_and_the_directories_are_made [Machines];
}

//! `vault-kube-kms` as OpenShift's operators start it: arguments alone, two instances in one pod, files of users
//! that the process does not know.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use serde_json::json;

use super::super::authentication::approle::AppRole;
use super::super::harness::certificates::Certificates;
use super::super::harness::vault::Vault;
use super::{Site, served, stopped, works};
use crate::LIMIT;
use crate::harness::child::free_port;
use crate::harness::wait;

/// The arguments for the instance `number`.
fn arguments(site: &Site, address: &str, mount: &str, role: &AppRole, number: u32) -> Vec<String> {
    let path = |name: &str| site.path(name).display().to_string();
    vec![
        format!(
            "-listen-address=unix://{}",
            path(&format!("kms-{number}.sock"))
        ),
        format!("-vault-address={address}"),
        format!("-vault-key-path={mount}/keys/kms"),
        format!("-auth-mount={}", role.mount),
        format!("-approle-role-id={}", role.role_id),
        format!("-approle-secret-id-path={}", path("secret-id")),
        "-metrics-port=0".to_owned(),
    ]
}

/// One of them has the port, and the other one goes on without it.
async fn two_instances_share_a_directory_and_the_ports() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let role = AppRole::new(vault, &fixture, json!({})).await;
    let site = Site::new("vault-kube-kms");
    site.write("secret-id", &role.secret_id);
    let port = free_port();
    let mut children: Vec<_> = [1, 2]
        .map(|number| {
            let mut all = arguments(&site, &vault.address(), &fixture.mount, &role, number);
            all.push(format!("-health-port={port}"));
            site.start(&all, &[])
        })
        .into();
    for number in [1, 2] {
        works(&site.path(&format!("kms-{number}.sock"))).await;
        // `status` finds each beside its socket.
        let address = format!(
            "--address=unix:{}",
            site.path(&format!("kms-{number}.sock.admin")).display()
        );
        wait::until_true("the admin server", LIMIT, async || {
            site.run(&["status", &address], &[]).status.success()
        })
        .await;
    }
    served(port, "/healthz").await;
    served(port, "/readyz").await;
    for child in &mut children {
        assert_eq!(
            child.exited(),
            None,
            "a taken port ended it: {}",
            child.log()
        );
    }
    stopped(&mut children[0]).await;
    works(&site.path("kms-2.sock")).await;
    stopped(&mut children[1]).await;
}

/// As uid 0 in a container, with a volume whose files belong to another user.
async fn files_of_an_unknown_user_are_read_with_a_warning_under_this_name_alone() {
    let certificates = Certificates::new();
    certificates.server("127.0.0.1");
    let site = Site::new("vault-kube-kms");
    let volume = site.path("volume");
    fs::create_dir(&volume).unwrap();
    let ca = volume.join("ca.crt");
    fs::write(&ca, certificates.ca_pem()).unwrap();
    site.write("secret-id", "s");
    for path in [&ca, &volume, &site.path("secret-id")] {
        chown(path, Some(1_000_650_000), Some(0)).unwrap();
    }
    let role = AppRole {
        mount: "approle".to_owned(),
        role_id: "r".to_owned(),
        secret_id: "s".to_owned(),
    };
    let mut own = arguments(&site, "https://127.0.0.1:9", "transit", &role, 1);
    own.push(format!("-tls-ca-file={}", ca.display()));
    let checked = |arguments: &[String]| {
        let mut all = vec!["check", "--offline", "--"];
        all.extend(arguments.iter().map(String::as_str));
        let output = site.run(&all, &[]);
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    let mut child = site.start(&own, &[]);
    let listening = site.path("kms-1.sock");
    wait::until_true("the socket", LIMIT, async || listening.exists()).await;
    let text = format!("{} belongs to uid 1000650000", ca.display());
    assert!(child.log().contains(&text), "{}", child.log());
    stopped(&mut child).await;
    // A file that everybody may write stays an error.
    fs::set_permissions(&ca, fs::Permissions::from_mode(0o666)).unwrap();
    chown(&ca, Some(0), Some(0)).unwrap();
    let (code, stdout) = checked(&own);
    assert_eq!(code, Some(78), "{stdout}");
    assert!(stdout.contains("every user can change it"), "{stdout}");
    refused_under_another_name(&volume, &ca);
}

fn refused_under_another_name(volume: &Path, ca: &Path) {
    fs::set_permissions(ca, fs::Permissions::from_mode(0o644)).unwrap();
    chown(ca, Some(1_000_650_000), Some(0)).unwrap();
    assert!(volume.exists());
    let other = Site::new("vault-kubernetes-kms");
    let ca = format!("-vault-ca-cert={}", ca.display());
    let arguments = [
        "-vault-address=https://127.0.0.1:9",
        "-auth-method=token",
        "-token=t",
        &ca,
    ];
    let output = other.run(&arguments, &[]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("vault.ca_file (from -vault-ca-cert): "),
        "{stderr}"
    );
}

tests! {
    multi two_instances_share_a_directory_and_the_ports [Vault];
    multi files_of_an_unknown_user_are_read_with_a_warning_under_this_name_alone [Root];
}

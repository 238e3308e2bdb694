//! The template units: several plugins on one node, each with its own key, socket and admin address.

use std::path::PathBuf;

use super::super::harness::kms::KmsClient;
use super::super::harness::machine::Machine;
use super::super::harness::vault::{Fixture, Vault};
use super::super::harness::wait;
use super::{LIMIT, installed};

const BLUE: &str = "vault-kms-plugin@blue.service";
const GREEN: &str = "vault-kms-plugin@green.service";
const GREENS_SOCKET: &str = "vault-kms-plugin@green.socket";
const PLUGIN: &str = "/usr/local/bin/vault-kms-plugin";

/// What a template unit has in place of a line of the plain one.
const OF_AN_INSTANCE: [(&str, &str); 9] = [
    (
        "Description=KMS plugin for kube-apiserver over Vault Transit",
        "Description=KMS plugin for kube-apiserver over Vault Transit, instance %i",
    ),
    (
        "Description=Socket of the KMS plugin for kube-apiserver",
        "Description=Socket of the KMS plugin for kube-apiserver, instance %i",
    ),
    (
        "/etc/vault-kms-plugin/config.toml",
        "/etc/vault-kms-plugin/%i.toml",
    ),
    (
        "/etc/vault-kms-plugin/environment",
        "/etc/vault-kms-plugin/%i.environment",
    ),
    (
        "/run/vault-kms-plugin/kms.sock",
        "/run/vault-kms-plugin/%i/kms.sock",
    ),
    (
        "RuntimeDirectory=vault-kms-plugin",
        "RuntimeDirectory=vault-kms-plugin/%i",
    ),
    (
        "StateDirectory=vault-kms-plugin",
        "StateDirectory=vault-kms-plugin/%i",
    ),
    (
        "Service=vault-kms-plugin.service",
        "Service=vault-kms-plugin@%i.service",
    ),
    (
        "Environment=VAULT_KMS_PLUGIN_BOOT_ID=%b",
        "Environment=VAULT_KMS_PLUGIN_BOOT_ID=%b\n\
         Environment=VAULT_KMS_PLUGIN_SOCKET_PATH=/run/vault-kms-plugin/%i/kms.sock\n\
         Environment=VAULT_KMS_PLUGIN_ADMIN_LISTEN=unix:/run/vault-kms-plugin/%i/admin.sock",
    ),
];

/// The settings of a shipped unit, without comments and empty lines.
fn settings(unit: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("systemd")
        .join(unit);
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines();
    let settings = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    settings.map(|line| format!("{line}\n")).collect()
}

fn the_template_units_differ_from_the_plain_ones_in_the_instance_alone() {
    for kind in ["service", "socket"] {
        let plain = settings(&format!("vault-kms-plugin.{kind}"));
        let expected = OF_AN_INSTANCE
            .iter()
            .fold(plain, |text, (from, to)| text.replace(from, to));
        assert_eq!(settings(&format!("vault-kms-plugin@.{kind}")), expected);
    }
}

fn socket(instance: &str) -> String {
    format!("/run/vault-kms-plugin/{instance}/kms.sock")
}

async fn process(machine: &Machine, unit: &str) -> String {
    let command = ["systemctl", "show", "--value", "-p", "MainPID", unit];
    machine.ok(&command).await.trim().to_owned()
}

/// What an instance's own admin server says.
async fn status(machine: &Machine, instance: &str) -> String {
    let address = format!("unix:/run/vault-kms-plugin/{instance}/admin.sock");
    let command = [PLUGIN, "status", "--address", &address];
    machine.ok(&command).await
}

/// The configuration of an instance: what names the instance comes from the unit.
fn config(address: &str, fixture: &Fixture, instance: &str) -> String {
    let (mount, key) = (&fixture.mount, &fixture.key);
    format!(
        "[vault]\naddress = {address:?}\n[transit]\nmount = {mount:?}\nkey = {key:?}\n\
         [auth]\nmethod = \"token\"\ntoken_file = \"/etc/vault-kms-plugin/{instance}.token\"\n"
    )
}

async fn two_instances_serve_two_keys_and_one_restarts_alone() {
    let vault = Vault::shared().await;
    let mut plan = installed().start(BLUE).start(GREENS_SOCKET).start(GREEN);
    let mut mounts = Vec::new();
    for instance in ["blue", "green"] {
        let fixture = vault.fixture().await;
        let config = config(&vault.address(), &fixture, instance);
        plan = plan
            .file(&format!("/etc/vault-kms-plugin/{instance}.toml"), &config)
            .file(
                &format!("/etc/vault-kms-plugin/{instance}.token"),
                &fixture.token,
            );
        mounts.push(fixture.mount);
    }
    let machine = plan.boot().await;
    let clients =
        ["blue", "green"].map(|instance| KmsClient::connect(machine.path(&socket(instance))));
    for (client, mount) in clients.iter().zip(&mounts) {
        let key_id = client.wait_ok(LIMIT).await.key_id;
        assert!(key_id.contains(mount.as_str()), "{key_id}: {mount}");
    }
    let [blue, green] = &clients;
    let (ciphertext, key_id) = blue.encrypt(&[7; 32]).await.unwrap();
    assert!(green.decrypt(&ciphertext, &key_id).await.is_err());
    assert_eq!(blue.decrypt(&ciphertext, &key_id).await.unwrap(), [7; 32]);
    // Their own state and admin server.
    for (instance, mount) in ["blue", "green"].iter().zip(&mounts) {
        let shown = status(&machine, instance).await;
        assert!(shown.contains(mount.as_str()), "{shown}");
        let state = machine.path(&format!("{}.state.json", socket(instance)));
        wait::until_true("the state file", LIMIT, async || {
            std::fs::read_to_string(&state).is_ok_and(|text| text.contains(mount.as_str()))
        })
        .await;
    }
    let triggered = ["systemctl", "show", "--value", "-p", "TriggeredBy", GREEN];
    assert_eq!(machine.ok(&triggered).await.trim(), GREENS_SOCKET);
    // One ends; the other does not notice.
    let before = [
        process(&machine, BLUE).await,
        process(&machine, GREEN).await,
    ];
    machine.ok(&["kill", "-KILL", &before[0]]).await;
    green.encrypt(&[7; 32]).await.unwrap();
    wait::until_true("another process of the instance", LIMIT, async || {
        let now = process(&machine, BLUE).await;
        now != "0" && now != before[0]
    })
    .await;
    KmsClient::connect(machine.path(&socket("blue")))
        .wait_ok(LIMIT)
        .await;
    assert_eq!(process(&machine, GREEN).await, before[1]);
    // A reload checks and applies the instance's own file.
    machine.ok(&["systemctl", "reload", GREEN]).await;
    let wrong = "/etc/vault-kms-plugin/green.toml";
    machine.write(wrong, "[vault]\nadress = \"x\"\n");
    assert_ne!(machine.run(&["systemctl", "reload", GREEN]).await.code, 0);
    machine.ok(&["systemctl", "reload", BLUE]).await;
    // `check` finds the instance's file and variables.
    let checked = machine.ok(&[PLUGIN, "check", "--unit", BLUE]).await;
    for line in [
        "✓ configuration: /etc/vault-kms-plugin/blue.toml is valid",
        "VAULT_KMS_PLUGIN_SOCKET_PATH sets socket.path to /run/vault-kms-plugin/blue/kms.sock",
        "✓ round trip",
    ] {
        assert!(checked.contains(line), "no {line:?} in:\n{checked}");
    }
}

tests! {
    plain the_template_units_differ_from_the_plain_ones_in_the_instance_alone;
    single two_instances_serve_two_keys_and_one_restarts_alone [Vault, Machines];
}

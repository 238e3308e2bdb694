//! `check --unit`: the environment that it puts together is the one that the process has; and a
//! credential that systemd decrypts.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::super::documents::markdown::Page;
use super::super::harness::kms::KmsClient;
use super::super::harness::machine::Output;
use super::{CONFIG, Host, LIMIT, SERVICE, SOCKET, TOKEN};

const PLUGIN: &str = "/usr/local/bin/vault-kms-plugin";
const DROP_IN: &str = "[Service]
Environment=\"VAULT_KMS_PLUGIN_HEALTH_TOLERANCE=5 m\" VAULT_KMS_PLUGIN_HEALTH_FAIL_AFTER=1h
Environment='VAULT_KMS_PLUGIN_TRANSIT_KEY_ID_SUFFIX=a' VAULT_CACERT=/nonexistent
EnvironmentFile=/etc/vault-kms-plugin/more
EnvironmentFile=-/nonexistent
UnsetEnvironment=VAULT_CACERT
PassEnvironment=VAULT_KMS_PLUGIN_SOCKET_MODE VAULT_KMS_PLUGIN_LOG_LEVEL
";
const MORE: &str = "# A comment
VAULT_KMS_PLUGIN_HEALTH_FAIL_AFTER = '2'\" h\"
VAULT_KMS_PLUGIN_LOG_LEVEL=de\\
bug
";

/// The drop-in of a test.
fn drop_in() -> String {
    format!("/etc/systemd/system/{SERVICE}.d/test.conf")
}

async fn the_environment_of_a_unit_is_that_of_its_process() {
    let (host, _) = Host::serving(|plan| {
        plan.file(&drop_in(), DROP_IN)
            .file("/etc/vault-kms-plugin/more", MORE)
            .file(
                "/etc/vault-kms-plugin/environment",
                "VAULT_KMS_PLUGIN_LIMITS_MAX_WAITING=99\nHTTPS_PROXY=\n",
            )
            .variable_of_systemd("VAULT_KMS_PLUGIN_SOCKET_MODE", "0640")
            .variable_of_systemd("VAULT_KMS_PLUGIN_LOG_LEVEL", "warn")
            .variable_of_systemd("VAULT_NAMESPACE", "not-passed")
    })
    .await;
    let set = [
        "systemctl",
        "set-environment",
        "VAULT_KMS_PLUGIN_LIMITS_MAX_WAITING=77",
        "VAULT_KMS_PLUGIN_SOCKET_ALLOW_UIDS=0, 60790",
    ];
    host.machine.ok(&set).await;
    host.machine.ok(&["systemctl", "restart", SERVICE]).await;
    let process = host.show("MainPID").await;
    let environment = host
        .machine
        .ok(&["cat", &format!("/proc/{process}/environ")])
        .await;
    let mut expected: BTreeMap<_, _> = environment
        .split('\0')
        .filter_map(|it| it.split_once('='))
        .filter(|(name, _)| name.starts_with("VAULT_"))
        .collect();
    // No key.
    assert!(expected.remove("VAULT_KMS_PLUGIN_BOOT_ID").is_some());
    assert_eq!(expected.len(), 7, "{expected:?}");
    // The shell has other variables.
    let checked = host
        .machine
        .ok(&[
            "env",
            "VAULT_NAMESPACE=of-the-shell",
            "VAULT_KMS_PLUGIN_LOG_LEVEL=trace",
            PLUGIN,
            "check",
            "--json",
            "--unit",
            SERVICE,
        ])
        .await;
    let checked: Value = serde_json::from_str(&checked).unwrap();
    let values = checked["values"].as_array().unwrap();
    let of_variables = values.iter().filter_map(|it| {
        let variable = it["variable"].as_str()?;
        Some((variable, it["value"].as_str()?))
    });
    let found: BTreeMap<_, _> = of_variables.collect();
    assert_eq!(found, expected);
    assert_eq!(found["VAULT_KMS_PLUGIN_HEALTH_FAIL_AFTER"], "2 h");
}

async fn a_variable_of_the_shell_is_a_warning_and_one_of_the_unit_is_not() {
    let (host, _) = Host::serving(|plan| plan).await;
    let with = [
        "env",
        "NO_PROXY=vault.invalid",
        "VAULT_NAMESPACE=root",
        PLUGIN,
        "check",
        "--offline",
    ];
    let in_the_shell = host.machine.ok(&with).await;
    let warning = "! environment: VAULT_NAMESPACE sets vault.namespace to root in this shell";
    assert!(in_the_shell.contains(warning), "{in_the_shell}");
    let in_the_unit = host
        .machine
        .ok(&[&with[..], &["--unit", "vault-kms-plugin"]].concat())
        .await;
    assert!(!in_the_unit.contains("VAULT_NAMESPACE"), "{in_the_unit}");
    // As a command of the unit, such as its ExecReload=.
    let as_a_service = host
        .machine
        .ok(&[
            "systemd-run",
            "--quiet",
            "--wait",
            "--pipe",
            "-E",
            "VAULT_NAMESPACE=root",
            PLUGIN,
            "check",
            "--offline",
        ])
        .await;
    let line = "✓ environment: VAULT_NAMESPACE sets vault.namespace to root\n";
    assert!(as_a_service.contains(line), "{as_a_service}");
}

async fn a_unit_that_cannot_be_read_is_an_error_with_its_remedy() {
    let (host, _) = Host::serving(|plan| {
        plan.file(
            "/etc/systemd/system/broken.service",
            "[Service]\nExecStart=/bin/true\nEnvironmentFile=/nonexistent\n",
        )
    })
    .await;
    for (unit, cause, remedy) in [
        (
            "no-such-unit",
            "✗ unit: no-such-unit: systemd has not loaded such a unit (LoadState=not-found)",
            "systemctl list-units",
        ),
        (
            "broken",
            "✗ unit: broken: EnvironmentFile=/nonexistent: cannot be read: No such file or directory",
            "create the file",
        ),
    ] {
        let Output { code, text } = host.machine.run(&[PLUGIN, "check", "--unit", unit]).await;
        assert_eq!(code, 78, "{text}");
        assert!(text.contains(cause) && text.contains(remedy), "{text}");
    }
}

/// The commands and the drop-in of docs/install/systemd.md.
async fn a_token_that_systemd_decrypts_is_used() {
    let host = Host::boot(|plan| plan).await;
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/install/systemd.md");
    let page = Page::read(&page);
    let section = "Encrypted credentials";
    let [commands] = &page.blocks(section, "sh")[..] else {
        panic!("{section} has other commands");
    };
    let [settings] = &page.blocks(section, "ini")[..] else {
        panic!("{section} has other settings");
    };
    let machine = &host.machine;
    machine
        .ok(&["mv", TOKEN, "/mnt/vault-kms-plugin.token"])
        .await;
    let commands = format!("export HOME=/mnt\n{commands}");
    machine
        .ok(&["bash", "-euo", "pipefail", "-c", &commands])
        .await;
    machine.ok(&["rm", "/mnt/vault-kms-plugin.token"]).await;
    let encrypted = machine
        .ok(&["cat", "/etc/vault-kms-plugin/token.cred"])
        .await;
    assert!(!encrypted.contains(&host.fixture.token), "{encrypted}");
    machine.write(&drop_in(), settings);
    let inside = format!("/run/credentials/{SERVICE}/token");
    machine.write(CONFIG, &host.config.replace(TOKEN, &inside));
    machine.ok(&["systemctl", "daemon-reload"]).await;
    machine.ok(&["systemctl", "start", SERVICE]).await;
    KmsClient::connect(machine.path(SOCKET))
        .wait_ok(LIMIT)
        .await;
}

tests! {
    single the_environment_of_a_unit_is_that_of_its_process [Vault, Machines];
    single a_variable_of_the_shell_is_a_warning_and_one_of_the_unit_is_not [Vault, Machines];
    single a_unit_that_cannot_be_read_is_an_error_with_its_remedy [Vault, Machines];
    single a_token_that_systemd_decrypts_is_used [Vault, Machines];
}

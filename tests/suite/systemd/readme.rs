//! The setup of a service in docs/install/, command by command, on a machine that has only the
//! program.

use std::path::Path;

use super::super::documents::markdown::Page;
use super::super::harness::child::free_port;
use super::super::harness::kms::KmsClient;
use super::super::harness::machine::{Machine, Plan};
use super::super::harness::servers::{self, Server};
use super::super::harness::vault::Vault;
use super::{CONFIG, LIMIT, SERVICE, SOCKET};

/// Where the machine has the sources' files that the commands name.
const CHECKOUT: &str = "/srv/checkout";
const FILES: [&str; 7] = [
    "deploy/policy.hcl",
    "systemd/sysusers.d/vault-kms-plugin.conf",
    "systemd/tmpfiles.d/vault-kms-plugin.conf",
    "systemd/vault-kms-plugin.service",
    "systemd/vault-kms-plugin.socket",
    "systemd/vault-kms-plugin@.service",
    "systemd/vault-kms-plugin@.socket",
];

async fn machine() -> Machine {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let plan = FILES.iter().fold(Plan::new(), |plan, file| {
        let text = std::fs::read_to_string(root.join(file)).unwrap();
        plan.file(&format!("{CHECKOUT}/{file}"), &text)
    });
    let programs = [
        (servers::release_daemon(), "vault-kms-plugin"),
        (servers::binary(Server::Vault), "vault"),
    ];
    let plan = programs.into_iter().fold(plan, |plan, (from, name)| {
        plan.program(&from, &format!("/usr/local/bin/{name}"))
    });
    plan.boot().await
}

async fn the_documents_set_up_a_service_and_its_socket() {
    let vault = Vault::start().await;
    let machine = machine().await;
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/install");
    let of_vault = Page::read(&pages.join("vault.md"));
    let of_the_node = Page::read(&pages.join("systemd.md"));
    let run = async |block: &str| {
        let (address, token) = (vault.address(), vault.root_token());
        let text = format!(
            "cd {CHECKOUT}; export HOME=/root PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
             VAULT_ADDR={address} VAULT_TOKEN={token}\n{block}"
        );
        machine.ok(&["bash", "-euo", "pipefail", "-c", &text]).await
    };
    for (page, section) in [
        (&of_vault, "Engine, key and policy"),
        (&of_vault, "Token"),
        (&of_the_node, "User and directories"),
        (&of_the_node, "Token and configuration"),
    ] {
        let blocks = page.blocks(section, "sh");
        assert!(!blocks.is_empty(), "no commands in {section}");
        for block in blocks {
            run(&block).await;
        }
    }
    let config: String = of_vault.blocks("Configuration file", "toml").concat();
    let config = config
        .replace("https://vault.example:8200", &vault.address())
        .replace("ca_file", "# ca_file");
    let admin = format!("[admin]\nlisten = \"127.0.0.1:{}\"\n", free_port());
    machine.write(CONFIG, &format!("{config}{admin}"));
    let checked = machine
        .ok(&["/usr/local/bin/vault-kms-plugin", "check", "--offline"])
        .await;
    let valid = format!("✓ configuration: {CONFIG} is valid\n✓ defaults: ");
    assert!(checked.starts_with(&valid), "{checked}");

    let commands = |section| {
        let blocks = of_the_node.blocks(section, "sh");
        let [block] = blocks.as_slice() else {
            panic!("{section} has other commands: {blocks:?}");
        };
        block.clone()
    };
    let status = run(&commands("Service")).await;
    assert!(status.contains("Active: active (running)"), "{status}");
    KmsClient::connect(machine.path(SOCKET))
        .wait_ok(LIMIT)
        .await;
    let environment = "VAULT_KMS_PLUGIN_LOG_LEVEL=debug\n";
    machine.write("/etc/vault-kms-plugin/environment", environment);
    let checked = run(&commands("Environment")).await;
    assert!(checked.contains("VAULT_KMS_PLUGIN_LOG_LEVEL"), "{checked}");
    assert!(checked.contains("✓ round trip"), "{checked}");
    run(&commands("Socket activation")).await;
    KmsClient::connect(machine.path(SOCKET))
        .wait_ok(LIMIT)
        .await;
    let show = ["systemctl", "show", "--value", "-p", "TriggeredBy", SERVICE];
    assert_eq!(machine.ok(&show).await, "vault-kms-plugin.socket\n");
    machine.ok(&["systemctl", "restart", SERVICE]).await;
    KmsClient::connect(machine.path(SOCKET))
        .wait_ok(LIMIT)
        .await;

    // Beside it, the instances of the template unit.
    for instance in ["blue", "green"] {
        machine.write(&format!("/etc/vault-kms-plugin/{instance}.toml"), &config);
    }
    run(&commands("Several plugins on one node")).await;
    for instance in ["blue", "green"] {
        let socket = format!("/run/vault-kms-plugin/{instance}/kms.sock");
        KmsClient::connect(machine.path(&socket))
            .wait_ok(LIMIT)
            .await;
    }
}

/// Whoever follows the page of the pod after that of the unit has one directory for both.
async fn the_pod_can_read_its_files_on_a_node_that_used_the_unit_after_each_boot() {
    let vault = Vault::start().await;
    let machine = machine().await;
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/install");
    let of_the_unit = Page::read(&pages.join("systemd.md"));
    let of_the_pod = Page::read(&pages.join("static-pod.md"));
    let run = async |block: &str| {
        let text = format!(
            "cd {CHECKOUT}; export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n{block}"
        );
        machine.ok(&["bash", "-euo", "pipefail", "-c", &text]).await
    };
    for block in of_the_unit.blocks("User and directories", "sh") {
        run(&block).await;
    }
    let fixture = vault.fixture().await;
    let config = format!(
        "[vault]\naddress = {:?}\n[transit]\nmount = {:?}\nkey = {:?}\n\
         [auth]\nmethod = \"token\"\ntoken_file = \"/etc/vault-kms-plugin/token\"\n\
         [admin]\nlisten = \"\"\n",
        vault.address(),
        fixture.mount,
        fixture.key
    );
    machine.write(CONFIG, &config);
    machine.write("/etc/vault-kms-plugin/token", &fixture.token);
    for block in of_the_pod.blocks("Files on the node", "sh") {
        run(&block).await;
    }
    run("install -m 0644 systemd/vault-kms-plugin.service systemd/vault-kms-plugin.socket /etc/systemd/system/").await;
    // As each boot does.
    run("systemd-tmpfiles --create vault-kms-plugin.conf").await;
    let as_the_pod = "setpriv --reuid 60790 --regid 60790 --clear-groups vault-kms-plugin check";
    let checked = run(as_the_pod).await;
    assert!(checked.contains("✓ round trip"), "{checked}");
    run("systemctl daemon-reload; systemctl start vault-kms-plugin.service").await;
    KmsClient::connect(machine.path(SOCKET))
        .wait_ok(LIMIT)
        .await;
}

tests! {
    single the_pod_can_read_its_files_on_a_node_that_used_the_unit_after_each_boot [Vault, Machines];
    single the_documents_set_up_a_service_and_its_socket [Vault, Machines];
}

//! The commands of docs/operations and of the runbook for the unit: upgrade, rollback, what an alert begins
//! with.

use std::path::Path;
use std::time::Duration;

use super::super::documents::markdown::Page;
use super::super::harness::child::free_port;
use super::super::harness::load::Load;
use super::super::harness::servers;
use super::super::harness::vault::Vault;
use super::{CONFIG, Host, LIMIT, SERVICE, TOKEN, config_for, units_installed};

/// Where the machine finds the program that the pages install.
const BINARY: &str = "/srv/new/vault-kms-plugin";
const INSTALLED: &str = "/usr/local/bin/vault-kms-plugin";
const SOCKET_UNIT: &str = "vault-kms-plugin.socket";

fn page(name: &str) -> Page {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    Page::read(&docs.join(name))
}

async fn run(host: &Host, block: &str) -> String {
    let path = "export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root";
    let text = format!("{path}; cd /srv/new; {block}");
    host.machine
        .ok(&["bash", "-euo", "pipefail", "-c", &text])
        .await
}

/// A machine whose program is a file of its own, which can be replaced, and whose admin address is the
/// one that the pages know.
async fn host() -> Host {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let config = config_for(&vault.address(), &fixture, free_port());
    let machine = units_installed()
        .program(&servers::release_daemon(), BINARY)
        .file(CONFIG, &config)
        .file(TOKEN, &fixture.token)
        .boot()
        .await;
    let host = Host {
        machine,
        fixture,
        config,
    };
    run(&host, &format!("install -m 0755 {BINARY} {INSTALLED}")).await;
    host
}

async fn an_upgrade_and_a_rollback_behind_systemds_socket_lose_no_call() {
    let host = host().await;
    run(&host, &format!("systemctl start {SOCKET_UNIT} {SERVICE}")).await;
    host.client().wait_ok(LIMIT).await;
    let inode = async || run(&host, &format!("stat -c %i {INSTALLED}")).await;
    let clients = (0..4).map(|_| host.client()).collect();
    let load = Load::start(clients, Duration::from_millis(10));
    load.progress(50, LIMIT).await;
    let before = (inode().await, host.show("MainPID").await);

    let upgrade = page("operations/upgrade.md");
    for block in upgrade.blocks("systemd unit", "sh") {
        let printed = run(&host, &block).await;
        let is_right = printed.contains("✓ round trip") || printed.contains("plugin ");
        assert!(is_right, "{printed}");
    }
    load.progress(50, LIMIT).await;
    let upgraded = (inode().await, host.show("MainPID").await);
    assert_ne!(before.0, upgraded.0);
    assert_ne!(before.1, upgraded.1);

    for block in upgrade.blocks("Rollback", "sh") {
        run(&host, &block).await;
    }
    load.progress(50, LIMIT).await;
    load.stop().await.expect_no_failure();
    assert_ne!(upgraded.0, inode().await);
    host.client().wait_ok(LIMIT).await;
}

async fn the_first_commands_of_the_runbook_show_status_check_and_log() {
    let (host, _client) = Host::serving(|plan| plan).await;
    // Before the first alert's heading.
    let blocks = page("runbook.md").blocks("", "sh");
    let [commands] = blocks.as_slice() else {
        panic!("{blocks:?}");
    };
    let path = "export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let text = format!("{path}; {commands}");
    let command = ["bash", "-euo", "pipefail", "-c", &text];
    let printed = host.machine.ok(&command).await;
    assert!(printed.contains("yes: Status returns ok"), "{printed}");
    assert!(printed.contains("✓ round trip"), "{printed}");
}

tests! {
    single the_first_commands_of_the_runbook_show_status_check_and_log [Vault, Machines];
    single an_upgrade_and_a_rollback_behind_systemds_socket_lose_no_call [Vault, Machines];
}

//! The deb on a booted machine, by the commands of docs/install/packages.md: installed, configured, upgraded under load,
//! downgraded, removed, purged.

use std::time::{Duration, Instant};

use super::super::documents::markdown::Page;
use super::super::harness::load::Load;
use super::{Host, INSTALL_LIMIT, LIMIT, PREVIOUS, SERVICE, TOKEN, VERSION, root};

/// The command that installs a version.
fn install(version: &str) -> String {
    format!("dpkg --install vault-kms-plugin_{version}_amd64.deb 2>&1")
}

/// The commands of a section of the page.
fn commands(section: &str) -> String {
    let page = Page::read(&root().join("docs/install/packages.md"));
    let blocks = page.blocks(section, "sh");
    let [block] = blocks.as_slice() else {
        panic!("{section} has other commands: {blocks:?}");
    };
    block.clone()
}

async fn an_installed_deb_serves_within_a_minute_and_upgrades_without_a_failed_call() {
    let host = Host::boot(|plan| plan).await;
    let start = Instant::now();
    let said = host.ok(&commands("deb")).await;
    host.expect_installed(&said).await;
    host.configure();
    let checked = host.ok(&commands("After the installation")).await;
    assert_eq!(checked.matches("✓ round trip").count(), 2, "{checked}");
    host.client().wait_ok(LIMIT).await;
    let took = start.elapsed();
    eprintln!("from dpkg to ready: {} ms", took.as_millis());
    assert!(took <= INSTALL_LIMIT, "{took:?}");

    let clients = (0..4).map(|_| host.client()).collect();
    let load = Load::start(clients, Duration::from_millis(10));
    load.progress(50, LIMIT).await;
    host.change_version(&install(PREVIOUS), &load).await;
    let shown = "dpkg-query --show --showformat '${Version}' vault-kms-plugin";
    assert_eq!(host.ok(shown).await, PREVIOUS);
    let before = host.main_pid().await;
    host.ok(&commands("Upgrade")).await;
    assert_ne!(host.main_pid().await, before);
    load.progress(50, LIMIT).await;
    assert_eq!(host.ok(shown).await, VERSION);
    let outcome = load.stop().await;
    eprintln!(
        "a downgrade and an upgrade under load: {} calls",
        outcome.calls
    );
    outcome.expect_no_failure();
    assert_eq!(host.state("is-enabled", SERVICE).await, "enabled");

    let said = host.ok("dpkg --remove vault-kms-plugin 2>&1").await;
    host.expect_removed(&said).await;
    // What was removed and not purged comes back as it was; still nothing starts it.
    let said = host.ok(&install(VERSION)).await;
    assert_eq!(host.state("is-active", SERVICE).await, "inactive", "{said}");
    host.ok(&format!("systemctl start {SERVICE}")).await;
    host.client().wait_ok(LIMIT).await;
    let said = host.ok("dpkg --purge vault-kms-plugin 2>&1").await;
    host.expect_removed(&said).await;
    assert!(said.contains("kept, because files are in it"), "{said}");
    host.ok("test ! -e /etc/vault-kms-plugin/environment").await;
    host.ok("test ! -e /etc/needrestart/conf.d/vault-kms-plugin.conf")
        .await;
    host.ok(&format!("test -s {TOKEN}")).await;
}

async fn a_purge_leaves_nothing_where_nothing_was_configured() {
    let host = Host::boot(|plan| plan).await;
    host.ok(&install(VERSION)).await;
    let said = host.ok("dpkg --purge vault-kms-plugin 2>&1").await;
    assert!(!said.contains("warning"), "{said}");
    for path in [
        "/etc/vault-kms-plugin",
        "/var/lib/vault-kms-plugin",
        "/usr/share/vault-kms-plugin",
    ] {
        host.ok(&format!("test ! -e {path}")).await;
    }
}

/// A conffile that the operator changed survives an upgrade.
async fn the_operators_environment_file_survives_an_upgrade() {
    let host = Host::boot(|plan| plan).await;
    host.ok(&install(PREVIOUS)).await;
    let file = "/etc/vault-kms-plugin/environment";
    let mode = host.ok(&format!("stat -c '%a %U:%G' {file}")).await;
    assert_eq!(mode, "640 root:root\n");
    host.machine
        .write(file, "VAULT_KMS_PLUGIN_LOG_LEVEL=debug\n");
    host.ok(&install(VERSION)).await;
    let left = host.ok(&format!("cat {file}")).await;
    assert_eq!(left, "VAULT_KMS_PLUGIN_LOG_LEVEL=debug\n");
}

/// Someone who followed docs/install/systemd.md by hand has units and a program that come first.
async fn what_was_installed_by_hand_is_named_and_left_alone() {
    let unit = "/etc/systemd/system/vault-kms-plugin.service";
    let by_hand = "[Service]\nType=simple\nExecStart=/bin/sleep infinity\n";
    let host = Host::boot(|plan| {
        plan.file(unit, by_hand)
            .file("/usr/local/bin/vault-kms-plugin", "#!/bin/sh\n")
            .start(SERVICE)
    })
    .await;
    let before = host.main_pid().await;
    let said = host.ok(&install(VERSION)).await;
    for path in [unit, "/usr/local/bin/vault-kms-plugin"] {
        assert!(
            said.contains(&format!("{path} is used instead of the")),
            "{said}"
        );
    }
    host.ok("dpkg --purge vault-kms-plugin").await;
    assert_eq!(host.main_pid().await, before);
    assert_eq!(host.state("is-active", SERVICE).await, "active");
    assert_eq!(host.ok(&format!("cat {unit}")).await, by_hand);
}

tests! {
    single an_installed_deb_serves_within_a_minute_and_upgrades_without_a_failed_call [Vault, Machines, Packages];
    single a_purge_leaves_nothing_where_nothing_was_configured [Vault, Machines, Packages];
    single the_operators_environment_file_survives_an_upgrade [Vault, Machines, Packages];
    single what_was_installed_by_hand_is_named_and_left_alone [Vault, Machines, Packages];
}

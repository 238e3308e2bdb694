//! Host names: `localhost`, and a resolver that fails and comes back.

use std::path::Path;

use super::super::harness::child::Child;
use super::super::harness::daemon::Builder;
use super::super::harness::kms::KmsClient;
use super::super::harness::vault::Vault;
use super::super::harness::wait;
use super::super::{LIMIT, daemon_for};
use super::SEED;

/// Runs the daemon with a `hosts` file of its own, as only root may.
const OWN_HOSTS: &str = "mount --bind \"$1\" /etc/hosts && shift && exec \"$@\"";

/// Runs the daemon with this file in the place of `/etc/hosts`.
fn with_hosts(builder: &Builder, hosts: &Path) -> Child {
    let config = builder.write_file("config.toml", &builder.config_text());
    let arguments = [
        "-m",
        "sh",
        "-c",
        OWN_HOSTS,
        "sh",
        hosts.to_str().unwrap(),
        env!("CARGO_BIN_EXE_vault-kms-plugin"),
        "serve",
        "--config",
        config.to_str().unwrap(),
    ];
    let log = builder.dir().join("log");
    Child::spawn("unshare".as_ref(), &arguments, &log, |command| {
        super::super::harness::child::clean_environment(command);
    })
}

async fn localhost_is_this_machine_whatever_the_hosts_file_says() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let address = format!("http://localhost:{}", vault.socket_address().port());
    let builder = daemon_for(&address, &fixture);
    let hosts = builder.write_file("hosts", "192.0.2.1 localhost\n");
    let _daemon = with_hosts(&builder, &hosts);
    KmsClient::connect(builder.socket()).wait_ok(LIMIT).await;
}

async fn a_name_that_resolves_again_is_noticed_and_may_have_an_unreachable_address() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let address = format!(
        "http://vault.kms-test.invalid:{}",
        vault.socket_address().port()
    );
    let builder = daemon_for(&address, &fixture).extra("[vault]\nallow_plaintext = true");
    let hosts = builder.write_file("hosts", "127.0.0.1 localhost\n");
    let socket = builder.socket().to_owned();
    let mut daemon = with_hosts(&builder, &hosts);
    let client = KmsClient::connect(&socket);
    let error = wait::until("the daemon to answer", LIMIT, async || {
        daemon.expect_alive();
        let error = client.encrypt(&SEED).await.unwrap_err();
        error.message().contains("vault").then_some(error)
    })
    .await;
    assert!(
        error.message().contains("vault.kms-test.invalid"),
        "{error}"
    );
    assert!(
        error.message().contains("failed to lookup address"),
        "{error}"
    );
    // Written in place, because the file itself is mounted.
    // The first of two addresses does not answer.
    let both =
        "127.0.0.1 localhost\n127.0.0.9 vault.kms-test.invalid\n127.0.0.1 vault.kms-test.invalid\n";
    std::fs::write(&hosts, both).unwrap();
    wait::until("a call to work", LIMIT, async || {
        client.encrypt(&SEED).await.ok()
    })
    .await;
}

tests! {
    single localhost_is_this_machine_whatever_the_hosts_file_says [Vault, Mounts];
    single a_name_that_resolves_again_is_noticed_and_may_have_an_unreachable_address [Vault, Mounts];
}

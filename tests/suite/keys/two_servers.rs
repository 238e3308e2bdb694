//! Two servers of Vault that have different keys under one name, as while a standby has not seen a deletion.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use tokio::time::sleep;

use super::life::replaced;
use crate::harness::kms::KmsClient;
use crate::harness::vault::{Fixture, Vault};
use crate::harness::wait;
use crate::{LIMIT, daemon_for};

/// How long the answers of Status are looked at: a verdict takes two refusals 2 s apart.
const WATCHED: Duration = Duration::from_secs(8);

/// Another server with the same key.
async fn with_the_key_of(vault: &Vault, fixture: &Fixture) -> Vault {
    let backup = vault.backup(&fixture.mount, &fixture.key).await;
    let other = Vault::start().await;
    other.enable_transit(&fixture.mount).await;
    other.restore(&fixture.mount, &fixture.key, &backup).await;
    other
}

async fn recreate(vault: &Vault, fixture: &Fixture, versions: usize) {
    let read = async || vault.read_key(&fixture.mount, &fixture.key).await["keys"]["1"].clone();
    let created = read().await;
    // Creation times have whole seconds: go on until they differ.
    wait::until("another second", LIMIT, async || {
        vault.delete_key(&fixture.mount, &fixture.key).await;
        vault.create_key(&fixture.mount, &fixture.key).await;
        (read().await != created).then_some(())
    })
    .await;
    for _ in 1..versions {
        vault.rotate(&fixture.mount, &fixture.key).await;
    }
}

/// For a while; Status may fail.
async fn announces_nothing_but(key_id: &str, client: &KmsClient) {
    let end = Instant::now() + WATCHED;
    while Instant::now() < end {
        if let Ok(status) = client.status().await {
            assert_eq!(status.key_id.trim_end_matches(":s1"), key_id);
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// The second server decrypts the old canary, which says nothing of the key that the first one made again.
async fn a_key_recreated_on_one_of_two_servers_is_not_announced() {
    for versions in [1, 2] {
        let first = Vault::start().await;
        let fixture = first.fixture().await;
        let second = with_the_key_of(&first, &fixture).await;
        let addresses = json!([first.address(), second.address()]);
        let daemon = daemon_for(&first.address(), &fixture)
            .token(first.root_token())
            .extra(&format!("[vault]\naddress = {addresses}"))
            .spawn()
            .await;
        let client = KmsClient::connect(daemon.socket());
        let before = client.wait_ok(LIMIT).await.key_id;
        assert_eq!(daemon.stop().await, 0);
        recreate(&first, &fixture, versions).await;
        // A process looks at the key at once.
        daemon.restart().await;
        let client = KmsClient::connect(daemon.socket());
        announces_nothing_but(&before, &client).await;
        // The candidate of a reload, which would announce another key_id, looks at it too.
        daemon.change_config("[transit]\nkey_id_suffix = \"s1\"");
        daemon.signal(Signal::HUP);
        announces_nothing_but(&before, &client).await;
        recreate(&second, &fixture, versions).await;
        let error = replaced(&client).await;
        assert!(error.message().contains(&before), "{error}");
    }
}

tests! {
    single a_key_recreated_on_one_of_two_servers_is_not_announced [Vault];
}

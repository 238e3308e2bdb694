//! The `decrypt` grant is taken away: what is written then could not be read.

use std::time::{Duration, Instant};

use tonic::Code;
use vault_kms_plugin::actor::Fault;
use vault_kms_plugin::supervisor::Child;

use super::{SEED, closed, works};
use crate::harness::kms::KmsClient;
use crate::harness::vault::{Fixture, Vault, plugin_policy};
use crate::harness::wait;
use crate::supervision;
use crate::{LIMIT, daemon_for, ready_daemon};

async fn take_decrypt_away(vault: &Vault, fixture: &Fixture) {
    let policy = plugin_policy(&fixture.mount, &fixture.key);
    let kept: Vec<_> = policy
        .lines()
        .filter(|line| !line.contains("/decrypt/"))
        .collect();
    vault.write_policy(&fixture.policy, &kept.join("\n")).await;
}

async fn give_it_back(vault: &Vault, fixture: &Fixture, client: &KmsClient) {
    let policy = plugin_policy(&fixture.mount, &fixture.key);
    vault.write_policy(&fixture.policy, &policy).await;
    client.wait_ok(LIMIT).await;
    works(client).await;
}

async fn a_grant_that_went_is_noticed_at_the_next_decrypt() {
    let (fixture, _daemon, client) = ready_daemon().await;
    let vault = Vault::shared().await;
    let (ciphertext, key_id) = client.encrypt(&SEED).await.unwrap();
    take_decrypt_away(vault, &fixture).await;
    let error = client.decrypt(&ciphertext, &key_id).await.unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied, "{error}");
    let error = closed(&client, Code::PermissionDenied).await;
    assert!(error.message().contains("`update` on"), "{error}");
    give_it_back(vault, &fixture, &client).await;
}

/// A KeyManager that starts owes a proof, as one does whose last proof is five minutes old.
async fn a_grant_that_went_is_noticed_by_the_canary_when_nobody_decrypts() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let builder = daemon_for(&vault.address(), &fixture);
    let daemon = supervision::start(&builder).await;
    let client = KmsClient::connect(builder.socket());
    client.wait_ok(LIMIT).await;
    take_decrypt_away(vault, &fixture).await;
    assert_eq!(client.status().await.unwrap().healthz, "ok");
    daemon.inject(Child::Keys, Fault::Panic);
    let error = wait::until("the verdict", LIMIT, async || {
        client.encrypt(&SEED).await.unwrap();
        client.status().await.err()
    })
    .await;
    assert_eq!(error.code(), Code::PermissionDenied, "{error}");
    give_it_back(vault, &fixture, &client).await;
}

async fn soak_a_grant_that_went_is_noticed_within_six_minutes_when_nobody_decrypts() {
    let (fixture, _daemon, client) = ready_daemon().await;
    let vault = Vault::shared().await;
    take_decrypt_away(vault, &fixture).await;
    let start = Instant::now();
    let limit = Duration::from_secs(360);
    let error = wait::until("the verdict", limit, async || {
        client.encrypt(&SEED).await.unwrap();
        client.status().await.err()
    })
    .await;
    eprintln!("noticed after {:?}", start.elapsed());
    assert_eq!(error.code(), Code::PermissionDenied, "{error}");
    give_it_back(vault, &fixture, &client).await;
}

tests! {
    single a_grant_that_went_is_noticed_at_the_next_decrypt [Vault];
    multi a_grant_that_went_is_noticed_by_the_canary_when_nobody_decrypts [Vault];
    single soak_a_grant_that_went_is_noticed_within_six_minutes_when_nobody_decrypts soak "soak: 6 min, the canary's round trip comes every 5 min";
}

//! A key's minimum versions, raised while a daemon runs.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tonic::Code;

use super::{SEED, next_key_id, works};
use crate::harness::vault::Vault;
use crate::harness::wait;
use crate::{LIMIT, ready_daemon};

async fn a_raised_minimum_fails_one_encrypt_and_then_the_new_version_writes() {
    let (fixture, _daemon, client) = ready_daemon().await;
    let vault = Vault::shared().await;
    let before = client.status().await.unwrap().key_id;
    vault.rotate(&fixture.mount, &fixture.key).await;
    let raised = serde_json::json!({ "min_encryption_version": 2 });
    vault
        .configure_key(&fixture.mount, &fixture.key, raised)
        .await;
    let error = client.encrypt(&SEED).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
    let after = wait::until("the new version", LIMIT, async || {
        let now = client.status().await.ok()?.key_id;
        (now != before).then_some(now)
    })
    .await;
    assert_eq!(client.encrypt(&SEED).await.unwrap().1, after);
}

async fn kms_v1_encrypts_never_fail_when_the_minimum_is_raised() {
    let (fixture, _daemon, client) = ready_daemon().await;
    let vault = Vault::shared().await;
    let before = client.status().await.unwrap().key_id;
    let stop = AtomicBool::new(false);
    let writing = async {
        let mut calls = 0;
        // A busy machine gets few of them done meanwhile.
        while !stop.load(Ordering::Relaxed) || calls < 10 {
            client.encrypt_v1(&SEED).await.unwrap();
            calls += 1;
        }
    };
    let raising = async {
        vault.rotate(&fixture.mount, &fixture.key).await;
        let raised = json!({ "min_encryption_version": 2, "min_decryption_version": 2 });
        vault
            .configure_key(&fixture.mount, &fixture.key, raised)
            .await;
        let after = next_key_id(&client, &before).await;
        stop.store(true, Ordering::Relaxed);
        after
    };
    let ((), after) = tokio::join!(writing, raising);
    assert_eq!(works(&client).await, after);
}

async fn a_version_that_is_no_longer_decrypted_is_named_with_the_limit() {
    let (fixture, _daemon, client) = ready_daemon().await;
    let vault = Vault::shared().await;
    let (old, before) = client.encrypt(&SEED).await.unwrap();
    let mut latest = before.clone();
    for _ in 0..2 {
        vault.rotate(&fixture.mount, &fixture.key).await;
        latest = next_key_id(&client, &latest).await;
    }
    let limit = |version: u32| json!({ "min_decryption_version": version });
    vault
        .configure_key(&fixture.mount, &fixture.key, limit(3))
        .await;
    for error in [
        client.decrypt(&old, &before).await.unwrap_err(),
        client.decrypt_v1(&old).await.unwrap_err(),
    ] {
        assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
        let said = error.message();
        assert!(said.contains("of version 1,"), "{said}");
        assert!(said.contains("min_decryption_version of 3;"), "{said}");
    }
    // What writes is not touched by it.
    assert_eq!(works(&client).await, latest);
    vault
        .configure_key(&fixture.mount, &fixture.key, limit(1))
        .await;
    assert_eq!(client.decrypt(&old, &before).await.unwrap(), SEED);
}

async fn a_min_decryption_version_above_the_announced_one_locks_nobody_out() {
    let (fixture, _daemon, client) = ready_daemon().await;
    let vault = Vault::shared().await;
    let before = client.status().await.unwrap().key_id;
    vault.rotate(&fixture.mount, &fixture.key).await;
    let raised = json!({ "min_decryption_version": 2 });
    vault
        .configure_key(&fixture.mount, &fixture.key, raised)
        .await;
    let error = client.encrypt(&SEED).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
    let after = wait::until("the new version", LIMIT, async || {
        let status = client.status().await.unwrap();
        assert_eq!(status.healthz, "ok");
        (status.key_id != before).then_some(status.key_id)
    })
    .await;
    assert_eq!(works(&client).await, after);
}

tests! {
    single a_raised_minimum_fails_one_encrypt_and_then_the_new_version_writes [Vault];
    single kms_v1_encrypts_never_fail_when_the_minimum_is_raised [Vault];
    single a_version_that_is_no_longer_decrypted_is_named_with_the_limit [Vault];
    single a_min_decryption_version_above_the_announced_one_locks_nobody_out [Vault];
}

//! Revocation wins: what Vault refused before it went away is not answered, and a verdict wipes everything.

use std::time::Duration;

use rustix::process::Signal;

use super::{Bridge, ON};
use crate::LIMIT;
use crate::harness::proxy::Fault;
use crate::harness::vault::plugin_policy;
use crate::harness::wait;

/// A policy that allows nothing that the plugin does.
const NOTHING: &str = "path \"nothing\" { capabilities = [\"read\"] }";

impl Bridge {
    async fn wiped(&self, why: &str) {
        self.daemon.logged("seed cache wiped").await;
        self.daemon.logged(why).await;
        assert_eq!(self.metric("seed_cache_entries").await, 0.0);
    }
}

async fn a_denied_policy_ends_it_at_once_and_the_verdict_wipes_it() {
    let bridge = Bridge::start().await;
    bridge
        .vault
        .write_policy(&bridge.fixture.policy, NOTHING)
        .await;
    bridge.is_not_served().await;
    // Vault goes away before the verdict: the first refusal counts.
    bridge.proxy.fault("", Fault::Refuse);
    bridge.is_not_served().await;
    bridge.proxy.clear();
    bridge.wiped("a verdict on the writing key").await;
    bridge.proxy.fault("", Fault::Refuse);
    bridge.is_not_served().await;
}

async fn a_policy_that_only_encrypts_ends_it() {
    let bridge = Bridge::start().await;
    let (mount, key) = (&bridge.fixture.mount, &bridge.fixture.key);
    let policy = plugin_policy(mount, key);
    let without: Vec<_> = policy
        .lines()
        .filter(|line| !line.contains("/decrypt/"))
        .collect();
    bridge
        .vault
        .write_policy(&bridge.fixture.policy, &without.join("\n"))
        .await;
    bridge.is_not_served().await;
    bridge.client.encrypt(&[7; 32]).await.ok();
    bridge.proxy.fault("", Fault::Refuse);
    bridge.is_not_served().await;
}

async fn a_revoked_token_ends_it() {
    let bridge = Bridge::start().await;
    bridge.vault.revoke(&bridge.fixture.token).await;
    bridge.is_not_served().await;
    bridge.proxy.fault("", Fault::Refuse);
    bridge.is_not_served().await;
}

async fn a_deleted_key_ends_it() {
    let bridge = Bridge::start().await;
    let (mount, key) = (&bridge.fixture.mount, &bridge.fixture.key);
    bridge.vault.delete_key(mount, key).await;
    bridge.is_not_served().await;
    bridge.wiped("a verdict on the writing key").await;
    bridge.proxy.fault("", Fault::Refuse);
    bridge.is_not_served().await;
}

async fn the_refusal_of_a_key_that_only_reads_forgets_its_seeds_alone() {
    let bridge = Bridge::start().await;
    let (mount, key) = (&bridge.fixture.mount, &bridge.fixture.key);
    bridge.vault.create_key(mount, "old").await;
    let both = plugin_policy(mount, key) + &plugin_policy(mount, "old");
    bridge
        .vault
        .write_policy(&bridge.fixture.policy, &both)
        .await;
    bridge.daemon.change_config(&format!(
        "[[transit.decrypt_also]]\nmount = \"{mount}\"\nkey = \"old\""
    ));
    bridge.reload().await;
    let old = bridge
        .vault
        .encrypt(mount, "old", &[8; 32])
        .await
        .into_bytes();
    let decrypt_old = async || bridge.client.decrypt_v1(&old).await;
    assert_eq!(decrypt_old().await.unwrap(), [8; 32]);
    bridge.is_served().await;
    bridge
        .vault
        .write_policy(&bridge.fixture.policy, &plugin_policy(mount, key))
        .await;
    decrypt_old().await.unwrap_err();
    bridge.proxy.fault("", Fault::Refuse);
    decrypt_old().await.unwrap_err();
    bridge.is_served().await;
}

async fn an_answer_ends_with_max_age() {
    let bridge = Bridge::start_with(&format!("{ON}\nmax_age = \"4s\"")).await;
    bridge.is_served().await;
    bridge.proxy.fault("", Fault::Refuse);
    bridge.is_served().await;
    wait::until("max_age to pass", Duration::from_secs(10), async || {
        bridge.decrypt().await.err()
    })
    .await;
    bridge.wiped("outage.max_age has passed").await;
}

async fn a_reload_with_the_cache_off_wipes_it_even_while_vault_is_away() {
    let bridge = Bridge::start().await;
    bridge.proxy.fault("", Fault::Refuse);
    bridge.is_served().await;
    bridge
        .daemon
        .change_config("[outage]\nseed_cache = \"off\"");
    bridge.reload().await;
    bridge.wiped("a reload switches it off").await;
    bridge.is_not_served().await;
    // And on again: it begins empty.
    bridge.daemon.change_config(ON);
    bridge.reload().await;
    bridge.is_not_served().await;
    bridge.proxy.clear();
    wait::until("vault to answer", LIMIT, async || {
        bridge.decrypt().await.ok()
    })
    .await;
    bridge.proxy.fault("", Fault::Refuse);
    bridge.is_served().await;
}

async fn a_changed_key_configuration_begins_with_an_empty_cache() {
    let bridge = Bridge::start().await;
    let (mount, key) = (&bridge.fixture.mount, &bridge.fixture.key);
    bridge.vault.create_key(mount, "next").await;
    let both = plugin_policy(mount, key) + &plugin_policy(mount, "next");
    bridge
        .vault
        .write_policy(&bridge.fixture.policy, &both)
        .await;
    bridge.daemon.change_config(&format!(
        "[transit]\nkey = \"next\"\n[[transit.decrypt_also]]\nmount = \"{mount}\"\nkey = \"{key}\""
    ));
    bridge.reload().await;
    bridge.daemon.logged("or the keys changed").await;
    bridge.proxy.fault("", Fault::Refuse);
    bridge.is_not_served().await;
}

async fn a_restarted_process_knows_no_seed() {
    let bridge = Bridge::start().await;
    bridge.daemon.stop().await;
    bridge.daemon.start();
    bridge.daemon.wait_listening().await;
    bridge.client.wait_ok(LIMIT).await;
    bridge.proxy.fault("", Fault::Refuse);
    bridge.is_not_served().await;
}

impl Bridge {
    async fn reload(&self) {
        let count = || self.daemon.log().matches("configuration reloaded").count();
        let before = count();
        self.daemon.signal(Signal::HUP);
        wait::until("the reload", LIMIT, async || {
            (count() > before).then_some(())
        })
        .await;
    }
}

tests! {
    single a_denied_policy_ends_it_at_once_and_the_verdict_wipes_it [Vault];
    single a_policy_that_only_encrypts_ends_it [Vault];
    single a_revoked_token_ends_it [Vault];
    single a_deleted_key_ends_it [Vault];
    single the_refusal_of_a_key_that_only_reads_forgets_its_seeds_alone [Vault];
    single an_answer_ends_with_max_age [Vault];
    single a_reload_with_the_cache_off_wipes_it_even_while_vault_is_away [Vault];
    single a_changed_key_configuration_begins_with_an_empty_cache [Vault];
    single a_restarted_process_knows_no_seed [Vault];
}

//! The health endpoints of each replaced plugin: their paths, their answers, and a port that is in use.

use std::net::TcpListener;

use rustix::process::Signal;

use super::get;
use crate::harness::child::free_port;
use crate::harness::daemon::{Builder, Daemon};
use crate::harness::kms::KmsClient;
use crate::harness::vault::Vault;
use crate::harness::wait;
use crate::{LIMIT, daemon_for};

/// Where the endpoints are, and the configuration for it.
fn drop_in(plugin: &str) -> (String, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let toml = format!("[drop_in]\nplugin = \"{plugin}\"\nhealth_listen = \"{address}\"");
    (address, toml)
}

async fn serving(builder: Builder) -> Daemon {
    let daemon = builder.spawn().await;
    KmsClient::connect(daemon.socket()).wait_ok(LIMIT).await;
    daemon
}

/// The answer, once somebody listens.
async fn answer(address: &str, path: &str) -> (u16, String) {
    let what = format!("an answer of {address} to {path}");
    wait::until(&what, LIMIT, async || get(address, path).await).await
}

async fn expect(address: &str, expected: &[(&str, u16, &str)]) {
    for (path, code, text) in expected {
        let found = answer(address, path).await;
        assert_eq!(found, (*code, (*text).to_owned()), "{path}");
    }
}

async fn each_plugin_has_its_paths_while_all_is_well() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    for (plugin, expected) in [
        (
            "vault-kubernetes-kms",
            &[
                ("/health", 200, "OK"),
                ("/live", 200, "OK"),
                ("/readyz", 404, ""),
                ("/status", 404, ""),
            ][..],
        ),
        (
            "vault-kms-provider",
            &[
                ("/ready", 200, "OK"),
                ("/health", 200, "OK"),
                ("/some/healthz?ready", 200, "OK"),
                ("/already", 200, "OK"),
                ("/metrics", 404, "Not found"),
                ("/", 404, "Not found"),
            ],
        ),
        (
            "vault-kube-kms",
            &[
                ("/healthz", 200, "ok"),
                ("/readyz", 200, "ok"),
                ("/metrics", 404, ""),
            ],
        ),
    ] {
        let (address, toml) = drop_in(plugin);
        let daemon = serving(daemon_for(&vault.address(), &fixture).extra(&toml)).await;
        expect(&address, expected).await;
        // The plugin's own are where they always are.
        assert_eq!(daemon.admin("/readyz").await.0, 200);
        daemon
            .logged("serving the endpoints of the replaced plugin")
            .await;
    }
}

async fn while_vault_is_away_from_the_start_each_says_so_as_it_did() {
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    for plugin in [
        "vault-kubernetes-kms",
        "vault-kms-provider",
        "vault-kube-kms",
    ] {
        let (address, toml) = drop_in(plugin);
        let builder = Daemon::builder().vault(&nowhere).transit("transit", "kms");
        let daemon = builder.token("s3cret-token").extra(&toml).spawn().await;
        daemon.logged("login to Vault failed").await;
        match plugin {
            "vault-kubernetes-kms" => {
                // A restart would not bring Vault back.
                expect(&address, &[("/health", 200, "OK")]).await;
                let (code, text) = answer(&address, "/live").await;
                assert_eq!(code, 500, "{text}");
                assert!(
                    text.contains(&nowhere) && !text.contains("s3cret"),
                    "{text}"
                );
            }
            "vault-kms-provider" => {
                expect(
                    &address,
                    &[("/ready", 500, "Not ready"), ("/health", 200, "OK")],
                )
                .await;
            }
            _ => expect(&address, &[("/healthz", 200, "ok"), ("/readyz", 200, "ok")]).await,
        }
        assert_eq!(daemon.exited(), None);
    }
}

async fn a_sealed_vault_shows_at_the_start_and_not_in_a_running_plugin() {
    let vault = Vault::start_persistent().await;
    let fixture = vault.fixture().await;
    let (address, toml) = drop_in("vault-kubernetes-kms");
    let daemon = serving(daemon_for(&vault.address(), &fixture).extra(&toml)).await;
    expect(&address, &[("/health", 200, "OK")]).await;
    vault.seal().await;
    let error = KmsClient::connect(daemon.socket()).encrypt(&[1; 32]).await;
    assert!(error.is_err(), "{error:?}");
    // An outage is tolerated for health.tolerance: a probe must not restart what serves from memory.
    expect(&address, &[("/health", 200, "OK"), ("/live", 200, "OK")]).await;
    let (other, toml) = drop_in("vault-kubernetes-kms");
    let _new = daemon_for(&vault.address(), &fixture)
        .extra(&toml)
        .spawn()
        .await;
    wait::until_true("the new one to say why", LIMIT, async || {
        let answer = get(&other, "/live").await;
        answer.is_some_and(|(code, text)| code == 500 && text.contains("sealed"))
    })
    .await;
    vault.unseal().await;
    wait::until_true("the new one to serve", LIMIT, async || {
        get(&other, "/live").await == Some((200, "OK".to_owned()))
    })
    .await;
}

async fn a_verdict_shows_at_once() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let (address, toml) = drop_in("vault-kubernetes-kms");
    let daemon = serving(daemon_for(&vault.address(), &fixture).extra(&toml)).await;
    expect(&address, &[("/live", 200, "OK")]).await;
    let nothing = "path \"secret/none\" { capabilities = [\"read\"] }";
    vault.write_policy(&fixture.policy, nothing).await;
    let client = KmsClient::connect(daemon.socket());
    wait::until_true("the verdict", LIMIT, async || {
        let _ = client.encrypt(&[1; 32]).await;
        let answer = get(&address, "/live").await;
        answer.is_some_and(|(code, text)| code == 500 && text.contains("policy"))
    })
    .await;
}

async fn a_port_that_is_in_use_is_tried_again_until_it_is_free() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let toml = format!(
        "[drop_in]\nplugin = \"vault-kube-kms\"\nhealth_listen = \"{address}\"\nmetrics_listen = \"{address}\""
    );
    let daemon = serving(daemon_for(&vault.address(), &fixture).extra(&toml)).await;
    let error = format!("drop_in.health_listen: cannot bind {address}");
    daemon.logged(&error).await;
    assert_eq!(daemon.admin("/readyz").await.0, 200);
    drop(taken);
    expect(&address, &[("/readyz", 200, "ok")]).await;
    assert_eq!(answer(&address, "/metrics").await.0, 200);
    let lines = daemon.log().matches(&error).count();
    assert_eq!(lines, 1, "each attempt was logged");
}

/// Two instances in one pod have all their ports in common.
async fn of_two_instances_the_second_serves_the_endpoints_once_the_first_is_gone() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let (address, toml) = drop_in("vault-kube-kms");
    let first = serving(daemon_for(&vault.address(), &fixture).extra(&toml)).await;
    expect(&address, &[("/readyz", 200, "ok")]).await;
    let admin = format!("{toml}\n[admin]\nlisten = \"{}\"", first.admin_address());
    let second = serving(daemon_for(&vault.address(), &fixture).extra(&admin)).await;
    second.logged("drop_in.health_listen: cannot bind").await;
    second.logged("admin.listen: cannot bind").await;
    assert_eq!(first.stop().await, 0);
    expect(&address, &[("/readyz", 200, "ok")]).await;
    wait::until_true("its admin server", LIMIT, async || {
        get(first.admin_address(), "/livez").await.is_some()
    })
    .await;
    assert_eq!(second.exited(), None);
    assert!(!second.log().contains("actor failed"), "{}", second.log());
}

async fn a_reload_moves_the_endpoints_and_removes_them() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let daemon = serving(daemon_for(&vault.address(), &fixture)).await;
    let before = std::fs::read_to_string(daemon.config_path()).unwrap();
    let (one, toml) = drop_in("vault-kubernetes-kms");
    let (two, other) = drop_in("vault-kms-provider");
    let reload = |toml: &str| {
        daemon.write_config(&format!("{before}\n{toml}"));
        daemon.signal(Signal::HUP);
    };
    reload(&toml);
    expect(&one, &[("/live", 200, "OK")]).await;
    reload(&other);
    expect(&two, &[("/ready", 200, "OK"), ("/live", 404, "Not found")]).await;
    assert_eq!(get(&one, "/live").await, None);
    reload("");
    wait::until_true("the endpoints to go", LIMIT, async || {
        get(&two, "/ready").await.is_none()
    })
    .await;
    assert_eq!(daemon.admin("/readyz").await.0, 200);
}

tests! {
    []
    single each_plugin_has_its_paths_while_all_is_well [Vault];
    single while_vault_is_away_from_the_start_each_says_so_as_it_did;
    single a_sealed_vault_shows_at_the_start_and_not_in_a_running_plugin [Vault];
    single a_verdict_shows_at_once [Vault];
    single a_port_that_is_in_use_is_tried_again_until_it_is_free [Vault];
    single of_two_instances_the_second_serves_the_endpoints_once_the_first_is_gone [Vault];
    single a_reload_moves_the_endpoints_and_removes_them [Vault];
}

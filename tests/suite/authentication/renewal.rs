//! Renewals and logins beside each other: a failed one of either kind ends no session that the other
//! can keep, no cause makes a storm of logins, and tokens are revoked unless they are in use.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tonic::Code;

use super::SEED;
use super::approle::AppRole;
use super::methods::works;
use super::refused;
use crate::LIMIT;
use crate::harness::daemon::Daemon;
use crate::harness::kms::KmsClient;
use crate::harness::proxy::{Fault, Proxy};
use crate::harness::vault::{Fixture, Vault};
use crate::harness::wait;

const RENEW: &str = "/v1/auth/token/renew-self";
const REVOKE: &str = "/v1/auth/token/revoke-self";

/// A role behind a proxy, and a daemon that is logged in to it.
async fn logged_in(ttl: u32, more: Value) -> (Fixture, AppRole, Proxy, Daemon) {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let mut role = json!({ "token_ttl": ttl, "token_max_ttl": "1h" });
    let more = more.as_object().unwrap().clone();
    role.as_object_mut().unwrap().extend(more);
    let approle = AppRole::new(vault, &fixture, role).await;
    let proxy = Proxy::start(vault.socket_address());
    let daemon = approle.daemon(&proxy.address(), &fixture).0.spawn().await;
    works(&daemon).await;
    (fixture, approle, proxy, daemon)
}

fn login_answer(body: &Value) -> Fault {
    Fault::Answer {
        status: 200,
        body: body.to_string(),
        content_type: "application/json".to_owned(),
    }
}

async fn one_failed_renewal_ends_no_session_whose_login_cannot_succeed() {
    let (_fixture, approle, proxy, daemon) = logged_in(6, json!({})).await;
    let vault = Vault::shared().await;
    let path = format!("auth/{}/role/plugin/secret-id/destroy", approle.mount);
    let body = json!({ "secret_id": approle.secret_id });
    vault.expect("POST", &path, Some(body)).await;
    for fault in [
        Fault::error(503, "Vault is sealed"),
        Fault::error(403, "permission denied"),
        Fault::Refuse,
    ] {
        let before = proxy.count(RENEW);
        proxy.fault_times("/auth/token/renew-self", fault, 1);
        // The failed one, its repetition, and the one after that.
        wait::until_true("three renewals", LIMIT, async || {
            proxy.count(RENEW) >= before + 3
        })
        .await;
        let client = KmsClient::connect(daemon.socket());
        client.encrypt(&SEED).await.unwrap();
    }
    // A renewal that Vault rejects is followed by a login at once, which is not possible here.
    assert!(proxy.count(&approle.login_path()) <= 2);
}

async fn tokens_that_vault_refuses_at_once_cause_few_logins_and_are_revoked() {
    let (_fixture, approle, proxy, daemon) = logged_in(3600, json!({})).await;
    proxy.reset_counts();
    for path in ["/encrypt/", "/lookup-self"] {
        proxy.fault(path, Fault::error(403, "permission denied"));
    }
    let client = KmsClient::connect(daemon.socket());
    let client = client.with_timeout(Duration::from_millis(200));
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        client.encrypt(&SEED).await.unwrap_err();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let logins = proxy.count(&approle.login_path());
    eprintln!("{logins} logins in 5 s");
    assert!((1..=7).contains(&logins), "{logins}");
    let error = client.encrypt(&SEED).await.unwrap_err();
    eprintln!("{error}");
    proxy.clear();
    wait::until_true("the tokens to be revoked", LIMIT, async || {
        proxy.count(REVOKE) >= logins
    })
    .await;
    works(&daemon).await;
}

async fn a_token_that_was_replaced_is_revoked_even_if_the_daemon_stops_before_its_time() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let approle = AppRole::short(vault, &fixture, 20, 20).await;
    let proxy = Proxy::start(vault.socket_address());
    let daemon = approle.daemon(&proxy.address(), &fixture).0.spawn().await;
    works(&daemon).await;
    wait::until_true("the next login", LIMIT, async || {
        daemon.log().matches("logged in to Vault").count() > 1
    })
    .await;
    assert_eq!(daemon.stop().await, 0);
    assert_eq!(proxy.count(REVOKE), 2);
}

/// Two proxies that answer every login with the same token, as a caching Vault Agent does, and the
/// role with that token. The token is some seconds old.
async fn caching(fixture: &Fixture) -> (AppRole, Proxy, Proxy, String) {
    let vault = Vault::shared().await;
    let approle = AppRole::new(vault, fixture, json!({})).await;
    let path = format!("auth/{}/login", approle.mount);
    let body = json!({ "role_id": approle.role_id, "secret_id": approle.secret_id });
    let answer = vault.expect("POST", &path, Some(body)).await;
    let token = answer["auth"]["client_token"].as_str().unwrap().to_owned();
    let proxies = [(); 2].map(|()| {
        let proxy = Proxy::start(vault.socket_address());
        proxy.fault(&path, login_answer(&answer));
        proxy
    });
    wait::until_true("the token to grow older", LIMIT, async || {
        let found = lookup(&token).await.expect("a valid token");
        found["creation_ttl"].as_u64() > found["ttl"].as_u64().map(|ttl| ttl + 4)
    })
    .await;
    let [first, second] = proxies;
    (approle, first, second, token)
}

/// What Vault reports about the token; `None` if it does not know it any more.
async fn lookup(token: &str) -> Option<Value> {
    let body = json!({ "token": token });
    let vault = Vault::shared().await;
    let (status, mut answer) = vault.request("POST", "auth/token/lookup", Some(body)).await;
    (status == 200).then(|| answer["data"].take())
}

async fn a_token_that_a_caching_agent_gives_again_is_not_revoked_while_it_is_in_use() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let (approle, first, second, token) = caching(&fixture).await;
    let daemon = approle.daemon(&first.address(), &fixture).0.spawn().await;
    works(&daemon).await;
    // A check gets the daemon's token.
    let builder = approle.daemon(&first.address(), &fixture).0;
    let config = builder.dir().join("config.toml").display().to_string();
    let arguments = ["check", "--login", "--config", &config];
    let check = builder.arguments(&arguments).spawn_raw();
    assert_eq!(check.wait_exit(LIMIT).await, 0, "{}", check.log());
    let text = check.log();
    assert!(text.contains("it was issued before this check"), "{text}");
    assert!(lookup(&token).await.is_some());
    // So does the candidate of a reload, whether it is applied or not.
    let changes = [
        (
            format!("[vault]\naddress = {:?}", second.address()),
            "applied",
        ),
        ("[transit]\nkey = \"missing\"".to_owned(), "rejected"),
    ];
    for (change, outcome) in changes {
        let before = daemon.log().matches("\"configuration re").count();
        daemon.change_config(&change);
        daemon.signal(rustix::process::Signal::HUP);
        wait::until_true(outcome, LIMIT, async || {
            daemon.log().matches("\"configuration re").count() > before
        })
        .await;
        // Whatever stops revokes within a second.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert!(lookup(&token).await.is_some(), "{outcome}");
    }
    works(&daemon).await;
    // At the end it is not in use any more.
    assert_eq!(daemon.stop().await, 0);
    assert!(lookup(&token).await.is_none());
}

async fn a_login_that_needs_a_second_factor_is_tried_once_and_named() {
    let requirement = json!({ "mfa_request_id": "x", "mfa_constraints": {} });
    let auth = json!({ "client_token": "", "lease_duration": 0, "mfa_requirement": requirement });
    is_tried_once(&json!({ "auth": auth }), "second factor (MFA)").await;
}

async fn a_login_that_needs_an_approval_is_tried_once_and_named() {
    let wrapped = json!({ "token": "hvs.x", "accessor": "y", "ttl": 86400 });
    let answer = json!({ "auth": null, "data": null, "wrap_info": wrapped });
    is_tried_once(&answer, "approval (control group)").await;
}

/// The daemon reports that its login requires `what`, which the answer says, and does not repeat it.
async fn is_tried_once(answer: &Value, what: &str) {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let approle = AppRole::new(vault, &fixture, json!({})).await;
    let proxy = Proxy::start(vault.socket_address());
    proxy.fault(&approle.login_path(), login_answer(answer));
    let daemon = approle.daemon(&proxy.address(), &fixture).0.spawn().await;
    daemon.logged("no further login until").await;
    let texts = [
        what,
        "exempt the plugin's role from MFA and from control groups",
    ];
    for _ in 0..3 {
        refused(&daemon, Code::PermissionDenied, &texts).await;
    }
    assert_eq!(proxy.count(&approle.login_path()), 1);
}

async fn a_login_from_an_address_that_the_role_does_not_allow_is_tried_again_soon() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let bound = json!({ "secret_id_bound_cidrs": "127.0.0.2/32" });
    let approle = AppRole::new(vault, &fixture, bound).await;
    let daemon = approle.daemon(&vault.address(), &fixture).0.spawn().await;
    let texts = ["source address", "secret_id_bound_cidrs"];
    refused(&daemon, Code::PermissionDenied, &texts).await;
    assert!(!daemon.log().contains("no further login until"));
    let path = format!("auth/{}/role/plugin", approle.mount);
    let allowed = json!({ "secret_id_bound_cidrs": "127.0.0.0/8" });
    vault.expect("POST", &path, Some(allowed)).await;
    // Nobody touches the files.
    works(&daemon).await;
}

async fn a_remark_of_vault_about_a_login_is_logged() {
    let (_fixture, _approle, _proxy, daemon) =
        logged_in(3600, json!({ "token_ttl": "2000h", "token_max_ttl": 0 })).await;
    daemon.logged("Vault remarked about the login").await;
}

async fn a_wrong_secret_id_that_is_written_again_is_not_tried_again() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let approle = AppRole::new(vault, &fixture, json!({})).await;
    let proxy = Proxy::start(vault.socket_address());
    let (builder, file) = approle.daemon(&proxy.address(), &fixture);
    builder.write_file("secret-id", "wrong");
    let daemon = builder.spawn().await;
    daemon.logged("no further login until").await;
    for _ in 0..3 {
        // As a timer, an agent or a configuration tool does.
        std::fs::write(&file, "wrong\n").unwrap();
        tokio::time::sleep(Duration::from_millis(1200)).await;
    }
    assert_eq!(proxy.count(&approle.login_path()), 1);
    std::fs::write(&file, &approle.secret_id).unwrap();
    works(&daemon).await;
}

tests! {
    single one_failed_renewal_ends_no_session_whose_login_cannot_succeed [Vault];
    single tokens_that_vault_refuses_at_once_cause_few_logins_and_are_revoked [Vault];
    single a_token_that_was_replaced_is_revoked_even_if_the_daemon_stops_before_its_time [Vault];
    single a_token_that_a_caching_agent_gives_again_is_not_revoked_while_it_is_in_use [Vault];
    single a_login_that_needs_a_second_factor_is_tried_once_and_named [Vault];
    single a_login_that_needs_an_approval_is_tried_once_and_named [Vault];
    single a_login_from_an_address_that_the_role_does_not_allow_is_tried_again_soon [Vault];
    single a_remark_of_vault_about_a_login_is_logged [Vault];
    single a_wrong_secret_id_that_is_written_again_is_not_tried_again [Vault];
}

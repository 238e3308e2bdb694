//! The reason codes: each state of a real Vault has the code that docs/reference/reasons.md gives it, in
//! `status`, in the metrics and in the log.

use serde_json::json;

use super::report;
use crate::authentication::approle::AppRole;
use crate::harness::daemon::Builder;
use crate::harness::proxy::{Fault, Proxy};
use crate::harness::scrape::Metrics;
use crate::harness::vault::{Fixture, Vault};
use crate::harness::wait;
use crate::{LIMIT, daemon_at, daemon_for};

/// Where nobody listens.
const NOBODY: &str = "http://127.0.0.1:9";

/// A daemon of this configuration comes to give this reason.
async fn gives(reason: &str, builder: Builder) {
    let daemon = builder.spawn().await;
    wait::until_true(reason, LIMIT, async || {
        let report = report(&daemon).await;
        assert_eq!(report["ready"], false, "{report}");
        report["reason_code"] == reason
    })
    .await;
    let metrics = Metrics::of(&daemon).await;
    let labels = [("reason_code", reason)];
    let value = metrics.value("vault_kms_plugin_condition", &labels);
    assert_eq!(value, 1.0, "{reason}");
    let (_, text) = daemon.admin("/readyz?verbose").await;
    assert!(text.contains(&format!(" failed: {reason}: ")), "{text}");
    wait::until_true("the log to say it", LIMIT, async || {
        daemon
            .log()
            .contains(&format!("\"reason_code\":\"{reason}\""))
    })
    .await;
}

async fn fixture() -> (&'static Vault, Fixture) {
    let vault = Vault::shared().await;
    (vault, vault.fixture().await)
}

async fn the_state_of_vault_has_its_code() {
    let (vault, fixture) = fixture().await;
    gives("vault_unreachable", daemon_for(NOBODY, &fixture)).await;
    let sealed = Vault::start_persistent().await;
    let of_sealed = sealed.fixture().await;
    sealed.seal().await;
    gives("vault_sealed", daemon_for(&sealed.address(), &of_sealed)).await;
    let both = format!("[vault]\naddress = [{NOBODY:?}, {:?}]", sealed.address());
    let builder = daemon_for(NOBODY, &fixture).extra(&both);
    gives("vault_cannot_serve", builder).await;
    let proxy = Proxy::start(vault.socket_address());
    let no_vault = Fault::Answer {
        status: 200,
        body: "<html>".to_owned(),
        content_type: "text/html".to_owned(),
    };
    proxy.fault("/v1/", no_vault);
    let builder = daemon_for(&proxy.address(), &fixture);
    gives("vault_unexpected_response", builder).await;
    let proxy = Proxy::start(vault.socket_address());
    proxy.fault(
        "/auth/token/",
        Fault::error(429, "request rate limit quota exceeded"),
    );
    gives("vault_throttled", daemon_for(&proxy.address(), &fixture)).await;
}

async fn the_state_of_the_login_has_its_code() {
    let (vault, fixture) = fixture().await;
    let builder = daemon_for(&vault.address(), &fixture).token("s.unknown");
    gives("token_rejected", builder).await;
    let builder = daemon_for(&vault.address(), &fixture);
    gives("credential_unusable", builder.token("")).await;
    let role = AppRole::new(vault, &fixture, json!({})).await;
    let (builder, _) = role.daemon(&vault.address(), &fixture);
    builder.write_file("secret-id", "wrong");
    gives("credentials_rejected", builder).await;
    let (builder, _) = role.daemon(&vault.address(), &fixture);
    gives("login_denied", builder.extra("[auth]\nmount = \"nowhere\"")).await;
    let bound = json!({ "secret_id_bound_cidrs": "127.0.0.2/32" });
    let bound = AppRole::new(vault, &vault.fixture().await, bound).await;
    let (builder, _) = bound.daemon(&vault.address(), &fixture);
    gives("login_refused", builder).await;
    let builder = daemon_at(&vault.address(), &fixture);
    let socket = builder.dir().join("no-agent.sock");
    let spiffe = format!(
        "[auth]\nmethod = \"jwt\"\nmount = \"jwt\"\nrole = \"plugin\"\nspiffe_socket = \"unix://{}\"\n\
         spiffe_audience = \"vault\"",
        socket.display()
    );
    gives("spiffe_unavailable", builder.extra(&spiffe)).await;
}

async fn the_state_of_the_key_has_its_code() {
    let (vault, fixture) = fixture().await;
    let nothing = "path \"none\" { capabilities = [\"read\"] }";
    vault.write_policy(&fixture.policy, nothing).await;
    let builder = daemon_for(&vault.address(), &fixture);
    gives("policy_denied", builder).await;
    let root = |fixture: &Fixture, more: &str| {
        let builder = daemon_for(&vault.address(), fixture);
        builder.token(vault.root_token()).extra(more)
    };
    gives("key_missing", root(&fixture, "[transit]\nkey = \"none\"")).await;
    let nowhere = root(&fixture, "[transit]\nmount = \"nowhere\"");
    gives("transit_not_mounted", nowhere).await;
    let derived = vault.fixture().await;
    vault
        .create_key_with(&derived.mount, "derived", json!({ "derived": true }))
        .await;
    let derived = root(&derived, "[transit]\nkey = \"derived\"");
    gives("key_unusable", derived).await;
}

tests! {
    single the_state_of_vault_has_its_code [Vault];
    single the_state_of_the_login_has_its_code [Vault];
    single the_state_of_the_key_has_its_code [Vault];
}

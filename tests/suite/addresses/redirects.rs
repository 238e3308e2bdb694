//! Redirects: one 307 within the configured addresses, and nothing else.

use tonic::Code;

use super::super::harness::certificates::Certificates;
use super::super::harness::forwarder::tls_end;
use super::super::harness::kms::KmsClient;
use super::super::harness::proxy::{Fault, Proxy};
use super::super::harness::vault::Vault;
use super::super::tls::{NAMED, trusting};
use super::super::{LIMIT, daemon_for, ready_daemon_behind_proxy};
use super::{SEED, daemon_with};

fn to(status: u16, location: &str) -> Fault {
    Fault::Redirect {
        status,
        location: location.to_owned(),
    }
}

async fn a_standby_may_redirect_once_to_another_configured_address() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let (standby, leader) = (
        Proxy::start(vault.socket_address()),
        Proxy::start(vault.socket_address()),
    );
    let elsewhere = format!("{}/v1/elsewhere", leader.address());
    standby.fault("/encrypt/", to(307, &elsewhere));
    let daemon = daemon_with(&[&standby.address(), &leader.address()], &fixture).await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    // The path of the request is kept, whatever path the redirect names.
    let seen = leader.requests();
    assert_eq!(seen[0].path, format!("/v1/{}/encrypt/kms", fixture.mount));
    assert_eq!(seen[0].headers["x-vault-token"], fixture.token.as_str());
    assert!(!seen[0].body.is_empty());
    // From then on requests go to the leader itself.
    standby.reset_counts();
    client.encrypt(&SEED).await.unwrap();
    assert_eq!(standby.requests().len(), 0);
}

async fn redirects_to_other_hosts_in_loops_and_of_other_kinds_are_not_followed() {
    let (_fixture, proxy, _daemon, client) = ready_daemon_behind_proxy().await;
    let stranger = Proxy::start("127.0.0.1:9".parse().unwrap());
    let elsewhere = "https://evil.example:8200/v1/x";
    let cases = [
        (
            to(307, &stranger.address()),
            "which vault.address does not list",
        ),
        (
            to(307, elsewhere),
            "redirects to https://evil.example:8200, which",
        ),
        (to(307, &proxy.address()), "check api_addr on every server"),
        (to(307, "/v1/x"), "redirect without a usable Location"),
        (
            to(301, &proxy.address()),
            "only a 307 of Vault's own is followed",
        ),
        (
            to(302, &proxy.address()),
            "set vault.address to the server itself",
        ),
        (to(308, elsewhere), "only a 307 of Vault's own is followed"),
    ];
    for (fault, cause) in cases {
        proxy.clear();
        proxy.fault("/encrypt/", fault.clone());
        let error = client.encrypt(&SEED).await.unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "{error}");
        assert!(error.message().contains(cause), "{fault:?}: {error}");
    }
    assert_eq!(stranger.connections(), 0);
}

async fn a_redirect_from_https_to_http_is_never_followed() {
    let certificates = Certificates::new();
    certificates.server("vault.example");
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let (standby, plain) = (
        Proxy::start(vault.socket_address()),
        Proxy::start(vault.socket_address()),
    );
    let target = standby.address().trim_start_matches("http://").parse();
    let end = tls_end(
        target.unwrap(),
        &certificates.path("vault.example.pem"),
        &certificates.path("vault.example.key"),
    );
    standby.fault("", to(307, &plain.address()));
    // Otherwise it would be used by itself after the first one has failed.
    plain.fault("", Fault::Refuse);
    // Although the plain address is configured too.
    let both = format!(
        "[vault]\naddress = [\"https://{}\", \"{}\"]",
        end.address(),
        plain.address()
    );
    let daemon = trusting(daemon_for(&plain.address(), &fixture), &certificates, NAMED)
        .extra(&both)
        .spawn()
        .await;
    daemon
        .logged("which is never followed; set api_addr of Vault to https")
        .await;
}

tests! {
    single a_standby_may_redirect_once_to_another_configured_address [Vault];
    single redirects_to_other_hosts_in_loops_and_of_other_kinds_are_not_followed [Vault];
    single a_redirect_from_https_to_http_is_never_followed [Vault];
}

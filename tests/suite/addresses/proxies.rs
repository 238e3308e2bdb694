//! Forward proxies, as the environment names them.

use super::super::harness::certificates::Certificates;
use super::super::harness::connect_proxy::ConnectProxy;
use super::super::harness::daemon::Builder;
use super::super::harness::kms::KmsClient;
use super::super::harness::vault::{Fixture, Vault};
use super::super::tls::{NAMED, trusting, vault_with_tls};
use super::super::{LIMIT, daemon_for};
use super::SEED;

/// A Vault that only the proxy can find, by the name in its certificate.
async fn hidden_vault(certificates: &Certificates) -> (Vault, Fixture, String) {
    let (vault, fixture, address) = vault_with_tls(certificates, "").await;
    let (_, port) = address.rsplit_once(':').unwrap();
    (vault, fixture, format!("https://vault.example:{port}"))
}

async fn works(builder: Builder) -> String {
    let daemon = builder.extra("[log]\nlevel = \"trace\"").spawn().await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    client.encrypt(&SEED).await.unwrap();
    daemon.log()
}

async fn vault_is_reached_through_the_proxy_of_the_environment() {
    let certificates = Certificates::new();
    let (_vault, fixture, address) = hidden_vault(&certificates).await;
    let builder = || trusting(daemon_for(&address, &fixture), &certificates, "");
    for name in [
        "HTTPS_PROXY",
        "https_proxy",
        "VAULT_HTTP_PROXY",
        "VAULT_PROXY_ADDR",
        "BAO_PROXY_ADDR",
    ] {
        let proxy = ConnectProxy::start();
        let url = format!("http://someone:s3cr3t-word@{}", proxy.place());
        let log = works(builder().env(name, &url)).await;
        assert!(!log.contains("s3cr3t-word"), "{log}");
        let heads = proxy.heads();
        let asked = format!(
            "CONNECT {} HTTP/1.1",
            address.trim_start_matches("https://")
        );
        assert!(heads[0].starts_with(&asked), "{heads:?}");
        let credential = "Proxy-Authorization: Basic c29tZW9uZTpzM2NyM3Qtd29yZA==";
        assert!(heads[0].contains(credential), "{heads:?}");
    }
}

async fn a_server_name_goes_through_a_proxy_too() {
    let certificates = Certificates::new();
    let (_vault, fixture, address) = hidden_vault(&certificates).await;
    let address = address.replace("vault.example", "10.255.255.1");
    let proxy = ConnectProxy::start();
    let builder = trusting(daemon_for(&address, &fixture), &certificates, NAMED);
    works(builder.env("HTTPS_PROXY", &proxy.place())).await;
    let heads = proxy.heads();
    assert!(heads[0].starts_with("CONNECT 10.255.255.1:"), "{heads:?}");
}

async fn loopback_and_the_hosts_of_no_proxy_use_no_proxy() {
    let certificates = Certificates::new();
    let (_vault, fixture, address) = vault_with_tls(&certificates, "").await;
    let proxy = ConnectProxy::start();
    let builder = trusting(daemon_for(&address, &fixture), &certificates, NAMED);
    works(builder.env("HTTPS_PROXY", &proxy.place())).await;

    let away = "https://vault.invalid:8200";
    let daemon = trusting(daemon_for(away, &fixture), &certificates, "")
        .env("HTTPS_PROXY", &proxy.place())
        .env("NO_PROXY", "10.0.0.0/8, .invalid")
        .spawn()
        .await;
    let client = KmsClient::connect(daemon.socket());
    let error = client.encrypt(&SEED).await.unwrap_err();
    assert!(
        error
            .message()
            .contains("https://vault.invalid:8200 cannot"),
        "{error}"
    );
    assert_eq!(proxy.heads(), Vec::<String>::new());
}

async fn a_refusal_by_the_proxy_is_reported() {
    let certificates = Certificates::new();
    let (_vault, fixture, address) = hidden_vault(&certificates).await;
    let proxy = ConnectProxy::start();
    let url = format!("http://someone:s3cr3t-word@{}", proxy.place());
    let daemon = trusting(daemon_for(&address, &fixture), &certificates, "")
        .env("HTTPS_PROXY", &url)
        .spawn();
    proxy.refuse("407 Proxy Authentication Required");
    let daemon = daemon.await;
    let client = KmsClient::connect(daemon.socket());
    for (status, cause) in [
        (
            "407 Proxy Authentication Required",
            "the proxy requires a user and a password",
        ),
        ("502 Bad Gateway", "the proxy does not connect to it"),
    ] {
        proxy.refuse(status);
        let seen = proxy.heads().len();
        super::super::harness::wait::until_true("the proxy gets a request", LIMIT, async || {
            proxy.heads().len() > seen + 1
        })
        .await;
        let error = client.encrypt(&SEED).await.unwrap_err();
        let said = error.message();
        let through = format!("{address} (through the proxy {})", proxy.place());
        assert!(said.contains(&through) && said.contains(cause), "{said}");
        assert!(!said.contains("s3cr3t-word"), "{said}");
    }
}

async fn an_invalid_proxy_is_a_configuration_error_that_does_not_quote_it() {
    let daemon = super::super::harness::daemon::Daemon::builder()
        .vault("https://vault.invalid:8200")
        .transit("transit", "kms")
        .token("x")
        .env("https_proxy", "socks5://someone:s3cr3t-word@proxy:1080")
        .spawn_raw();
    assert_eq!(daemon.wait_exit(LIMIT).await, 78);
    let log = daemon.log();
    assert!(
        log.contains("https_proxy: is not a proxy of the form"),
        "{log}"
    );
    assert!(!log.contains("s3cr3t-word"), "{log}");
}

tests! {
    single vault_is_reached_through_the_proxy_of_the_environment [Vault];
    single a_server_name_goes_through_a_proxy_too [Vault];
    single loopback_and_the_hosts_of_no_proxy_use_no_proxy [Vault];
    single a_refusal_by_the_proxy_is_reported [Vault];
    single an_invalid_proxy_is_a_configuration_error_that_does_not_quote_it;
}

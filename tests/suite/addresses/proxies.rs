//! Forward proxies, as the environment names them.

use std::process::Command;

use vault_kms_plugin::vault::{Address, Proxies, Proxy};

use super::super::check::{checked, proven};
use super::super::harness::certificates::Certificates;
use super::super::harness::connect_proxy::ConnectProxy;
use super::super::harness::daemon::{Builder, Daemon};
use super::super::harness::kms::KmsClient;
use super::super::harness::servers;
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
    let daemon = Daemon::builder()
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

/// Whether Go's HTTP client reaches each of these addresses through a proxy.
fn in_go(no_proxy: &str, addresses: &[&str]) -> Vec<bool> {
    let mut go = Command::new(servers::no_proxy());
    go.env_clear().args(addresses);
    for name in ["HTTPS_PROXY", "HTTP_PROXY"] {
        go.env(name, "proxy.invalid:3128");
    }
    let output = go.env("NO_PROXY", no_proxy).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line == "true").collect()
}

fn no_proxy_is_read_as_go_reads_it() {
    let addresses = [
        "https://example",
        "https://corp.example:8200",
        "https://vault.corp.example:8200",
        "https://vault.corp.example",
        "http://VAULT.corp.example",
        "https://a.vault.corp.example:8200",
        "https://notcorp.example:8200",
        "https://10.1.2.3:8200",
        "https://10.1.2.3",
        "https://192.0.2.200:8200",
        "https://[fd00::1]:8200",
        "https://[fd00::1]",
        "https://[::ffff:10.1.2.3]:8200",
        "https://127.0.0.1:8200",
        "https://localhost:8200",
        "https://xn--bcher-kva.example",
    ];
    let proxy = || Some(Proxy::try_new("proxy.invalid:3128").unwrap());
    for exempt in [
        "",
        " , ,",
        "*",
        "other.example, *",
        "corp.example",
        ".corp.example",
        "*.corp.example",
        "*corp.example",
        "**.corp.example",
        "*.",
        ".",
        "*.example:8200",
        ".corp.example:8200",
        "corp.example:8200",
        "corp.example:443",
        "corp.example:",
        "corp.example:https",
        ":8200",
        "CORP.Example ,other",
        "corp.example.",
        "https://corp.example",
        "vault.*.example",
        "10.1.2.3",
        "10.1.2.3:8200",
        "10.1.2.3:443",
        "10.0.0.0/8",
        "10.1.2.3/32",
        "10.9.9.9/8",
        "0.0.0.0/0",
        "10.0.0.0/33",
        "10.0.0.0/x",
        "10.0.0.0/8:8200",
        "192.0.2.128/25",
        "10.1.2",
        ".2.3",
        "::ffff:10.1.2.3",
        "fd00::1",
        "[fd00::1]",
        "[fd00::1]:8200",
        "fd00::/8",
        "::/0",
        "fd00::1%eth0",
        "xn--bcher-kva.example",
        "localhost",
        "a,b,vault.corp.example,c",
    ] {
        let proxies = Proxies {
            https: proxy(),
            http: proxy(),
            exempt: exempt.to_owned(),
        };
        let ours = addresses.map(|text| {
            let address = Address::try_new(text).unwrap();
            proxies.for_address(&address).is_some()
        });
        let go = in_go(exempt, &addresses);
        assert_eq!(go.len(), addresses.len(), "{exempt:?}");
        for ((address, ours), go) in addresses.iter().zip(ours).zip(go) {
            assert_eq!(ours, go, "NO_PROXY={exempt:?}: {address} through the proxy");
        }
    }
}

async fn an_https_proxy_is_rejected_at_the_start_and_by_check_unless_nothing_uses_it() {
    let builder = |name: &str| {
        Daemon::builder()
            .vault("https://vault.invalid:8200")
            .transit("transit", "kms")
            .token("x")
            .env(name, "https://someone:s3cr3t-word@proxy.invalid:3129")
    };
    for name in ["HTTPS_PROXY", "VAULT_PROXY_ADDR"] {
        let expected = format!(
            "{name}: is an https:// proxy, which is not supported: vault.ca_file, \
             vault.tls_server_name and the client certificate are for Vault"
        );
        let remedy = "name an http:// proxy: TLS to Vault goes through it unread";
        let daemon = builder(name).spawn_raw();
        assert_eq!(daemon.wait_exit(LIMIT).await, 78);
        let log = daemon.log();
        assert!(log.contains(&format!("{expected}; {remedy}")), "{log}");
        assert!(!log.contains("s3cr3t-word"), "{log}");
        let said = proven(builder(name), &[]).await;
        said.ends_with(78)
            .names(&format!("configuration: {expected}"), remedy);
        assert!(!said.text.contains("s3cr3t-word"), "{}", said.text);
    }
    // A proxy that is for others only.
    let exempt = builder("HTTPS_PROXY").env("NO_PROXY", ".invalid");
    let near = builder("HTTPS_PROXY").vault("https://127.0.0.1:9");
    for builder in [exempt, near] {
        let (code, lines) = checked(builder).await;
        assert_eq!(code, 0, "{lines:?}");
    }
}

tests! {
    plain no_proxy_is_read_as_go_reads_it [Go];
    single vault_is_reached_through_the_proxy_of_the_environment [Vault];
    single a_server_name_goes_through_a_proxy_too [Vault];
    single loopback_and_the_hosts_of_no_proxy_use_no_proxy [Vault];
    single a_refusal_by_the_proxy_is_reported [Vault];
    single an_invalid_proxy_is_a_configuration_error_that_does_not_quote_it;
    single an_https_proxy_is_rejected_at_the_start_and_by_check_unless_nothing_uses_it;
}

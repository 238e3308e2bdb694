//! TLS to etcd with client certificates, and what an operator is shown for each mistake.

use std::fs;
use std::path::Path;

use vault_kms_plugin::etcd::connection::NamedFile;

use super::super::LIMIT;
use super::super::harness::certificates::Certificates;
use super::super::harness::kubernetes::Etcd;
use super::super::harness::wait;
use super::*;

fn path(certificates: &Certificates, name: &str) -> String {
    certificates.path(name).display().to_string()
}

/// An etcd that demands client certificates of this CA, and how it is reached.
async fn start(certificates: &Certificates) -> (Etcd, Options) {
    certificates.server("127.0.0.1");
    certificates.client("client");
    let etcd = Etcd::launch(
        "https",
        vec![
            format!("--cert-file={}", path(certificates, "127.0.0.1.pem")),
            format!("--key-file={}", path(certificates, "127.0.0.1.key")),
            format!("--trusted-ca-file={}", path(certificates, "ca.pem")),
            "--client-cert-auth".to_owned(),
        ],
    );
    let options = Options {
        endpoints: vec![etcd.address()],
        cacert: Some(NamedFile::new(certificates.path("ca.pem"), "--cacert")),
        identity: Some(identity(certificates, "client")),
    };
    wait::until_true("etcd answers over TLS", LIMIT, async || {
        Connection::open(&options, PREFIX).await.is_ok()
    })
    .await;
    (etcd, options)
}

fn identity(certificates: &Certificates, name: &str) -> (NamedFile, NamedFile) {
    (
        NamedFile::new(certificates.path(&format!("{name}.pem")), "--cert"),
        NamedFile::new(certificates.path(&format!("{name}.key")), "--key"),
    )
}

async fn failure(options: &Options) -> (bool, String) {
    let error = Connection::open(options, PREFIX).await.unwrap_err();
    (matches!(error, SourceError::Invalid(_)), text(&error))
}

async fn etcd_is_read_over_tls_with_a_client_certificate() {
    let certificates = Certificates::new();
    let (_etcd, options) = start(&certificates).await;
    let connection = Connection::open(&options, PREFIX).await.unwrap();
    let mut scan = source::scan(connection, PREFIX).await.unwrap();
    assert_eq!(drain(&mut scan).await.unwrap(), []);
}

async fn each_mistake_in_tls_has_its_own_remedy() {
    let certificates = Certificates::new();
    let (etcd, right) = start(&certificates).await;
    let other = Certificates::new();
    other.client("stranger");
    let no_certificate = Options {
        identity: None,
        ..right.clone()
    };
    let stranger = Options {
        identity: Some(identity(&other, "stranger")),
        ..right.clone()
    };
    for (name, options) in [("none", no_certificate), ("stranger", stranger)] {
        let (is_input, text) = failure(&options).await;
        assert!(
            is_input && text.contains("refused the TLS connection (alert "),
            "{name}: {text}"
        );
        assert!(text.contains("--cert and --key"), "{name}: {text}");
    }
    let other_ca = NamedFile::new(other.path("ca.pem"), "--cacert");
    let (is_input, text) = failure(&Options {
        cacert: Some(other_ca),
        ..right.clone()
    })
    .await;
    assert!(
        is_input && text.contains("of another CA; give the CA of etcd with --cacert"),
        "{text}"
    );
    let name = vec![etcd.address().replace("127.0.0.1", "localhost")];
    let (is_input, text) = failure(&Options {
        endpoints: name,
        ..right.clone()
    })
    .await;
    assert!(
        is_input && text.contains("is not accepted") && text.contains("use a name"),
        "{text}"
    );
    let plain = vec![etcd.address().replace("https", "http")];
    let (_, text) = failure(&Options {
        endpoints: plain,
        ..right
    })
    .await;
    assert!(text.contains("write https:// in --endpoints"), "{text}");
}

async fn tls_to_an_etcd_without_it_says_so() {
    let certificates = Certificates::new();
    let etcd = Etcd::start().await;
    let options = Options {
        endpoints: vec![etcd.address().replace("http", "https")],
        cacert: Some(NamedFile::new(certificates.path("ca.pem"), "--cacert")),
        identity: None,
    };
    let (_, text) = failure(&options).await;
    assert!(text.contains("write http:// in --endpoints"), "{text}");
}

async fn each_file_that_cannot_be_used_is_named() {
    let certificates = Certificates::new();
    certificates.client("client");
    let options = |cacert: &Path, cert: &Path, key: &Path| Options {
        endpoints: vec!["https://127.0.0.1:1".to_owned()],
        cacert: Some(NamedFile::new(cacert, "--cacert")),
        identity: Some((NamedFile::new(cert, "--cert"), NamedFile::new(key, "--key"))),
    };
    let [ca, cert, key] =
        ["ca.pem", "client.pem", "client.key"].map(|name| certificates.path(name));
    let missing = certificates.path("missing");
    let empty = certificates.path("empty");
    fs::write(&empty, "").unwrap();
    for (options, expected) in [
        (
            options(&missing, &cert, &key),
            "missing (--cacert): cannot be opened: ",
        ),
        (
            options(&empty, &cert, &key),
            "empty (--cacert): holds no certificate in PEM",
        ),
        (
            options(&ca, &missing, &key),
            "missing (--cert): cannot be opened: ",
        ),
        (
            options(&ca, &key, &key),
            "client.key (--cert): holds no certificate in PEM",
        ),
        (
            options(&ca, &cert, &cert),
            "client.pem (--key): holds no private key in PEM",
        ),
    ] {
        let (is_input, text) = failure(&options).await;
        assert!(is_input && text.contains(expected), "{text}");
    }
    // The key of another certificate.
    certificates.client("other");
    let (is_input, text) = failure(&options(&ca, &cert, &certificates.path("other.key"))).await;
    assert!(
        is_input && text.contains("name the key of this certificate with --key"),
        "{text}"
    );
}

tests! {
    multi etcd_is_read_over_tls_with_a_client_certificate [Kubernetes];
    multi each_mistake_in_tls_has_its_own_remedy [Kubernetes];
    multi tls_to_an_etcd_without_it_says_so [Kubernetes];
    single each_file_that_cannot_be_used_is_named;
}

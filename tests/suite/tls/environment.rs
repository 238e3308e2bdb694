//! Variables that name CAs, of Vault's client and of OpenSSL: they never add to what the file trusts.

use super::super::daemon_for;
use super::super::harness::certificates::Certificates;
use super::{NAMED, refused, trusting, vault_with_tls, works};

async fn the_environment_adds_no_ca_to_those_of_the_file() {
    let certificates = Certificates::new();
    let (_vault, fixture, address) = vault_with_tls(&certificates, "").await;
    let stranger = Certificates::new();
    let ca = certificates.path("ca.pem");
    let (ca, dir) = (ca.to_str().unwrap(), ca.parent().unwrap().to_str().unwrap());
    let variables = [
        ("VAULT_CACERT", ca),
        ("BAO_CACERT", ca),
        ("VAULT_CAPATH", dir),
        ("BAO_CAPATH", dir),
        ("SSL_CERT_FILE", ca),
        ("SSL_CERT_DIR", dir),
    ];
    let pinned = trusting(daemon_for(&address, &fixture), &stranger, NAMED);
    let pinned = variables
        .iter()
        .fold(pinned, |builder, (name, value)| builder.env(name, value));
    refused(pinned, "unknown issuer").await;
    let ca_dir = format!(
        "[vault]\n{NAMED}\nca_dir = \"{}\"",
        stranger.path("").display()
    );
    let pinned = daemon_for(&address, &fixture).extra(&ca_dir);
    let pinned = variables
        .iter()
        .fold(pinned, |builder, (name, value)| builder.env(name, value));
    refused(pinned, "unknown issuer").await;
    // Without a file each of them counts, so that it was not lost on its way to the daemon.
    for (name, value) in [variables[0], variables[2], variables[4]] {
        let builder = daemon_for(&address, &fixture).extra(&format!("[vault]\n{NAMED}"));
        works(builder.env(name, value)).await;
    }
}

tests! {
    single the_environment_adds_no_ca_to_those_of_the_file [Vault];
}

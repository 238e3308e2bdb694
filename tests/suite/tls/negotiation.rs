//! What both sides agree on: version, key exchange, signatures.

use rcgen::PKCS_ECDSA_P521_SHA512;
use serde_json::{Value, json};

use super::super::check::proven;
use super::super::daemon_for;
use super::super::harness::certificates::Certificates;
use super::{NAMED, demanding, only, showing, trusting, vault_with_debug, vault_with_tls, works};

/// The first group that is not hybrid: the FIPS module has not approved X25519 alone.
const CLASSIC: &str = if cfg!(feature = "fips") {
    "secp256r1"
} else {
    "X25519"
};

async fn the_hybrid_group_is_negotiated_and_check_names_what_was() {
    let certificates = Certificates::new();
    let (_vault, fixture, address) = vault_with_tls(&certificates, "").await;
    let builder = || trusting(daemon_for(&address, &fixture), &certificates, NAMED);
    let said = proven(builder(), &["--strict"]).await;
    said.ends_with(0).says(
        "✓ tls: TLS 1.3 with the key exchange X25519MLKEM768 and the signature ECDSA_NISTP256_SHA256\n",
    );

    let said = proven(builder(), &["--json"]).await;
    let report: Value = serde_json::from_str(&said.text).unwrap();
    let steps = report["steps"].as_array().unwrap().iter();
    let details: Vec<_> = steps.filter_map(|step| step.get("tls")).collect();
    let expected = json!({
        "version": "1.3",
        "key_exchange": "X25519MLKEM768",
        "is_post_quantum": true,
        "signature": "ECDSA_NISTP256_SHA256",
    });
    assert_eq!(details, [&expected], "{}", said.text);
}

async fn a_server_without_the_hybrid_group_works_and_check_says_what_that_means() {
    let certificates = Certificates::new();
    // With FIPS 140 Go has no X25519: of the groups that the first message has keys for none is left.
    for (godebug, group) in [
        ("tlsmlkem=0", CLASSIC),
        ("tlsmlkem=0,tlssecpmlkem=0,fips140=on", "secp256r1"),
    ] {
        let (_vault, fixture, address) = vault_with_debug(&certificates, "", godebug).await;
        let builder = || trusting(daemon_for(&address, &fixture), &certificates, NAMED);
        works(builder()).await;
        proven(builder(), &["--strict"])
            .await
            .ends_with(0)
            .says(&format!("the key exchange {group}, not post-quantum, and"));
    }
}

async fn what_tls_1_2_negotiated_is_named_too() {
    let certificates = Certificates::new();
    let (_vault, fixture, address) = vault_with_tls(&certificates, &only("tls12")).await;
    let builder = trusting(daemon_for(&address, &fixture), &certificates, NAMED);
    proven(builder, &[])
        .await
        .ends_with(0)
        .says(&format!("✓ tls: TLS 1.2 with the key exchange {CLASSIC}, not post-quantum, and the signature ECDSA_SHA384\n"));
}

async fn keys_on_the_curve_p_521_are_accepted_of_cas_servers_and_clients() {
    let certificates = Certificates::with_keys(&PKCS_ECDSA_P521_SHA512);
    certificates.client("node-1");
    for (version, signature) in [("tls13", "ECDSA_NISTP521_SHA512"), ("tls12", "ECDSA_SHA")] {
        let more = demanding(&certificates) + "\n" + &only(version);
        let (_vault, fixture, address) = vault_with_tls(&certificates, &more).await;
        let shown = showing(&certificates, "node-1.both", None);
        let builder = || trusting(daemon_for(&address, &fixture), &certificates, &shown);
        works(builder()).await;
        proven(builder(), &[])
            .await
            .ends_with(0)
            .says(&format!("the signature {signature}"));
    }
}

tests! {
    single the_hybrid_group_is_negotiated_and_check_names_what_was [Vault];
    single a_server_without_the_hybrid_group_works_and_check_says_what_that_means [Vault];
    single what_tls_1_2_negotiated_is_named_too [Vault];
    single keys_on_the_curve_p_521_are_accepted_of_cas_servers_and_clients [Vault];
}

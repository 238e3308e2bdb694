//! The verifier with certificates that were made for each fault: which are accepted, and what is said of the others.

use std::fs;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};
use tempfile::TempDir;

use super::super::settings::TlsSettings;
use super::*;

const NAME: &str = "vault.example";
/// Within the validity of all certificates that say nothing else: 2026-01-01.
const NOW: u64 = 1_767_225_600;

fn params(subject: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![NAME.to_owned(), "10.0.0.7".to_owned()]);
    let params = params.as_mut().expect("names");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params.clone()
}

fn ca(name: &str, is_ca: IsCa) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = params(name);
    params.is_ca = is_ca;
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("a CA")
}

fn any_ca(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    ca(name, IsCa::Ca(BasicConstraints::Unconstrained))
}

fn issued(
    ca: &CertifiedIssuer<'static, KeyPair>,
    change: impl FnOnce(&mut CertificateParams),
) -> CertificateDer<'static> {
    let mut params = params("a server");
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, ca).expect("a certificate");
    certificate.der().clone()
}

/// A certificate without an issuer, in PEM and as it is sent.
fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> (String, CertificateDer<'static>) {
    let mut params = params("a server");
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    (certificate.pem(), certificate.der().clone())
}

/// With these files in `vault.ca_dir`, or with one of them as `vault.ca_file`.
fn roots(dir: &TempDir, pems: &[String], as_directory: bool) -> Result<Roots, String> {
    let below = dir.path().join("ca");
    fs::create_dir_all(&below).expect("a directory");
    for (index, pem) in pems.iter().enumerate() {
        fs::write(below.join(format!("{index}.pem")), pem).expect("written");
    }
    let settings = TlsSettings {
        ca_file: (!as_directory).then(|| below.join("0.pem")),
        ca_dir: as_directory.then_some(below),
        server_name: None,
        client_certificate: None,
    };
    assert_eq!(super::super::roots::paths(&settings).len(), 1);
    Roots::load(&settings).map_err(|error| error.to_string())
}

/// What the verifier says of this chain of a server at the address `name`.
fn verified(roots: &Roots, chain: &[CertificateDer<'_>], name: &str, now: u64) -> String {
    let supported = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    let verifier = Verifier::new(roots, None, LastHandshake::default(), supported);
    assert!(!verifier.supported_verify_schemes().is_empty());
    let name = ServerName::try_from(name).expect("a name");
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
    match verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], now) {
        Ok(_) => "accepted".to_owned(),
        Err(error) => diagnostics::diagnose(&std::io::Error::other(error), None, false).to_string(),
    }
}

#[test]
fn a_certificate_of_the_configured_ca_is_accepted_for_its_names_and_its_time() {
    let dir = TempDir::new().expect("a directory");
    let ca = any_ca("our CA");
    let roots = roots(&dir, &[ca.pem()], false).expect("roots");
    let server = issued(&ca, |_| {});
    for name in [NAME, "10.0.0.7"] {
        assert_eq!(
            verified(&roots, std::slice::from_ref(&server), name, NOW),
            "accepted"
        );
    }
    let other = verified(&roots, std::slice::from_ref(&server), "other.example", NOW);
    for part in [
        "certificate of CN=a server, issued by CN=our CA, valid until 2027-01-01T00:00:00Z",
        "is for vault.example, 10.0.0.7 and not for other.example",
        "vault.tls_server_name",
    ] {
        assert!(other.contains(part), "{other}");
    }
    let year = 365 * 24 * 3600;
    let late = verified(&roots, std::slice::from_ref(&server), NAME, NOW + 2 * year);
    assert!(
        late.contains("CN=a server") && late.contains("expired; renew"),
        "{late}"
    );
    let early = verified(&roots, &[server], NAME, NOW - 2 * year);
    assert!(
        early.contains("not valid before 2025-01-01T00:00:00Z"),
        "{early}"
    );
    let client = issued(&ca, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let client = verified(&roots, &[client], NAME, NOW);
    assert!(client.contains("it is not for servers"), "{client}");
    let nameless = issued(&ca, |params| params.subject_alt_names.clear());
    let nameless = verified(&roots, &[nameless], NAME, NOW);
    assert!(
        nameless.contains("is for no name (it has no subjectAltName)"),
        "{nameless}"
    );
}

#[test]
fn of_a_chain_the_certificate_at_fault_is_named() {
    let dir = TempDir::new().expect("a directory");
    let root = any_ca("our root");
    let mut params = params("an intermediate");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.extended_key_usages.clear();
    params.not_before = date_time_ymd(2025, 6, 1);
    params.not_after = date_time_ymd(2026, 2, 1);
    let key = KeyPair::generate().expect("a key");
    let intermediate = CertifiedIssuer::signed_by(params, key, &root).expect("a CA");
    let server = issued(&intermediate, |_| {});
    let chain = [server, intermediate.der().clone()];
    let trusting = roots(&dir, &[root.pem()], false).expect("roots");
    assert_eq!(verified(&trusting, &chain, NAME, NOW), "accepted");
    let month = 31 * 24 * 3600;
    let late = verified(&trusting, &chain, NAME, NOW + 2 * month);
    assert!(
        late.starts_with("certificate of CN=an intermediate"),
        "{late}"
    );
    let early = verified(&trusting, &chain, NAME, NOW - 9 * month);
    assert!(
        early.starts_with("certificate of CN=an intermediate"),
        "{early}"
    );
    // What is missing is the issuer that the server did not send.
    let dir = TempDir::new().expect("a directory");
    let other = roots(&dir, &[any_ca("another").pem()], false).expect("roots");
    let unknown = verified(&other, &chain, NAME, NOW);
    assert!(
        unknown.contains("unknown issuer; if CN=our root issued"),
        "{unknown}"
    );
    let unknown = verified(&other, &chain[..1], NAME, NOW);
    assert!(
        unknown.contains("unknown issuer; if CN=an intermediate issued"),
        "{unknown}"
    );
}

#[test]
fn the_very_certificate_that_is_configured_needs_no_issuer_but_the_rest() {
    let hour = 3600;
    let (begin, end) = (1_735_689_600, 1_798_761_600);
    for is_ca in [IsCa::NoCa, IsCa::Ca(BasicConstraints::Unconstrained)] {
        let dir = TempDir::new().expect("a directory");
        let (pem, server) = self_signed(|params| params.is_ca = is_ca);
        let own = roots(&dir, std::slice::from_ref(&pem), false).expect("roots");
        let at = |now| verified(&own, std::slice::from_ref(&server), NAME, now);
        for now in [begin, NOW, end] {
            assert_eq!(at(now), "accepted", "{now}");
        }
        assert!(
            at(begin - hour).contains("not valid before"),
            "{}",
            at(begin - hour)
        );
        assert!(at(end + hour).contains("expired"), "{}", at(end + hour));
        let elsewhere = verified(&own, std::slice::from_ref(&server), "other.example", NOW);
        assert!(elsewhere.contains("not for other.example"), "{elsewhere}");
        let dir = TempDir::new().expect("a directory");
        let other = roots(&dir, &[any_ca("another").pem()], false).expect("roots");
        let unknown = verified(&other, &[server], NAME, NOW);
        assert!(
            unknown.contains("self-signed, and not in vault.ca_file"),
            "{unknown}"
        );
    }
    for (usage, is_accepted) in [
        (vec![], true),
        (vec![ExtendedKeyUsagePurpose::Any], true),
        (
            vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
            true,
        ),
        (vec![ExtendedKeyUsagePurpose::ClientAuth], false),
    ] {
        let dir = TempDir::new().expect("a directory");
        let (pem, server) = self_signed(|params| params.extended_key_usages = usage.clone());
        let own = roots(&dir, &[pem], false).expect("roots");
        let answer = verified(&own, &[server], NAME, NOW);
        assert_eq!(answer == "accepted", is_accepted, "{usage:?} {answer}");
        assert!(
            is_accepted || answer.contains("it is not for servers"),
            "{answer}"
        );
    }
}

#[test]
fn only_a_ca_issues_certificates_that_are_accepted() {
    let dir = TempDir::new().expect("a directory");
    let no_ca = ca("no CA", IsCa::ExplicitNoCa);
    let other = any_ca("another");
    let trusting = roots(&dir, &[no_ca.pem(), other.pem(), "no PEM".to_owned()], true);
    let trusting = trusting.expect("roots");
    let server = issued(&no_ca, |_| {});
    let answer = verified(&trusting, &[server], NAME, NOW);
    assert!(
        answer.contains("CN=no CA in vault.ca_file is no CA"),
        "{answer}"
    );
    let server = issued(&other, |_| {});
    assert_eq!(verified(&trusting, &[server], NAME, NOW), "accepted");
    let server = issued(&any_ca("a third"), |_| {});
    let answer = verified(&trusting, &[server], NAME, NOW);
    assert!(answer.contains("if CN=a third issued"), "{answer}");
    // Another key under the same name.
    let server = issued(&any_ca("another"), |_| {});
    let answer = verified(&trusting, &[server], NAME, NOW);
    assert!(
        answer.contains("another CA of that name") || answer.contains("unknown issuer"),
        "{answer}"
    );
}

#[test]
fn files_without_a_certificate_are_no_roots() {
    let dir = TempDir::new().expect("a directory");
    let error = roots(&dir, &["no PEM".to_owned()], false).expect_err("no certificate");
    assert!(
        error.contains("vault.ca_file") && error.contains("holds no PEM certificate"),
        "{error}"
    );
    let error = roots(&dir, &["no PEM".to_owned()], true).expect_err("no certificate");
    assert!(
        error.contains("vault.ca_dir") && error.contains("no file with a PEM"),
        "{error}"
    );
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned();
    let error = roots(&dir, &[broken], false).expect_err("no certificate");
    assert!(error.contains("unusable certificate"), "{error}");
}

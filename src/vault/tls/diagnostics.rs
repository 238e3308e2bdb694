//! Errors of TLS, with a description of the certificate: its subject, its issuer, and until when it
//! is valid.

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, CertificateError, Error, OtherError};
use thiserror::Error;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::roots::Roots;
use crate::diagnosis::Diagnosis;

/// Whoever makes a certificate chooses its names: they must not make an error long.
const MAX_NAME: usize = 200;

/// The error of our verifier, which rustls passes on as it is.
#[derive(Debug, Error)]
#[error("{0}")]
struct BadServer(Diagnosis);

/// A description of a server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerCertificate {
    /// `certificate of CN=a, issued by CN=b, valid until …`
    pub description: String,
    /// Its names: `a.example, b.example`
    pub names: String,
    /// From when it is valid, in UTC seconds.
    pub not_before: i64,
    /// Until when it is valid, in UTC seconds.
    pub not_after: i64,
}

/// Describes a certificate; `None` if it cannot be parsed.
pub(super) fn describe(der: &CertificateDer<'_>) -> Option<ServerCertificate> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let validity = parsed.validity();
    Some(ServerCertificate {
        description: describe_certificate(der),
        names: names(der),
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
    })
}

/// `certificate of CN=a, issued by CN=b, valid until …`
pub(super) fn describe_certificate(der: &CertificateDer<'_>) -> String {
    match X509Certificate::from_der(der) {
        Ok((_, parsed)) => format!(
            "certificate of {}, issued by {}, valid until {}",
            printable(&parsed.subject().to_string()),
            printable(&parsed.issuer().to_string()),
            time(parsed.validity().not_after.timestamp())
        ),
        Err(_) => "certificate that cannot be read".to_owned(),
    }
}

/// The same error with a description of the certificate at fault, and a remedy.
pub(super) fn explain(
    error: Error,
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    expected: &ServerName<'_>,
    roots: &Roots,
) -> Error {
    let Error::InvalidCertificate(cause) = error else {
        return error;
    };
    let chain = || [end_entity].into_iter().chain(intermediates);
    let certificate = describe_certificate(end_entity);
    let diagnosis = match &cause {
        CertificateError::ExpiredContext { not_after, .. } => {
            let expired = |validity: (i64, i64)| seconds(not_after.as_secs()) == validity.1;
            let certificate = find_by_validity(chain(), expired).unwrap_or(certificate);
            Diagnosis::new(format!("{certificate}: expired")).with_remedy("renew it on the server")
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            let not_before = seconds(not_before.as_secs());
            let is_early = |validity: (i64, i64)| not_before == validity.0;
            let certificate = find_by_validity(chain(), is_early).unwrap_or(certificate);
            let begins = time(not_before);
            Diagnosis::new(format!("{certificate}: not valid before {begins}"))
                .with_remedy("check this machine's clock")
        }
        CertificateError::NotValidForNameContext { .. } | CertificateError::NotValidForName => {
            Diagnosis::new(format!(
                "{certificate}: is for {} and not for {}",
                names(end_entity),
                expected.to_str()
            ))
            .with_remedy("set vault.tls_server_name or the address")
        }
        // Also with the constraint `CA:TRUE`, which `openssl req -x509` writes and rustls refuses.
        CertificateError::UnknownIssuer | CertificateError::Other(_)
            if is_self_signed(end_entity) && !roots.contains(end_entity) =>
        {
            Diagnosis::new(format!(
                "{certificate}: it is self-signed, and not in vault.ca_file"
            ))
            .with_remedy(
                "if it is the one that Vault has on its own host, put this very certificate there",
            )
        }
        CertificateError::UnknownIssuer => Diagnosis::new(format!("{certificate}: unknown issuer"))
            .with_remedy(remedy_for_issuer(chain(), roots)),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            Diagnosis::new(format!("{certificate}: it is not for servers"))
                .with_remedy("issue it with the extended key usage serverAuth")
        }
        CertificateError::BadSignature => Diagnosis::new(format!("{certificate}: bad signature"))
            .with_remedy("check whether vault.ca_file holds another CA of that name"),
        other => Diagnosis::new(format!("{certificate}: {other}")),
    };
    bad_server(diagnosis)
}

/// The same for the signature that proves that the server has the key.
pub(super) fn explain_signature(error: Error, certificate: &CertificateDer<'_>) -> Error {
    if error != Error::InvalidCertificate(CertificateError::BadSignature) {
        return error;
    }
    let certificate = describe_certificate(certificate);
    bad_server(
        Diagnosis::new(format!(
            "{certificate}: the server has not proven that it has its key"
        ))
        .with_remedy("check whether it is Vault that answers there"),
    )
}

fn bad_server(diagnosis: Diagnosis) -> Error {
    let error = OtherError(Arc::new(BadServer(diagnosis)));
    Error::InvalidCertificate(CertificateError::Other(error))
}

/// Why a connection ended: the TLS error if there is one, else the innermost source. The client
/// certificate is mentioned where the server refused the connection, and with
/// `mention_client_cert` also where it gave no reason.
pub(in crate::vault) fn diagnose(
    error: &(dyn StdError + 'static),
    client_cert: Option<Diagnosis>,
    mention_client_cert: bool,
) -> Diagnosis {
    let mut innermost = error;
    loop {
        if let Some(tls) = tls_error(innermost) {
            return diagnose_tls(tls, client_cert);
        }
        match innermost.source() {
            Some(source) => innermost = source,
            None => break,
        }
    }
    // A server that refuses a certificate may close the connection before its alert is read.
    let cause = innermost.to_string();
    with_remark(cause, client_cert.filter(|_| mention_client_cert))
}

fn with_remark(cause: String, remark: Option<Diagnosis>) -> Diagnosis {
    match remark {
        Some(remark) => remark.about(cause),
        None => Diagnosis::new(cause),
    }
}

/// An [`io::Error`] does not return what it wraps as its source, and may wrap another one.
fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    let wrapped = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    match wrapped {
        Some(inner) => tls_error(inner),
        None => error.downcast_ref(),
    }
}

fn diagnose_tls(error: &Error, client_cert: Option<Diagnosis>) -> Diagnosis {
    match error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(other))) => {
            match other.downcast_ref::<BadServer>() {
                Some(BadServer(diagnosis)) => diagnosis.clone(),
                None => Diagnosis::new(other.to_string()),
            }
        }
        Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            Diagnosis::new("the server speaks neither TLS 1.3 nor 1.2 (alert protocol_version)")
        }
        Error::AlertReceived(alert) => with_remark(
            format!("the server refused the connection (alert {alert:?})"),
            client_cert,
        ),
        Error::InvalidMessage(_) => Diagnosis::new(error.to_string())
            .with_remedy("check whether the server speaks TLS at all"),
        other => Diagnosis::new(other.to_string()),
    }
}

/// The first certificate whose validity, in seconds since 1970, is the one that rustls names.
fn find_by_validity<'a>(
    chain: impl Iterator<Item = &'a CertificateDer<'a>>,
    matches: impl Fn((i64, i64)) -> bool,
) -> Option<String> {
    let mut chain = chain;
    let found = chain.find(|der| {
        X509Certificate::from_der(der).is_ok_and(|(_, parsed)| {
            let validity = parsed.validity();
            matches((
                validity.not_before.timestamp(),
                validity.not_after.timestamp(),
            ))
        })
    });
    found.map(describe_certificate)
}

fn is_self_signed(der: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(der)
        .is_ok_and(|(_, parsed)| parsed.subject().as_raw() == parsed.issuer().as_raw())
}

/// What to trust: the issuer whose certificate the server did not send.
fn remedy_for_issuer<'a>(
    chain: impl Iterator<Item = &'a CertificateDer<'a>>,
    roots: &Roots,
) -> String {
    let parsed: Vec<_> = chain
        .filter_map(|der| Some(X509Certificate::from_der(der).ok()?.1))
        .collect();
    let sent = |issuer: &[u8]| parsed.iter().any(|one| one.subject().as_raw() == issuer);
    let missing = parsed.iter().find(|one| !sent(one.issuer().as_raw()));
    let Some(topmost) = missing.or(parsed.last()) else {
        return "if the server is your Vault, put the certificate of its CA into vault.ca_file"
            .to_owned();
    };
    let issuer = printable(&topmost.issuer().to_string());
    if roots.contains_no_ca_of(topmost.issuer().as_raw()) {
        return format!(
            "{issuer} in vault.ca_file is no CA: put its CA there, or the server's certificate itself"
        );
    }
    format!("if {issuer} issued the certificate of your Vault, put its own into vault.ca_file")
}

/// `a.example, b.example`
fn names(der: &CertificateDer<'_>) -> String {
    let Ok((_, parsed)) = X509Certificate::from_der(der) else {
        return "no name".to_owned();
    };
    let mut text = String::new();
    let alternative = parsed.subject_alternative_name().ok().flatten();
    for general in alternative
        .iter()
        .flat_map(|names| &names.value.general_names)
    {
        let one = match general {
            GeneralName::DNSName(name) => (*name).to_owned(),
            GeneralName::IPAddress(bytes) => address(bytes),
            _ => continue,
        };
        let separator = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{separator}{one}");
    }
    if text.is_empty() {
        "no name (it has no subjectAltName)".to_owned()
    } else {
        printable(&text)
    }
}

fn address(bytes: &[u8]) -> String {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let any = four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
    any.map_or_else(|_| "an address".to_owned(), |ip| ip.to_string())
}

/// The name on one line, and not too long.
fn printable(text: &str) -> String {
    let clean = text.chars().filter(|c| !c.is_control());
    let short: String = clean.take(MAX_NAME).collect();
    if short.is_empty() {
        "(no name)".to_owned()
    } else {
        short
    }
}

fn time(second: i64) -> String {
    Timestamp::from_second(second).map_or_else(|_| "an unknown time".to_owned(), |t| t.to_string())
}

fn seconds(since_1970: u64) -> i64 {
    i64::try_from(since_1970).unwrap_or(i64::MAX)
}

//! What went wrong with TLS, in words that name the certificate: whose it is, who issued it, until
//! when it is valid.

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
use x509_parser::time::ASN1Time;

use super::Shown;

/// A certificate's names are its maker's: no error grows longer than a line because of them.
const MAX_NAME: usize = 200;

/// rustls keeps an error of a verifier's own as it is.
#[derive(Debug, Error)]
#[error("{0}")]
struct BadServer(String);

/// What there is to say of a server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerCertificate {
    /// `certificate of CN=a, issued by CN=b, valid until …`
    pub words: String,
    /// `a.example, b.example`
    pub names: String,
    /// Since when it is valid, in UTC seconds.
    pub not_before: i64,
    /// Until when.
    pub not_after: i64,
}

/// What there is to say of it, where it can be read.
pub(super) fn facts(der: &CertificateDer<'_>) -> Option<ServerCertificate> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let validity = parsed.validity();
    Some(ServerCertificate {
        words: certificate(der),
        names: names(der),
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
    })
}

/// `certificate of CN=a, issued by CN=b, valid until …`
pub(super) fn certificate(der: &CertificateDer<'_>) -> String {
    match X509Certificate::from_der(der) {
        Ok((_, parsed)) => format!(
            "certificate of {}, issued by {}, valid until {}",
            name(&parsed.subject().to_string()),
            name(&parsed.issuer().to_string()),
            moment(parsed.validity().not_after)
        ),
        Err(_) => "certificate that cannot be read".to_owned(),
    }
}

/// The same error, told with the certificate that is to blame and what fixes it.
pub(super) fn bad_server(
    error: Error,
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    expected: &ServerName<'_>,
) -> Error {
    let Error::InvalidCertificate(cause) = error else {
        return error;
    };
    let chain = || [end_entity].into_iter().chain(intermediates);
    let whose = certificate(end_entity);
    let text = match &cause {
        CertificateError::ExpiredContext { not_after, .. } => {
            let ended = |validity: (i64, i64)| seconds(not_after.as_secs()) == validity.1;
            format!(
                "{}: expired; renew it on the server",
                blamed(chain(), ended).unwrap_or(whose)
            )
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            let begins = |validity: (i64, i64)| seconds(not_before.as_secs()) == validity.0;
            format!(
                "{}: not valid before {}; is this machine's clock right?",
                blamed(chain(), begins).unwrap_or(whose),
                at(seconds(not_before.as_secs()))
            )
        }
        CertificateError::NotValidForNameContext { .. } | CertificateError::NotValidForName => {
            format!(
                "{whose}: is for {} and not for {}: set vault.tls_server_name or the address",
                names(end_entity),
                expected.to_str()
            )
        }
        CertificateError::UnknownIssuer => format!(
            "{whose}: unknown issuer; put the certificate of {} into vault.ca_file",
            missing_issuer(chain()).unwrap_or_else(|| "its CA".to_owned())
        ),
        CertificateError::BadSignature => {
            format!("{whose}: bad signature; another CA of that name may be in vault.ca_file")
        }
        other => format!("{whose}: {other}"),
    };
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(BadServer(
        text,
    )))))
}

/// What ended a connection: the innermost cause, and where it was TLS, who is to blame. With
/// `blame_ours` also where the server gave no reason, but did ask for a certificate.
pub(in crate::vault) fn cause(
    error: &(dyn StdError + 'static),
    shown: Option<&Shown>,
    blame_ours: bool,
) -> String {
    let ours = || shown.and_then(Shown::words);
    let mut innermost = error;
    loop {
        if let Some(tls) = tls_error(innermost) {
            return of_tls(tls, ours());
        }
        match innermost.source() {
            Some(source) => innermost = source,
            None => break,
        }
    }
    // A server that refuses a certificate may close before its alert is read.
    match ours().filter(|_| blame_ours) {
        Some(words) => format!("{innermost}; {words}"),
        None => innermost.to_string(),
    }
}

/// An [`io::Error`] does not show what it wraps as its source, and may wrap another one.
fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    let wrapped = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    match wrapped {
        Some(inner) => tls_error(inner),
        None => error.downcast_ref(),
    }
}

fn of_tls(error: &Error, ours: Option<String>) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(told))) => told.to_string(),
        Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            "the server speaks neither TLS 1.3 nor 1.2 (alert protocol_version)".to_owned()
        }
        Error::AlertReceived(alert) => match ours {
            Some(words) => format!("the server refused the connection (alert {alert:?}); {words}"),
            None => format!("the server refused the connection (alert {alert:?})"),
        },
        Error::InvalidMessage(_) => format!("{error}: does it speak TLS at all?"),
        other => other.to_string(),
    }
}

/// The first certificate whose validity, in seconds since 1970, is the one that rustls names.
fn blamed<'a>(
    chain: impl Iterator<Item = &'a CertificateDer<'a>>,
    is_it: impl Fn((i64, i64)) -> bool,
) -> Option<String> {
    let mut chain = chain;
    let found = chain.find(|der| {
        X509Certificate::from_der(der).is_ok_and(|(_, parsed)| {
            let validity = parsed.validity();
            is_it((
                validity.not_before.timestamp(),
                validity.not_after.timestamp(),
            ))
        })
    });
    found.map(certificate)
}

/// The issuer that none of the server's certificates is: the one to trust.
fn missing_issuer<'a>(chain: impl Iterator<Item = &'a CertificateDer<'a>>) -> Option<String> {
    let parsed: Vec<_> = chain
        .filter_map(|der| Some(X509Certificate::from_der(der).ok()?.1))
        .collect();
    let sent = |issuer: &[u8]| parsed.iter().any(|one| one.subject().as_raw() == issuer);
    let missing = parsed.iter().find(|one| !sent(one.issuer().as_raw()));
    let topmost = missing.or(parsed.last())?;
    Some(name(&topmost.issuer().to_string()))
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
    match text.is_empty() {
        true => "no name (it has no subjectAltName)".to_owned(),
        false => name(&text),
    }
}

fn address(bytes: &[u8]) -> String {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let any = four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
    any.map_or_else(|_| "an address".to_owned(), |ip| ip.to_string())
}

/// On one line and not too long; a name may be empty.
fn name(text: &str) -> String {
    let clean = text.chars().filter(|c| !c.is_control());
    let short: String = clean.take(MAX_NAME).collect();
    match short.is_empty() {
        true => "nobody".to_owned(),
        false => short,
    }
}

fn moment(time: ASN1Time) -> String {
    at(time.timestamp())
}

fn at(second: i64) -> String {
    Timestamp::from_second(second).map_or_else(|_| "an unknown time".to_owned(), |t| t.to_string())
}

fn seconds(since_1970: u64) -> i64 {
    i64::try_from(since_1970).unwrap_or(i64::MAX)
}

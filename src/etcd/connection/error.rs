//! Why a request to etcd failed, as cause and remedy for an operator.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};

use rustls::CertificateError;
use tonic::{Code, Status};

use super::endpoint::Endpoint;
use crate::diagnosis::Diagnosis;
use crate::etcd::scan::SourceError;

/// How etcd names a revision that is no longer readable (`api/v3rpc/rpctypes/error.go`).
const COMPACTED: &str = "required revision has been compacted";
/// How rustls begins the text of an alert, which HTTP/2 passes on as text alone.
const ALERT: &str = "received fatal alert: ";
const CA_REMEDY: &str = "give the CA of etcd with --cacert: on a control-plane node of kubeadm \
    /etc/kubernetes/pki/etcd/ca.crt";
const CLIENT_REMEDY: &str = "give a client certificate that etcd's CA has issued with --cert and --key: on a \
    control-plane node of kubeadm /etc/kubernetes/pki/apiserver-etcd-client.crt and .key";

/// What the caller of a request can do about its failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    /// The revision was compacted.
    Compacted,
    /// The answer is larger than what is accepted: ask for less.
    TooLarge,
    /// Another attempt, or another member, may answer.
    Transient(Diagnosis),
    /// Another attempt gets the same answer.
    Final(Diagnosis),
}

impl CallError {
    /// Of a request that this endpoint did not answer.
    pub(super) fn of(endpoint: &Endpoint, status: &Status) -> Self {
        let message = status.message();
        if message.contains(COMPACTED) {
            return Self::Compacted;
        }
        if matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted)
            && (message.contains("too large") || message.contains("larger than max"))
        {
            return Self::TooLarge;
        }
        let about = |diagnosis: Diagnosis| diagnosis.about(&endpoint.label);
        match refusal(status) {
            Some(diagnosis) => Self::Final(about(diagnosis)),
            None => transport(endpoint, status),
        }
    }

    /// Of a connection that etcd closed with this alert, or that TLS does not accept.
    pub(super) fn tls(endpoint: &Endpoint, error: &rustls::Error) -> Self {
        Self::Final(tls(error).about(&endpoint.label))
    }

    /// Of a request that took too long.
    pub(super) fn timeout(endpoint: &Endpoint, seconds: u64) -> Self {
        let cause = Diagnosis::new(format!("no answer within {seconds} s")).about(&endpoint.label);
        Self::Transient(
            cause.with_remedy("check whether etcd has a leader: etcdctl endpoint status --cluster"),
        )
    }
}

impl From<CallError> for SourceError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Compacted => Self::Unavailable(
                Diagnosis::new("etcd: the revision was compacted while it was read")
                    .with_remedy("try again"),
            ),
            CallError::TooLarge => Self::Unavailable(Diagnosis::new(
                "etcd: a single value is larger than what is accepted",
            )),
            CallError::Transient(diagnosis) => Self::Unavailable(diagnosis),
            CallError::Final(diagnosis) => Self::Invalid(diagnosis),
        }
    }
}

/// What etcd itself refused; `None` if it did not, or may not the next time.
fn refusal(status: &Status) -> Option<Diagnosis> {
    let message = status.message();
    let is_auth = message.contains("user name is empty")
        || message.contains("invalid auth token")
        || matches!(
            status.code(),
            Code::PermissionDenied | Code::Unauthenticated
        );
    if is_auth {
        let cause = Diagnosis::new(format!("etcd refused the request: {message}"));
        return Some(cause.with_remedy(
            "its authentication is on: use a client certificate whose common name is a user with the right to \
             read the whole prefix (etcdctl role grant-permission ROLE read --prefix=true PREFIX)",
        ));
    }
    match status.code() {
        Code::Unimplemented => Some(
            Diagnosis::new("it has no such service: it is not etcd")
                .with_remedy("give the address of etcd with --endpoints"),
        ),
        Code::InvalidArgument | Code::FailedPrecondition => Some(Diagnosis::new(format!(
            "etcd refused the request: {message}"
        ))),
        _ => None,
    }
}

fn transport(endpoint: &Endpoint, status: &Status) -> CallError {
    let about = |diagnosis: Diagnosis| diagnosis.about(&endpoint.label);
    let sources = Sources::of(status);
    if let Some(error) = sources.tls {
        return CallError::Final(about(tls(error)));
    }
    let text = sources.text.unwrap_or_else(|| status.message().to_owned());
    if let Some((_, alert)) = text.split_once(ALERT) {
        return CallError::Final(about(alerted(alert)));
    }
    let is_tls = super::endpoint::is_tls(&endpoint.label);
    let is_no_tls = text.contains("handshake eof");
    let diagnosis = Diagnosis::new(text);
    CallError::Transient(about(match sources.kind {
        Some(ErrorKind::ConnectionRefused) => diagnosis
            .with_remedy("check whether etcd runs there, and give its address with --endpoints"),
        _ if is_no_tls => {
            diagnosis.with_remedy("write http:// in --endpoints if etcd does not speak TLS there")
        }
        Some(
            ErrorKind::BrokenPipe
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::UnexpectedEof,
        ) if is_tls && !endpoint.has_client_certificate => diagnosis.with_remedy(format!(
            "if etcd demands a client certificate, {CLIENT_REMEDY}"
        )),
        _ if !is_tls && sources.is_http2 => {
            diagnosis.with_remedy("if etcd speaks TLS there, write https:// in --endpoints")
        }
        _ => diagnosis,
    }))
}

/// What the causes of a failure contain.
#[derive(Default)]
struct Sources<'a> {
    tls: Option<&'a rustls::Error>,
    kind: Option<ErrorKind>,
    text: Option<String>,
    /// Whether there was a connection, on which HTTP/2 failed.
    is_http2: bool,
}

impl<'a> Sources<'a> {
    fn of(status: &'a Status) -> Self {
        let mut found = Self::default();
        let mut next = status.source();
        while let Some(error) = next {
            found.look_at(error);
            next = error.source();
        }
        found
    }

    fn look_at(&mut self, error: &'a (dyn StdError + 'static)) {
        self.text = Some(error.to_string());
        self.is_http2 |= error.is::<hyper::Error>();
        if let Some(tls) = error.downcast_ref() {
            self.tls = Some(tls);
        }
        // It does not return what it wraps as its source.
        if let Some(io) = error.downcast_ref::<io::Error>() {
            self.kind = Some(io.kind());
            if let Some(inner) = io.get_ref() {
                self.look_at(inner);
            }
        }
    }
}

fn alerted(alert: &str) -> Diagnosis {
    let cause = Diagnosis::new(format!("etcd refused the TLS connection (alert {alert})"));
    cause.with_remedy(CLIENT_REMEDY)
}

fn tls(error: &rustls::Error) -> Diagnosis {
    match error {
        rustls::Error::AlertReceived(alert) => alerted(&format!("{alert:?}")),
        rustls::Error::InvalidMessage(_) => Diagnosis::new("the server does not speak TLS")
            .with_remedy("write http:// in --endpoints if this is etcd, without TLS"),
        rustls::Error::InvalidCertificate(cause) => certificate(cause),
        other => Diagnosis::new(format!("TLS failed: {other}")),
    }
}

fn certificate(cause: &CertificateError) -> Diagnosis {
    let text = format!("the server's certificate is not accepted: {cause}");
    match cause {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            Diagnosis::new("the server's certificate is of another CA").with_remedy(CA_REMEDY)
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Diagnosis::new(text)
                .with_remedy("use a name or an address of the certificate in --endpoints")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Diagnosis::new(text)
            .with_remedy("renew the certificates of etcd: kubeadm certs check-expiration"),
        _ => Diagnosis::new(text),
    }
}

/// The last cause of an error.
pub(super) fn innermost(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = error.to_string();
        next = error.source();
    }
    text
}

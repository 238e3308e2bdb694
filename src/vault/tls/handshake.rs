//! What the last full handshake with a server negotiated, and the certificate that it presented.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{NamedGroup, SignatureScheme};
use serde::Serialize;

use super::diagnostics::{self, ServerCertificate};

/// How many sessions can be resumed, as in rustls's own default.
const MAX_SESSIONS: usize = 256;

/// The two random values, of 32 bytes each, before the parameters that a TLS 1.2 server signs.
const TLS12_RANDOMS: usize = 64;
/// The type of those parameters that names a group (RFC 8422, 5.4).
const NAMED_CURVE: u8 = 3;

/// What a connection to the server uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Negotiated {
    /// The version of TLS: `1.3` or `1.2`.
    pub version: &'static str,
    /// The group of the key exchange: `X25519MLKEM768`
    pub key_exchange: String,
    /// Whether what is recorded today stays secret from a quantum computer.
    pub is_post_quantum: bool,
    /// How the server proved that it has the key of its certificate: `ECDSA_NISTP256_SHA256`
    pub signature: String,
}

/// The last handshake. A clone shares it.
#[derive(Debug, Clone, Default)]
pub(in crate::vault) struct LastHandshake(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    certificate: Option<CertificateDer<'static>>,
    version: Option<&'static str>,
    group: Option<NamedGroup>,
    scheme: Option<SignatureScheme>,
}

/// rustls's store of sessions, which it tells the group of each TLS 1.3 connection.
#[derive(Debug)]
pub(super) struct SessionStore {
    sessions: ClientSessionMemoryCache,
    last: LastHandshake,
}

impl LastHandshake {
    /// Describes the certificate that was last accepted; `None` if there is none yet, or it cannot
    /// be parsed.
    pub(in crate::vault) fn certificate(&self) -> Option<ServerCertificate> {
        self.seen()
            .certificate
            .as_ref()
            .and_then(diagnostics::describe)
    }

    /// What was negotiated; `None` if no handshake has been completed.
    pub(in crate::vault) fn negotiated(&self) -> Option<Negotiated> {
        let seen = self.seen();
        let key_exchange = format!("{:?}", seen.group?);
        Some(Negotiated {
            version: seen.version?,
            is_post_quantum: key_exchange.contains("MLKEM"),
            key_exchange,
            signature: signature(seen.version?, seen.scheme?),
        })
    }

    pub(super) fn accepted(&self, certificate: &CertificateDer<'_>) {
        self.seen().certificate = Some(certificate.clone().into_owned());
    }

    /// The server has signed `message` in a TLS 1.2 handshake.
    pub(super) fn signed_in_tls12(&self, scheme: SignatureScheme, message: &[u8]) {
        let mut seen = self.seen();
        seen.version = Some("1.2");
        seen.scheme = Some(scheme);
        seen.group = tls12_group(message);
    }

    /// The server has signed a TLS 1.3 handshake. Its group is known once it has ended.
    pub(super) fn signed_in_tls13(&self, scheme: SignatureScheme) {
        let mut seen = self.seen();
        seen.version = Some("1.3");
        seen.scheme = Some(scheme);
        seen.group = None;
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// In TLS 1.2 the scheme says nothing of the curve, although its number is the same.
fn signature(version: &str, scheme: SignatureScheme) -> String {
    let name = format!("{scheme:?}");
    match name.split_once("_NISTP") {
        Some((algorithm, curve_and_hash)) if version == "1.2" => {
            let hash = curve_and_hash.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{algorithm}{hash}")
        }
        _ => name,
    }
}

/// The group in the parameters that a TLS 1.2 server signs; `None` if it names none.
fn tls12_group(message: &[u8]) -> Option<NamedGroup> {
    match message.get(TLS12_RANDOMS..)? {
        [NAMED_CURVE, high, low, ..] => Some(NamedGroup::from(u16::from_be_bytes([*high, *low]))),
        _ => None,
    }
}

impl SessionStore {
    pub(super) fn new(last: LastHandshake) -> Self {
        Self {
            sessions: ClientSessionMemoryCache::new(MAX_SESSIONS),
            last,
        }
    }
}

impl ClientSessionStore for SessionStore {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        self.last.seen().group = Some(group);
        self.sessions.set_kx_hint(server_name, group);
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        self.sessions.kx_hint(server_name)
    }

    fn set_tls12_session(&self, server_name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.sessions.set_tls12_session(server_name, value);
    }

    fn tls12_session(&self, server_name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.sessions.tls12_session(server_name)
    }

    fn remove_tls12_session(&self, server_name: &ServerName<'static>) {
        self.sessions.remove_tls12_session(server_name);
    }

    fn insert_tls13_ticket(
        &self,
        server_name: ServerName<'static>,
        value: Tls13ClientSessionValue,
    ) {
        self.sessions.insert_tls13_ticket(server_name, value);
    }

    fn take_tls13_ticket(
        &self,
        server_name: &ServerName<'static>,
    ) -> Option<Tls13ClientSessionValue> {
        self.sessions.take_tls13_ticket(server_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_a_tls_1_2_handshake_is_read_from_what_the_server_signed() {
        let signed = |parameters: &[u8]| [&[0; TLS12_RANDOMS], parameters].concat();
        let group = |parameters: &[u8]| tls12_group(&signed(parameters));
        assert_eq!(group(&[3, 0, 0x1d, 32]), Some(NamedGroup::X25519));
        assert_eq!(group(&[3, 0, 0x17, 65]), Some(NamedGroup::secp256r1));
        for other in [&[1, 0, 0x1d, 32][..], &[3, 0], &[]] {
            assert_eq!(group(other), None, "{other:?}");
        }
        assert_eq!(tls12_group(&[]), None);
    }

    #[test]
    fn a_curve_is_named_only_where_the_scheme_fixes_it() {
        let scheme = SignatureScheme::ECDSA_NISTP384_SHA384;
        assert_eq!(signature("1.3", scheme), "ECDSA_NISTP384_SHA384");
        assert_eq!(signature("1.2", scheme), "ECDSA_SHA384");
        let rsa = SignatureScheme::RSA_PSS_SHA256;
        assert_eq!(signature("1.2", rsa), "RSA_PSS_SHA256");
    }

    #[test]
    fn nothing_is_said_before_a_handshake_is_complete() {
        let last = LastHandshake::default();
        assert_eq!(last.negotiated(), None);
        last.signed_in_tls13(SignatureScheme::ED25519);
        assert_eq!(last.negotiated(), None);
        let name = ServerName::try_from("vault.example").expect("a name");
        SessionStore::new(last.clone()).set_kx_hint(name, NamedGroup::X25519MLKEM768);
        let negotiated = last.negotiated().expect("complete");
        assert!(negotiated.is_post_quantum);
        assert_eq!(negotiated.key_exchange, "X25519MLKEM768");
    }
}

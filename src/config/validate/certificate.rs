//! The client certificate, of which there is one for all connections to Vault: with the method
//! `cert` it is the credential.

use std::path::PathBuf;

use toml::Value;

use crate::config::raw::{self, Leaf};
use crate::config::reader::Reader;
use crate::vault::{Address, ClientCertificate};

/// A pair of keys that name a certificate and its key.
struct Pair {
    cert: &'static str,
    key: &'static str,
}

const OF_VAULT: Pair = Pair {
    cert: "vault.client_cert_file",
    key: "vault.client_key_file",
};
const OF_AUTH: Pair = Pair {
    cert: "auth.cert_file",
    key: "auth.key_file",
};

/// The certificate of `[auth]` with the method `cert`, else that of `[vault]`. Takes the keys out of
/// both tables.
pub(super) fn certificate(
    reader: &mut Reader,
    vault: &mut raw::Vault,
    auth: &mut raw::Auth,
) -> Option<ClientCertificate> {
    let before = reader.errors.len();
    let plain = OF_VAULT.read(
        reader,
        vault.client_cert_file.take(),
        vault.client_key_file.take(),
    );
    if !is_cert(auth.method.as_ref()) {
        return plain;
    }
    let own = OF_AUTH.read(reader, auth.cert_file.take(), auth.key_file.take());
    match (own, plain) {
        (Some(own), Some(plain)) if !agree(&own, &plain) => {
            reader.refuse(
                OF_AUTH.cert,
                "is another certificate than vault.client_cert_file: a connection shows only one, remove either",
            );
            None
        }
        (Some(own), plain) => Some(ClientCertificate {
            key_file: own.key_file.or(plain.and_then(|plain| plain.key_file)),
            ..own
        }),
        (None, plain) => {
            if plain.is_none() && reader.errors.len() == before {
                reader.refuse(
                    OF_AUTH.cert,
                    "is missing: the file with the certificate to log in with, and its key or auth.key_file",
                );
            }
            plain
        }
    }
}

/// Whether both name the same files, as far as they name them.
fn agree(own: &ClientCertificate, plain: &ClientCertificate) -> bool {
    let same_key = match (&own.key_file, &plain.key_file) {
        (Some(own), Some(plain)) => own == plain,
        _ => true,
    };
    own.cert_file == plain.cert_file && same_key
}

/// Without TLS nothing can be shown.
pub(super) fn needs_tls(reader: &mut Reader, addresses: &[Address]) {
    for address in addresses.iter().filter(|address| !address.is_tls()) {
        reader.refuse(
            "vault.address",
            format!(
                "{address} speaks no TLS, and auth.method \"cert\" shows a certificate: use https"
            ),
        );
    }
}

pub(super) fn is_cert(method: Option<&Value>) -> bool {
    method.and_then(Value::as_str) == Some("cert")
}

impl Pair {
    fn read(&self, reader: &mut Reader, cert: Leaf, key: Leaf) -> Option<ClientCertificate> {
        let before = reader.errors.len();
        let cert_file = reader.path(self.cert, cert);
        let key_file: Option<PathBuf> = reader.path(self.key, key);
        match (cert_file, key_file) {
            (Some(cert_file), key_file) => Some(ClientCertificate {
                key: self.cert,
                cert_file,
                key_file,
            }),
            (None, Some(_)) if reader.errors.len() == before => {
                reader.refuse(self.cert, "is missing: a key needs its certificate");
                None
            }
            (None, _) => None,
        }
    }
}

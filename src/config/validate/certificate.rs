//! The client certificate, the same for all connections to Vault: with the method `cert` it is the
//! credential.

use std::path::PathBuf;

use toml::Value;

use crate::config::raw::{self, RawValue};
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

/// The certificate of `[auth]` with the method `cert`, else that of `[vault]`. Takes the values out
/// of both tables.
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
            reader.error_with(
                OF_AUTH.cert,
                "differs from vault.client_cert_file",
                "remove one of them: a connection presents only one certificate",
            );
            None
        }
        (Some(own), plain) => Some(ClientCertificate {
            key_file: own.key_file.or(plain.and_then(|plain| plain.key_file)),
            ..own
        }),
        (None, plain) => {
            if plain.is_none() && reader.errors.len() == before {
                reader.missing(
                    OF_AUTH.cert,
                    "name the file with the certificate to log in with; its key may be in auth.key_file",
                );
            }
            plain
        }
    }
}

/// Whether both name the same files, as far as both name one.
fn agree(own: &ClientCertificate, plain: &ClientCertificate) -> bool {
    let same_key = match (&own.key_file, &plain.key_file) {
        (Some(own), Some(plain)) => own == plain,
        _ => true,
    };
    own.cert_file == plain.cert_file && same_key
}

/// Without TLS no certificate can be presented.
pub(super) fn needs_tls(reader: &mut Reader, addresses: &[Address]) {
    for address in addresses.iter().filter(|address| !address.is_tls()) {
        reader.error_with(
            "vault.address",
            format!("{address} does not use TLS, which auth.method \"cert\" requires"),
            "use https",
        );
    }
}

pub(super) fn is_cert(method: Option<&Value>) -> bool {
    method.and_then(Value::as_str) == Some("cert")
}

impl Pair {
    fn read(
        &self,
        reader: &mut Reader,
        cert: RawValue,
        key: RawValue,
    ) -> Option<ClientCertificate> {
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
                let remedy = format!("name the certificate of the key in {}", self.key);
                reader.missing(self.cert, &remedy);
                None
            }
            (None, _) => None,
        }
    }
}

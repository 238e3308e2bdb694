//! TLS to etcd: the trusted CAs and the client certificate, read from their files once.

use std::io::ErrorKind;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tonic::transport::{ClientTlsConfig, Identity};
use zeroize::Zeroizing;

use super::options::{NamedFile, Options};
use crate::diagnosis::Diagnosis;
use crate::system::watched_file::{self, ReadError};

/// Far more than any certificate or bundle of them.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The settings of TLS for all endpoints.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    /// For requests.
    pub(super) channel: ClientTlsConfig,
    /// The same for a connection by hand.
    pub(super) plain: Arc<ClientConfig>,
}

/// A client certificate in both forms.
struct Client {
    identity: Identity,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Tls {
    /// Reads the files.
    pub(super) fn read(options: &Options) -> Result<Self, Diagnosis> {
        // Another part of the process may have installed it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut roots = RootCertStore::empty();
        match &options.cacert {
            Some(file) => add_file(&mut roots, file)?,
            None => add_system(&mut roots)?,
        }
        let channel = ClientTlsConfig::new().trust_anchors(roots.roots.clone());
        let plain = ClientConfig::builder().with_root_certificates(roots);
        let Some((cert, key)) = &options.identity else {
            let plain = with_http2(plain.with_no_client_auth());
            return Ok(Self { channel, plain });
        };
        let client = client(cert, key)?;
        let plain = plain.with_client_auth_cert(client.chain, client.key);
        let plain = plain.map_err(|error| {
            let cause = Diagnosis::new(format!("{cert} cannot be used with {key}: {error}"));
            cause.with_remedy("name the key of this certificate with --key")
        })?;
        Ok(Self {
            channel: channel.identity(client.identity),
            plain: with_http2(plain),
        })
    }
}

fn with_http2(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

fn add_file(roots: &mut RootCertStore, file: &NamedFile) -> Result<(), Diagnosis> {
    let bytes = read(file)?;
    for certificate in certificates(file, &bytes)? {
        roots.add(certificate).map_err(|cause| {
            Diagnosis::new(format!("{file}: holds an unusable certificate: {cause}"))
        })?;
    }
    Ok(())
}

fn add_system(roots: &mut RootCertStore) -> Result<(), Diagnosis> {
    let system = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(system.certs);
    if added > 0 {
        return Ok(());
    }
    let cause = "no CA to verify etcd with: none is named, and this system has no CA certificates";
    Err(Diagnosis::new(cause).with_remedy(
        "give the CA of etcd with --cacert: on a control-plane node of kubeadm \
         /etc/kubernetes/pki/etcd/ca.crt",
    ))
}

fn client(cert: &NamedFile, key: &NamedFile) -> Result<Client, Diagnosis> {
    let (chain, secret) = (read(cert)?, read(key)?);
    let identity = Identity::from_pem(&*chain, &*secret);
    let chain = certificates(cert, &chain)?;
    let key = PrivateKeyDer::from_pem_slice(&secret).map_err(|_| {
        let cause = Diagnosis::new(format!("{key}: holds no private key in PEM"));
        cause.with_remedy("name the key of the certificate, not encrypted")
    })?;
    Ok(Client {
        identity,
        chain,
        key,
    })
}

/// The certificates of a file, at least one.
fn certificates(file: &NamedFile, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, Diagnosis> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let all = all.map_err(|cause| Diagnosis::new(format!("{file}: is invalid PEM: {cause}")))?;
    if all.is_empty() {
        let cause = Diagnosis::new(format!("{file}: holds no certificate in PEM"));
        return Err(cause.with_remedy("name a file with a certificate"));
    }
    Ok(all)
}

fn read(file: &NamedFile) -> Result<Zeroizing<Vec<u8>>, Diagnosis> {
    watched_file::read(&file.path, MAX_BYTES)
        .map(|content| content.bytes)
        .map_err(|error| {
            let cause = Diagnosis::new(error.to_string()).about(file);
            match remedy(&error) {
                Some(remedy) => cause.with_remedy(remedy),
                None => cause,
            }
        })
}

fn remedy(error: &ReadError) -> Option<&'static str> {
    match error {
        ReadError::Open(cause) if cause.kind() == ErrorKind::NotFound => {
            Some("correct the path, or run this on a control-plane node")
        }
        ReadError::Open(cause) if cause.kind() == ErrorKind::PermissionDenied => {
            Some("run this as root, who may read it")
        }
        _ => None,
    }
}

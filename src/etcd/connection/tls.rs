//! TLS to etcd: the trusted CAs and the client certificate, read from their files once.

use std::io::ErrorKind;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tonic::transport::{ClientTlsConfig, Identity};
use zeroize::Zeroizing;

use super::options::{NamedFile, Options};
use crate::diagnosis::Diagnosis;
use crate::system::watched_file::{self, ReadError};

/// Far more than any certificate or bundle of them.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The settings of TLS for all endpoints.
pub(super) fn config(options: &Options) -> Result<ClientTlsConfig, Diagnosis> {
    // Another part of the process may have installed it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut roots = RootCertStore::empty();
    match &options.cacert {
        Some(file) => add_file(&mut roots, file)?,
        None => add_system(&mut roots)?,
    }
    let config = ClientTlsConfig::new().trust_anchors(roots.roots);
    match &options.identity {
        Some((cert, key)) => Ok(config.identity(identity(cert, key)?)),
        None => Ok(config),
    }
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

fn identity(cert: &NamedFile, key: &NamedFile) -> Result<Identity, Diagnosis> {
    let (chain, secret) = (read(cert)?, read(key)?);
    certificates(cert, &chain)?;
    if PrivateKeyDer::from_pem_slice(&secret).is_err() {
        let cause = Diagnosis::new(format!("{key}: holds no private key in PEM"));
        return Err(cause.with_remedy("name the key of the certificate, not encrypted"));
    }
    Ok(Identity::from_pem(&*chain, &*secret))
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

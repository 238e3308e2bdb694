//! Network faults below HTTP: connections that fall silent, a TLS end in front of a plain server, an
//! address that drops every SYN.

use std::fs;
use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::listener::Listener;

/// Forwards connections, until they are made to fall silent.
pub struct Forwarder {
    listener: Listener,
    silence: Arc<Mutex<CancellationToken>>,
}

impl Forwarder {
    /// Forwards to `target`.
    pub fn start(target: SocketAddr) -> Self {
        let silence = Arc::new(Mutex::new(CancellationToken::new()));
        let of_all = Arc::clone(&silence);
        let listener = Listener::start(move |mut inner| {
            let silence = lock(&of_all);
            async move {
                let Ok(mut outer) = TcpStream::connect(target).await else {
                    return;
                };
                let copied = copy_bidirectional(&mut inner, &mut outer);
                if silence.run_until_cancelled(copied).await.is_none() {
                    // Both ends stay open, and nothing passes any more.
                    pending::<()>().await;
                }
            }
        });
        Self { listener, silence }
    }

    /// Makes every open connection fall silent, as if its peer had vanished without closing it. New
    /// ones are forwarded.
    pub fn silence_all(&self) {
        let mut silence = self.silence.lock().unwrap_or_else(PoisonError::into_inner);
        silence.cancel();
        *silence = CancellationToken::new();
    }

    /// `http://127.0.0.1:…`
    pub fn address(&self) -> String {
        format!("http://{}", self.listener.address())
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> u64 {
        self.listener.connections()
    }
}

fn lock(silence: &Mutex<CancellationToken>) -> CancellationToken {
    let silence = silence.lock().unwrap_or_else(PoisonError::into_inner);
    silence.clone()
}

/// A TLS end in front of a plain server at `target`.
pub fn tls_end(target: SocketAddr, cert: &Path, key: &Path) -> Listener {
    tls_end_at((Ipv4Addr::LOCALHOST, 0).into(), target, cert, key)
}

/// The same at another address of this host.
pub fn tls_end_at(address: SocketAddr, target: SocketAddr, cert: &Path, key: &Path) -> Listener {
    let (chain, key) = read_pair(cert, key);
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key);
    serve_tls(address, target, config.expect("a certificate with its key"))
}

/// Forwards each connection to the first of `targets` that accepts it, as the load balancer of a control
/// plane does.
pub fn balancer(address: SocketAddr, targets: Vec<SocketAddr>) -> Listener {
    Listener::start_at(address, move |mut inner| {
        let targets = targets.clone();
        async move {
            for target in targets {
                let connected = timeout(Duration::from_secs(1), TcpStream::connect(target)).await;
                if let Ok(Ok(mut outer)) = connected {
                    let _ = copy_bidirectional(&mut inner, &mut outer).await;
                    return;
                }
            }
        }
    })
}

/// The same with the key of another certificate, and with this version of TLS alone.
pub fn impostor(
    target: SocketAddr,
    cert: &Path,
    key: &Path,
    version: &'static SupportedProtocolVersion,
) -> Listener {
    let (chain, key) = read_pair(cert, key);
    let provider = CryptoProvider::get_default().expect("it was installed");
    let key = provider.key_provider.load_private_key(key);
    let pair = CertifiedKey::new(chain, key.expect("a key"));
    let config = ServerConfig::builder_with_protocol_versions(&[version])
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
    serve_tls((Ipv4Addr::LOCALHOST, 0).into(), target, config)
}

/// Both from PEM, for rustls, whose provider is installed.
fn read_pair(cert: &Path, key: &Path) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    // A second call in a process fails, which does no harm.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (cert, key) = (fs::read(cert), fs::read(key));
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(&cert.expect("a certificate")).collect();
    let key = PrivateKeyDer::from_pem_slice(&key.expect("a key")).expect("a key in PEM");
    (chain.expect("a certificate in PEM"), key)
}

fn serve_tls(address: SocketAddr, target: SocketAddr, config: ServerConfig) -> Listener {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Listener::start_at(address, move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let (Ok(mut inner), Ok(mut outer)) = (
                acceptor.accept(stream).await,
                TcpStream::connect(target).await,
            ) else {
                return;
            };
            // It ends when either side disconnects.
            let _ = copy_bidirectional(&mut inner, &mut outer).await;
        }
    })
}

/// An address that answers no SYN: its listener's queue is full, and nobody accepts.
pub struct BlackHole {
    address: SocketAddr,
    _listener: TcpListener,
    _fillers: Vec<TcpStream>,
}

impl BlackHole {
    /// Opens one.
    pub async fn open() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket can be made");
        let bound = socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        bound.expect("a loopback port can be bound");
        let listener = socket.listen(1).expect("a socket can listen");
        let address = listener.local_addr().expect("a listener has an address");
        let mut fillers = Vec::new();
        let limit = Duration::from_millis(300);
        while let Ok(Ok(filler)) = timeout(limit, TcpStream::connect(address)).await {
            fillers.push(filler);
        }
        Self {
            address,
            _listener: listener,
            _fillers: fillers,
        }
    }

    /// `http://127.0.0.1:…`
    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }
}

//! Why etcd closes a connection right after the TLS handshake: with TLS 1.3 a client certificate is refused only then,
//! and HTTP/2 reports a closed connection in place of the alert.

use std::io::{ErrorKind, Read};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Stream};

/// How long each step may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Connects once more, without HTTP/2, and waits for the first byte or the alert. Blocks.
pub(super) fn alert(address: &str, config: Arc<ClientConfig>) -> Option<rustls::Error> {
    let uri: http::Uri = address.parse().ok()?;
    let host = uri.host()?.trim_matches(['[', ']']);
    let name = ServerName::try_from(host).ok()?.to_owned();
    let target = (host, uri.port_u16().unwrap_or(443))
        .to_socket_addrs()
        .ok()?
        .next()?;
    let mut tcp = TcpStream::connect_timeout(&target, TIMEOUT).ok()?;
    tcp.set_read_timeout(Some(TIMEOUT)).ok()?;
    tcp.set_write_timeout(Some(TIMEOUT)).ok()?;
    let mut tls = ClientConnection::new(config, name).ok()?;
    let mut byte = [0];
    let error = Stream::new(&mut tls, &mut tcp).read(&mut byte).err()?;
    if error.kind() == ErrorKind::WouldBlock {
        return None;
    }
    let inner = error.into_inner()?;
    inner.downcast::<rustls::Error>().ok().map(|error| *error)
}

//! What a connection to an address is made to first: the server itself, its socket, or a proxy.

use std::path::PathBuf;

use crate::vault::{Address, Settings};

/// The endpoint of the first connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DialTarget {
    /// A unix socket on this host.
    Socket(PathBuf),
    /// A host and a port.
    Host {
        /// Its name or its IP address.
        host: String,
        /// Its port.
        port: u16,
        /// Whether it is a proxy.
        is_proxy: bool,
    },
}

impl DialTarget {
    /// What a connection to `address` is made to.
    pub(super) fn of(settings: &Settings, address: &Address) -> Self {
        if let Some(socket) = address.socket() {
            return Self::Socket(socket.to_owned());
        }
        let proxy = settings.proxies.for_address(address);
        let (host, port) = match &proxy {
            Some(proxy) => proxy.host_and_port(),
            None => address.host_and_port(),
        };
        Self::Host {
            host,
            port,
            is_proxy: proxy.is_some(),
        }
    }
}

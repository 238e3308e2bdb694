//! Where a connection to an address goes first: the server itself, its socket, or a proxy.

use std::path::PathBuf;

use super::{Address, Settings};

/// What is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hop {
    /// A socket on this host.
    Socket(PathBuf),
    /// A host and a port.
    Host {
        /// Its name or its address.
        host: String,
        /// Its port.
        port: u16,
        /// Whether it is a proxy.
        is_proxy: bool,
    },
}

impl Settings {
    /// Where a connection to `address` goes.
    #[must_use]
    pub fn first_hop(&self, address: &Address) -> Hop {
        if let Some(socket) = address.socket() {
            return Hop::Socket(socket.to_owned());
        }
        let proxy = self.proxies.for_address(address);
        let url = proxy.as_ref().map_or(address.url(), |proxy| proxy.url());
        let host = url.host_str().unwrap_or_default();
        Hop::Host {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port_or_known_default().unwrap_or(443),
            is_proxy: proxy.is_some(),
        }
    }

    /// The same settings for one of the addresses alone.
    #[must_use]
    pub fn only(&self, address: &Address) -> Self {
        Self {
            addresses: vec![address.clone()],
            ..self.clone()
        }
    }
}

//! Where the admin server listens.

use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::str::FromStr;

use crate::system::socket_file::{SocketFile, SocketPermissions};

/// Only a user who could read the configuration may connect.
pub(super) const SOCKET_PERMISSIONS: SocketPermissions = SocketPermissions {
    mode: 0o600,
    owner: None,
    group: None,
};
/// The prefix of a path.
const UNIX: &str = "unix:";

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Nowhere.
    Off,
    /// An address and port.
    Tcp(SocketAddr),
    /// A socket on this host.
    Unix(PathBuf),
}

/// Loopback: probes of kubelet and agents of the node reach it, the network does not.
impl Default for Address {
    fn default() -> Self {
        Self::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8790))
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::Off);
        }
        if let Some(path) = text.strip_prefix(UNIX) {
            let path = PathBuf::from(path);
            return if path.is_absolute() {
                Ok(Self::Unix(path))
            } else {
                Err(format!("{text:?} names no absolute path"))
            };
        }
        text.parse().map(Self::Tcp).map_err(|_| {
            format!("{text:?} is neither of the form 127.0.0.1:8790 nor unix:/path, nor empty")
        })
    }
}

impl Address {
    /// Checks that a server could listen here in place of one at `before`, which holds its address
    /// until then.
    ///
    /// # Errors
    /// The reason why not, with the key of the configuration.
    pub fn try_after(&self, before: &Self) -> Result<(), String> {
        let refused = match self {
            Self::Off => return Ok(()),
            Self::Tcp(place) => {
                let bound = TcpListener::bind(place).map(drop);
                let is_own = matches!(before, Self::Tcp(before) if before.port() == place.port());
                match bound {
                    // 0.0.0.0 includes the address that the present server listens on.
                    Err(error) if error.kind() == ErrorKind::AddrInUse && is_own => Ok(()),
                    bound => bound.map_err(|error| format!("cannot bind {place}: {error}")),
                }
            }
            Self::Unix(path) => SocketFile::bind(path, SOCKET_PERMISSIONS)
                .map(drop)
                .map_err(|error| error.to_string()),
        };
        refused.map_err(|error| format!("admin.listen: {error}"))
    }

    /// Whether other hosts reach it.
    #[must_use]
    pub fn is_on_the_network(&self) -> bool {
        matches!(self, Self::Tcp(place) if !place.ip().to_canonical().is_loopback())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("nowhere"),
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_a_socket_or_nowhere() {
        let read = |text: &str| text.parse::<Address>();
        assert_eq!(read(""), Ok(Address::Off));
        assert_eq!(
            read("unix:/run/a.sock"),
            Ok(Address::Unix("/run/a.sock".into()))
        );
        assert_eq!(
            read("127.0.0.1:1").expect("a port").to_string(),
            "127.0.0.1:1"
        );
        for wrong in ["unix:a.sock", "localhost", "8790"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}

//! The address of a Vault server, as users write it.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use reqwest::Url;

use crate::diagnosis::Diagnosis;

/// `https://host:port`, `http://host:port` or `unix:///path/to/socket`; a path before `/v1` is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    text: String,
    url: Url,
    socket: Option<PathBuf>,
}

impl Address {
    /// Parses an address.
    ///
    /// # Errors
    /// With the expected form as the remedy.
    pub fn try_new(text: &str) -> Result<Self, Diagnosis> {
        let invalid = |cause: &str| {
            Diagnosis::new(cause)
                .with_remedy("expected https://host:port, http://host:port or unix:///path")
        };
        let socket = text.strip_prefix("unix://").map(PathBuf::from);
        if socket.as_deref().is_some_and(|path| !path.is_absolute()) {
            return Err(invalid("the path of the socket must be absolute"));
        }
        // Over a socket Vault's own client sends plain HTTP to `localhost` (api/client.go).
        let http = if socket.is_some() {
            "http://localhost"
        } else {
            text
        };
        let mut url = Url::parse(http).map_err(|error| invalid(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(invalid("is not an HTTP address"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid(
                "contains a user or a password, which Vault does not accept",
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(invalid("contains a query or a fragment"));
        }
        let dir = format!("{}/", url.path().trim_end_matches('/'));
        url.set_path(&dir);
        Ok(Self {
            text: text.trim_end_matches('/').to_owned(),
            url,
            socket,
        })
    }

    /// Whether secrets would be sent over a network unencrypted.
    #[must_use]
    pub fn is_plaintext_over_network(&self) -> bool {
        self.url.scheme() == "http" && self.socket.is_none() && !self.is_loopback()
    }

    /// Whether it uses TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The host without brackets, and the port.
    #[must_use]
    pub fn host_and_port(&self) -> (String, u16) {
        host_and_port(&self.url)
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// The unix socket, where the address is one.
    #[must_use]
    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// Whether it is on this machine.
    pub(super) fn is_loopback(&self) -> bool {
        let host = self.url.host_str().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

/// The host of a URL without brackets, and its port.
pub(super) fn host_and_port(url: &Url) -> (String, u16) {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(443);
    (host.trim_matches(['[', ']']).to_owned(), port)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_safe_only_to_loopback_and_sockets() {
        let crosses = |text| {
            Address::try_new(text)
                .expect("valid")
                .is_plaintext_over_network()
        };
        assert!(crosses("http://vault.example:8200"));
        assert!(crosses("http://10.0.0.1:8200"));
        for safe in [
            "https://vault.example:8200",
            "http://127.0.0.1:8200",
            "http://[::1]:8200",
            "http://localhost",
            "unix:///run/vault/agent.sock",
        ] {
            assert!(!crosses(safe), "{safe}");
        }
    }

    #[test]
    fn invalid_addresses_are_rejected() {
        for text in [
            "",
            "vault:8200",
            "ftp://x",
            "unix://run/x",
            "https://u:p@x",
            "https://x?a=b",
        ] {
            assert!(Address::try_new(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_path_prefix_is_kept() {
        let address = Address::try_new("https://proxy/vault/").expect("valid");
        assert_eq!(address.url().path(), "/vault/");
        assert_eq!(address.to_string(), "https://proxy/vault");
    }
}

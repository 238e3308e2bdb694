//! The address of a Vault server as users write it.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use reqwest::Url;

/// `https://host:port`, `http://host:port` or `unix:///path/to/socket`; a path before `/v1` is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    text: String,
    url: Url,
    socket: Option<PathBuf>,
}

impl Address {
    /// Takes an address.
    ///
    /// # Errors
    /// With what is wrong with it, and the form expected.
    pub fn try_new(text: &str) -> Result<Self, String> {
        let refuse = |cause: &str| {
            format!("{cause}; expected https://host:port, http://host:port or unix:///path")
        };
        let socket = text.strip_prefix("unix://").map(PathBuf::from);
        if socket.as_deref().is_some_and(|path| !path.is_absolute()) {
            return Err(refuse("the socket's path has to be absolute"));
        }
        // Over a socket Vault's own client speaks plain HTTP to `localhost` (api/client.go).
        let web = if socket.is_some() {
            "http://localhost"
        } else {
            text
        };
        let mut url = Url::parse(web).map_err(|error| refuse(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(refuse("is no address of a web server"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse(
                "holds a user or a password, which Vault does not take",
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("ends in a query or a fragment"));
        }
        let dir = format!("{}/", url.path().trim_end_matches('/'));
        url.set_path(&dir);
        Ok(Self {
            text: text.trim_end_matches('/').to_owned(),
            url,
            socket,
        })
    }

    /// Whether secrets would cross a network unencrypted.
    #[must_use]
    pub fn is_plaintext_over_network(&self) -> bool {
        self.url.scheme() == "http" && self.socket.is_none() && !self.is_loopback()
    }

    /// Whether TLS is spoken.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.url.scheme() == "https"
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// Whether it never leaves this machine.
    pub(super) fn is_loopback(&self) -> bool {
        let host = self.url.host_str().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
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
    fn only_loopback_and_sockets_may_speak_plain_http() {
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
    fn what_is_no_address_is_refused() {
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

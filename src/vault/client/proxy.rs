//! Proxies in front of Vault, as the environment names them: which address uses which.

use std::fmt;

use reqwest::Url;
use thiserror::Error;

use super::address::{Address, host_and_port};
use super::no_proxy;
use crate::diagnosis::Diagnosis;
use crate::vault::response::root_cause;
use crate::vault::tls::BuildError;

/// A proxy. Its URL may hold a password, so `Debug` shows host and port alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy(Url);

/// The proxies, and the hosts that need none.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// For https:// addresses.
    pub https: Option<Proxy>,
    /// For http:// addresses.
    pub http: Option<Proxy>,
    /// What uses neither: hosts, domains, addresses and networks, separated by commas.
    pub exempt: String,
}

/// Why a text is not a proxy. Does not quote the text, which may hold a password.
#[derive(Debug, Error)]
#[error("is not a proxy of the form http://host:port")]
pub struct InvalidProxy;

impl Proxy {
    /// Parses `http://user:password@host:port`; scheme, user and password may be omitted.
    ///
    /// # Errors
    /// If it is not a proxy, or of a kind that is not supported.
    pub fn try_new(text: &str) -> Result<Self, InvalidProxy> {
        let url = if text.contains("://") {
            Url::parse(text)
        } else {
            Url::parse(&format!("http://{text}"))
        };
        let url = url.map_err(|_| InvalidProxy)?;
        if matches!(url.scheme(), "http" | "https") && url.has_host() {
            Ok(Self(url))
        } else {
            Err(InvalidProxy)
        }
    }

    /// Whether it is itself spoken to over TLS. That is not supported: a client has one set of CAs,
    /// one server name and one certificate, which are for Vault.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The host without brackets, and the port.
    #[must_use]
    pub fn host_and_port(&self) -> (String, u16) {
        host_and_port(&self.0)
    }

    /// Explains a refusal by the proxy, which the client's own message does not attribute.
    pub(super) fn explain(error: Diagnosis) -> Diagnosis {
        match error.cause.as_str() {
            "tunnel error: proxy authorization required" => {
                Diagnosis::new("the proxy requires a user and a password, or other ones (407)")
            }
            "tunnel error: unsuccessful" => Diagnosis::new(
                "the proxy does not connect to it: it answered CONNECT with an error",
            ),
            _ => error,
        }
    }

    pub(super) fn to_reqwest(&self) -> Result<reqwest::Proxy, BuildError> {
        reqwest::Proxy::all(self.0.clone())
            .map_err(|error| BuildError::new("HTTPS_PROXY", root_cause(&error)))
    }
}

impl From<InvalidProxy> for Diagnosis {
    fn from(error: InvalidProxy) -> Self {
        Self::new(error.to_string())
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.0.host_str().unwrap_or_default();
        let port = self.0.port_or_known_default().unwrap_or(80);
        write!(f, "{host}:{port}")
    }
}

impl Proxies {
    /// The proxy for this address. `None` for loopback, as in Go's own clients, and for a socket:
    /// there plain HTTP is allowed, which must not cross a network.
    #[must_use]
    pub fn for_address(&self, address: &Address) -> Option<Proxy> {
        if address.socket().is_some() || address.is_loopback() {
            return None;
        }
        let url = address.url();
        let proxy = match url.scheme() {
            "https" => self.https.as_ref(),
            _ => self.http.as_ref(),
        };
        proxy.filter(|_| !self.exempts(url)).cloned()
    }

    fn exempts(&self, url: &Url) -> bool {
        let (host, port) = host_and_port(url);
        no_proxy::exempts(&self.exempt, &host, port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxied(address: &str, exempt: &str) -> bool {
        let proxies = Proxies {
            https: Some(Proxy::try_new("http://u:secret@proxy:3128").expect("valid")),
            http: Some(Proxy::try_new("proxy:3128").expect("valid")),
            exempt: exempt.to_owned(),
        };
        let address = Address::try_new(address).expect("valid");
        proxies.for_address(&address).is_some()
    }

    #[test]
    fn an_exempt_host_uses_no_proxy() {
        let vault = "https://vault.example:8200";
        for exempt in [
            "",
            "other.example",
            "vault.example:443",
            "ample",
            "10.0.0.0/8",
        ] {
            assert!(proxied(vault, exempt), "{exempt}");
        }
        for exempt in [
            "*",
            "example",
            ".example",
            "a, vault.example",
            "vault.example:8200",
        ] {
            assert!(!proxied(vault, exempt), "{exempt}");
        }
        assert!(!proxied("https://10.1.2.3:8200", "10.0.0.0/8"));
        assert!(!proxied("https://[fd00::1]:8200", "fd00::1"));
        assert!(!proxied("https://[fd00::1]:8200", "[fd00::1]:8200"));
        assert!(proxied("http://vault.example", ""));
    }

    #[test]
    fn loopback_and_sockets_use_no_proxy() {
        for near in [
            "https://127.0.0.1:8200",
            "https://[::1]:8200",
            "https://localhost:8200",
            "unix:///run/agent.sock",
        ] {
            assert!(!proxied(near, ""), "{near}");
        }
    }

    #[test]
    fn a_password_is_not_shown_and_other_kinds_are_rejected() {
        let proxy = Proxy::try_new("http://u:secret@proxy:3128").expect("valid");
        assert_eq!(format!("{proxy:?}"), "proxy:3128");
        assert!(Proxy::try_new("socks5://proxy:1080").is_err());
        assert!(Proxy::try_new("http://").is_err());
    }

    #[test]
    fn each_scheme_has_its_proxy_and_a_proxy_has_a_host_and_a_port() {
        let proxies = Proxies {
            https: Some(Proxy::try_new("https://secure:3129").expect("valid")),
            http: Some(Proxy::try_new("plain").expect("valid")),
            exempt: String::new(),
        };
        let of = |address| {
            let address = Address::try_new(address).expect("valid");
            let proxy = proxies.for_address(&address).expect("a proxy");
            (proxy.is_tls(), proxy.host_and_port())
        };
        assert_eq!(
            of("https://vault.example"),
            (true, ("secure".to_owned(), 3129))
        );
        assert_eq!(
            of("http://vault.example"),
            (false, ("plain".to_owned(), 80))
        );
    }

    #[test]
    fn a_refusal_of_the_proxy_differs_from_one_of_vault() {
        let explained = |cause: &str| Proxy::explain(Diagnosis::new(cause)).to_string();
        let denied = explained("tunnel error: proxy authorization required");
        assert!(denied.starts_with("the proxy requires a user"), "{denied}");
        let refused = explained("tunnel error: unsuccessful");
        assert!(
            refused.starts_with("the proxy does not connect"),
            "{refused}"
        );
        assert_eq!(explained("connection refused"), "connection refused");
    }
}

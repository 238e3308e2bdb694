//! Proxies between here and Vault, as the environment names them: which address goes through which.

use std::fmt;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;
use thiserror::Error;

use super::Address;
use crate::vault::answer::root_cause;
use crate::vault::tls::BuildError;

/// A proxy. Its URL may hold a password: it does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy(Url);

/// Which proxy is for what.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// For https:// addresses.
    pub https: Option<Proxy>,
    /// For http:// addresses.
    pub http: Option<Proxy>,
    /// What goes through neither: hosts, domains, addresses and networks, separated by commas.
    pub exempt: String,
}

/// Why this is no proxy. Does not repeat the text, which may hold a password.
#[derive(Debug, Error)]
#[error("is no proxy of the form http://host:port")]
pub struct InvalidProxy;

impl Proxy {
    /// Takes `http://user:password@host:port`; scheme, user and password may be left out.
    ///
    /// # Errors
    /// When it is none, or of a kind that is not supported.
    pub fn try_new(text: &str) -> Result<Self, InvalidProxy> {
        let whole = match text.contains("://") {
            true => text.to_owned(),
            false => format!("http://{text}"),
        };
        let url = Url::parse(&whole).map_err(|_| InvalidProxy)?;
        match matches!(url.scheme(), "http" | "https") && url.has_host() {
            true => Ok(Self(url)),
            false => Err(InvalidProxy),
        }
    }

    pub(super) fn url(&self) -> &Url {
        &self.0
    }

    /// Its host and port.
    pub(super) fn place(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        let port = self.0.port_or_known_default().unwrap_or(80);
        format!("{host}:{port}")
    }

    /// What its refusal means; the client's own words say neither who refused nor why.
    pub(super) fn explain(cause: String) -> String {
        match cause.as_str() {
            "tunnel error: proxy authorization required" => {
                "the proxy wants a user and a password, or other ones (407)".to_owned()
            }
            "tunnel error: unsuccessful" => {
                "the proxy does not connect to it: it answered CONNECT with an error".to_owned()
            }
            _ => cause,
        }
    }

    pub(super) fn to_reqwest(&self) -> Result<reqwest::Proxy, BuildError> {
        reqwest::Proxy::all(self.0.clone()).map_err(|error| BuildError {
            key: "HTTPS_PROXY",
            cause: root_cause(&error),
        })
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place())
    }
}

impl Proxies {
    /// The proxy on the way to this address. None to loopback, as in Go's own clients; there, and
    /// to a socket, plain HTTP is allowed, which must not cross a network.
    pub(super) fn for_address(&self, address: &Address) -> Option<Proxy> {
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
        let port = url.port_or_known_default();
        let entries = self.exempt.split(',').map(str::trim);
        // The matcher knows no ports; Go's rule does.
        let hosts: Vec<_> = entries
            .filter_map(|entry| match with_port(entry) {
                Some((host, of_port)) => (Some(of_port) == port).then_some(host),
                None => Some(entry),
            })
            .collect();
        let any = Matcher::builder().all("http://proxy.invalid");
        let matcher = any.no(hosts.join(",")).build();
        let place = url.as_str().parse::<http::Uri>();
        place.is_ok_and(|place| matcher.intercept(&place).is_none())
    }
}

/// `host:port` or `[ip]:port` in its parts.
fn with_port(entry: &str) -> Option<(&str, u16)> {
    let (host, port) = entry.rsplit_once(':')?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_ip_alone = bare.len() == host.len() && host.contains(':');
    match is_ip_alone {
        true => None,
        false => Some((bare, port.parse().ok()?)),
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
    fn what_is_exempt_goes_straight() {
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
    fn loopback_and_sockets_know_no_proxy() {
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
    fn a_password_does_not_print_and_other_kinds_are_refused() {
        let proxy = Proxy::try_new("http://u:secret@proxy:3128").expect("valid");
        assert_eq!(format!("{proxy:?}"), "proxy:3128");
        assert!(Proxy::try_new("socks5://proxy:1080").is_err());
        assert!(Proxy::try_new("http://").is_err());
    }
}

//! One member of etcd: its address, and the channel to it.

use std::time::Duration;

use tonic::transport::Channel;

use super::tls::Tls;
use crate::diagnosis::Diagnosis;

/// How long a connection may take to be established, TLS included. The next member gets its turn after it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// etcd closes connections that are pinged more often than every 5 s.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// A page and its successor may be on their way at one time, in bytes.
const WINDOW: u32 = 4 * 1024 * 1024;

/// A member.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    /// Its address, for an operator.
    pub(super) label: String,
    /// What requests are sent on; connects when it is used.
    pub(super) channel: Channel,
    /// What an error says of the connection.
    pub(super) has_client_certificate: bool,
}

/// The address with its scheme: etcdctl, too, takes an address without one for TLS if a certificate is named.
pub(super) fn with_scheme(address: &str, prefers_tls: bool) -> Result<String, Diagnosis> {
    let address = address.trim().trim_end_matches('/');
    let wrong = |cause: &str| {
        let cause = Diagnosis::new(cause).about(format!("endpoint {address:?}"));
        cause.with_remedy("write it as https://HOST:2379")
    };
    let full = match address.split_once("://") {
        Some(("http" | "https", _)) => address.to_owned(),
        Some((scheme, _)) => return Err(wrong(&format!("{scheme}:// is not supported"))),
        None if prefers_tls => format!("https://{address}"),
        None => format!("http://{address}"),
    };
    let uri: http::Uri = full.parse().map_err(|_| wrong("it is no address"))?;
    if uri.host().is_none_or(str::is_empty)
        || uri.authority().is_some_and(|it| it.as_str().contains('@'))
    {
        return Err(wrong("it is no address of a host"));
    }
    Ok(full)
}

/// Whether requests to this address, which has a scheme, go over TLS.
pub(super) fn is_tls(address: &str) -> bool {
    address.starts_with("https://")
}

impl Endpoint {
    /// Prepares the connection to an address with a scheme.
    pub(super) fn new(
        address: String,
        tls: Option<&Tls>,
        has_client_certificate: bool,
    ) -> Result<Self, Diagnosis> {
        let failed = |error: tonic::transport::Error| {
            let cause = super::error::innermost(&error);
            Diagnosis::new(cause).about(format!("endpoint {address}"))
        };
        let mut endpoint = Channel::from_shared(address.clone())
            .map_err(|error| Diagnosis::new(error.to_string()).about(&address))?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(2 * WINDOW)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_INTERVAL);
        if let Some(tls) = tls.filter(|_| is_tls(&address)) {
            let tls = tls.channel.clone().timeout(CONNECT_TIMEOUT);
            endpoint = endpoint.tls_config(tls).map_err(failed)?;
        }
        Ok(Self {
            channel: endpoint.connect_lazy(),
            label: address,
            has_client_certificate,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_scheme_gets_one() {
        let scheme = |address: &str, tls| with_scheme(address, tls).map_err(|it| it.to_string());
        assert_eq!(
            scheme("10.0.0.1:2379", false).expect("valid"),
            "http://10.0.0.1:2379"
        );
        assert_eq!(
            scheme(" 10.0.0.1:2379 ", true).expect("valid"),
            "https://10.0.0.1:2379"
        );
        assert_eq!(
            scheme("https://[::1]:2379/", false).expect("valid"),
            "https://[::1]:2379"
        );
        for (wrong, text) in [
            ("unix:///run/etcd.sock", "unix:// is not supported"),
            ("", "no address"),
            ("http://user@host:1", "no address of a host"),
            ("a b", "no address"),
        ] {
            let error = scheme(wrong, false).expect_err("an error");
            assert!(error.contains(text), "{wrong}: {error}");
            assert!(error.contains("write it as https://HOST:2379"));
        }
    }
}

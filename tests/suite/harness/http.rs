//! Plain HTTP requests of the harness itself.
//!
//! Each request has a client of its own: a pooled connection belongs to the tokio runtime of the
//! test that opened it, and every test has its own runtime.

use std::time::Duration;

use reqwest::{Certificate, Client, ClientBuilder, Method};
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A client without proxies and redirects that trusts `ca_pem` alone, or nobody.
pub fn client(ca_pem: Option<&[u8]>) -> Client {
    builder(ca_pem).build().expect("an HTTP client can be made")
}

/// Where [`client`] starts from.
pub fn builder(ca_pem: Option<&[u8]>) -> ClientBuilder {
    // The second call in a process is refused, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let roots = ca_pem.map_or_else(Vec::new, |pem| {
        Certificate::from_pem_bundle(pem).expect("the CA file holds PEM certificates")
    });
    Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(0)
        .timeout(TIMEOUT)
        .tls_certs_only(roots)
}

/// One request of the harness.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// `GET`, `POST`, …
    pub method: &'a str,
    /// The whole URL.
    pub url: &'a str,
    /// A header with the credential: its name and its value.
    pub credential: Option<(&'a str, &'a str)>,
    /// The CA of an `https://` server.
    pub ca_pem: Option<&'a [u8]>,
}

/// Status and body as text.
pub async fn text(request: Request<'_>, body: Option<&Value>) -> reqwest::Result<(u16, String)> {
    send(
        request,
        body.map(|json| ("application/json", json.to_string())),
    )
    .await
}

/// The same with a body of any type.
pub async fn send(
    request: Request<'_>,
    body: Option<(&str, String)>,
) -> reqwest::Result<(u16, String)> {
    let method: Method = request.method.parse().expect("an HTTP method");
    let mut call = client(request.ca_pem).request(method, request.url);
    if let Some((name, value)) = request.credential {
        call = call.header(name, value);
    }
    if let Some((kind, body)) = body {
        call = call.header("content-type", kind).body(body);
    }
    let answer = call.send().await?;
    let status = answer.status().as_u16();
    Ok((status, answer.text().await?))
}

/// Status and body as JSON: `null` where there is no body, a string where it is not JSON.
pub async fn json(request: Request<'_>, body: Option<&Value>) -> reqwest::Result<(u16, Value)> {
    let (status, text) = text(request, body).await?;
    let value = match text.as_str() {
        "" => Value::Null,
        text => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
    };
    Ok((status, value))
}

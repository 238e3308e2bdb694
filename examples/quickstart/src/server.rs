//! Transit for the quickstart: in memory, or with `--vault` the server that the environment names.

use std::env;
use std::error::Error;
use std::fmt;

use reqwest::{Certificate, Client, Method, StatusCode};
use serde_json::{Value, json};

use super::Outcome;
use super::memory_transit::{KEY, MOUNT, MemoryTransit};
use super::say;

/// Where Transit is.
pub(super) enum Server {
    /// In this process.
    Memory(MemoryTransit),
    /// At `VAULT_ADDR`.
    Real(Real),
}

/// A real server, and a key there that is ours.
pub(super) struct Real {
    http: Client,
    address: String,
    token: String,
    namespace: Option<String>,
    ca_file: Option<String>,
    key: String,
}

impl Server {
    /// One in memory; with `vault` the server of `VAULT_ADDR` and `VAULT_TOKEN`.
    pub(super) async fn choose(vault: bool) -> Outcome<Self> {
        if !vault {
            return Ok(Self::Memory(MemoryTransit::start().await?));
        }
        let (Some(address), Some(token)) = (variable("VAULT_ADDR"), variable("VAULT_TOKEN")) else {
            return Err("--vault needs VAULT_ADDR and VAULT_TOKEN".into());
        };
        let real = Real::new(address, token)?;
        say::line(format_args!(
            "Using {}: creates the key {MOUNT}/keys/{}, and deletes it at the end.",
            real.address, real.key
        ));
        real.prepare().await?;
        Ok(Self::Real(real))
    }

    /// The key's name.
    pub(super) fn key(&self) -> &str {
        match self {
            Self::Memory(_) => KEY,
            Self::Real(real) => &real.key,
        }
    }

    pub(super) fn token(&self) -> String {
        match self {
            Self::Memory(transit) => transit.token(),
            Self::Real(real) => real.token.clone(),
        }
    }

    /// What the daemon's `[vault]` needs.
    pub(super) fn settings(&self) -> Vec<(&'static str, String)> {
        let (address, ca_file, namespace) = match self {
            Self::Memory(transit) => (transit.address(), None, None),
            Self::Real(real) => (
                real.address.clone(),
                real.ca_file.clone(),
                real.namespace.clone(),
            ),
        };
        let address = Some(("address", address));
        let ca_file = ca_file.map(|path| ("ca_file", path));
        let namespace = namespace.map(|name| ("namespace", name));
        [address, ca_file, namespace]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Adds a version to the key.
    pub(super) async fn rotate(&self) -> Outcome {
        match self {
            Self::Memory(transit) => transit.rotate(),
            Self::Real(real) => {
                let path = format!("{MOUNT}/keys/{}/rotate", real.key);
                real.expect(Method::POST, &path, json!({})).await?;
            }
        }
        Ok(())
    }

    /// The server that may be switched off.
    pub(super) fn memory(&mut self) -> Option<&mut MemoryTransit> {
        match self {
            Self::Memory(transit) => Some(transit),
            Self::Real(_) => None,
        }
    }

    /// Deletes what was made at a real server.
    pub(super) async fn clean_up(&self) -> Outcome {
        if let Self::Real(real) = self {
            let key = format!("{MOUNT}/keys/{}", real.key);
            let allow = json!({ "deletion_allowed": true });
            real.expect(Method::POST, &format!("{key}/config"), allow)
                .await?;
            real.expect(Method::DELETE, &key, json!({})).await?;
            say::line(format_args!("Deleted the key {key}."));
        }
        Ok(())
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(transit) => write!(f, "in memory at {}", transit.address()),
            Self::Real(real) => write!(f, "{}, key {}", real.address, real.key),
        }
    }
}

impl Real {
    fn new(address: String, token: String) -> Outcome<Self> {
        // A second call in a process fails, and changes nothing.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let ca_file = variable("VAULT_CACERT");
        let mut builder = Client::builder().no_proxy();
        if let Some(path) = &ca_file {
            let pem = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
            builder = builder.tls_certs_only(Certificate::from_pem_bundle(&pem)?);
        }
        Ok(Self {
            http: builder.build()?,
            address: address.trim_end_matches('/').to_owned(),
            token,
            namespace: variable("VAULT_NAMESPACE"),
            ca_file,
            key: format!("vault-kms-plugin-quickstart-{:08x}", fastrand::u32(..)),
        })
    }

    /// Creates the key, and the mount if there is none.
    async fn prepare(&self) -> Outcome {
        let key = format!("{MOUNT}/keys/{}", self.key);
        let (status, _) = self.call(Method::POST, &key, json!({})).await?;
        if status.is_success() {
            return Ok(());
        }
        if status == StatusCode::NOT_FOUND {
            let transit = json!({ "type": "transit" });
            self.expect(Method::POST, &format!("sys/mounts/{MOUNT}"), transit)
                .await?;
            say::line(format_args!(
                "Enabled transit at {MOUNT}/, which stays enabled."
            ));
        }
        self.expect(Method::POST, &key, json!({})).await
    }

    async fn expect(&self, method: Method, path: &str, body: Value) -> Outcome {
        let (status, text) = self.call(method.clone(), path, body).await?;
        if status.is_success() {
            Ok(())
        } else {
            Err(format!("expected success of {method} {path}, got {status} {text}").into())
        }
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> Outcome<(StatusCode, String)> {
        let url = format!("{}/v1/{path}", self.address);
        let mut call = self.http.request(method, url);
        call = call
            .header("x-vault-token", &self.token)
            .header("x-vault-request", "true");
        if let Some(namespace) = &self.namespace {
            call = call.header("x-vault-namespace", namespace);
        }
        let sent = call.body(body.to_string()).send().await;
        let answer = sent.map_err(|error| format!("{}: {}", self.address, root_cause(&error)))?;
        let status = answer.status();
        Ok((status, answer.text().await?.trim().to_owned()))
    }
}

/// What happened, which reqwest says last.
fn root_cause(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => root_cause(cause),
        None => error.to_string(),
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

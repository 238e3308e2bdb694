//! A real etcd and a real kube-apiserver as child processes: enough of Kubernetes for Secrets,
//! RBAC, ServiceAccount tokens and TokenReview.

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::child::{self, Child};
use super::{http, wait};

#[path = "kubernetes/encryption.rs"]
mod encryption;
#[path = "kubernetes/etcd.rs"]
mod etcd;
#[path = "kubernetes/files.rs"]
mod files;
#[path = "kubernetes/objects.rs"]
mod objects;

pub use encryption::EncryptionConfiguration;
pub use etcd::Etcd;

use files::{CERTIFICATE, ENCRYPTION, arguments, in_dir, spawn, write, write_credentials};

/// About 10 s on an idle machine.
const READY_LIMIT: Duration = Duration::from_secs(120);
const TOKEN: &str = "admin-token";
const ISSUER: &str = "https://kubernetes.default.svc";

/// A kube-apiserver on a loopback port; killed when dropped, as it is when stopped: on SIGTERM it
/// would wait about a minute for watches.
pub struct KubeApiserver {
    dir: TempDir,
    port: u16,
    arguments: Vec<String>,
    child: Mutex<Child>,
}

impl KubeApiserver {
    /// Starts one and waits until it is ready. `feature_gates` such as `KMSv1=true`.
    pub async fn start(etcd: &Etcd, encryption: Option<&str>, feature_gates: Option<&str>) -> Self {
        let gates = feature_gates.map(|gates| format!("--feature-gates={gates}"));
        let server = Self::launch(etcd, encryption, gates.into_iter().collect());
        server.ready().await;
        server
    }

    /// Starts one with more arguments, without waiting.
    pub fn launch(etcd: &Etcd, encryption: Option<&str>, more: Vec<String>) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let port = child::free_port();
        write_credentials(&dir);
        let mut arguments = arguments(&dir, port, etcd);
        if let Some(yaml) = encryption {
            write(&dir, ENCRYPTION, yaml);
            let path = in_dir(&dir, ENCRYPTION);
            arguments.push(format!("--encryption-provider-config={path}"));
        }
        arguments.extend(more);
        let child = Mutex::new(spawn(&dir, &arguments));
        Self {
            dir,
            port,
            arguments,
            child,
        }
    }

    /// `https://127.0.0.1:…`
    pub fn address(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Its own certificates in PEM, which it signed itself: usable as its CA.
    pub fn ca_pem(&self) -> String {
        fs::read_to_string(in_dir(&self.dir, CERTIFICATE))
            .expect("kube-apiserver has written its certificate")
    }

    /// The token of a member of `system:masters`.
    pub fn admin_token(&self) -> &'static str {
        TOKEN
    }

    /// The issuer of its ServiceAccount tokens, and their default audience.
    pub fn issuer(&self) -> &'static str {
        ISSUER
    }

    /// Waits for `/readyz`.
    pub async fn ready(&self) {
        wait::until_true("kube-apiserver is ready", READY_LIMIT, async || {
            self.child().expect_alive();
            self.readyz().await == Some(200)
        })
        .await;
    }

    /// The status of `/readyz` now, or nothing while it does not answer.
    pub async fn readyz(&self) -> Option<u16> {
        // Its certificate appears a moment after its start.
        let pem = fs::read(in_dir(&self.dir, CERTIFICATE)).ok()?;
        let answer = self.send("GET", "/readyz", None, &pem).await;
        answer.ok().map(|(status, _)| status)
    }

    /// Any call as admin; panics when nothing answers.
    pub async fn request(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let (status, text) = self.request_text(method, path, body).await;
        (
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        )
    }

    /// Any call as admin, its answer as text.
    pub async fn request_text(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> (u16, String) {
        let body = body.map(|json| ("application/json", json.to_string()));
        let answer = self
            .send(method, path, body, self.ca_pem().as_bytes())
            .await;
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error:?}"))
    }

    /// Any call as admin, whose failure is text: kube-apiserver may not even run.
    pub async fn try_request(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Result<(u16, Value), String> {
        let body = body.map(|json| ("application/json", json.to_string()));
        let ca_pem = self.ca_pem();
        let answer = self.send(method, path, body, ca_pem.as_bytes());
        let (status, text) = answer.await.map_err(|error| format!("{error:?}"))?;
        let json = serde_json::from_str(&text);
        Ok((status, json.unwrap_or(Value::String(text))))
    }

    /// What a manifest would become at this path: looked at in every detail, and not stored.
    pub async fn dry_run(&self, path: &str, yaml: &str) -> (u16, Value) {
        let path = format!("{path}?dryRun=All&fieldValidation=Strict");
        let body = Some(("application/yaml", yaml.to_owned()));
        let answer = self
            .send("POST", &path, body, self.ca_pem().as_bytes())
            .await;
        let (status, text) = answer.unwrap_or_else(|error| panic!("{path}: {error:?}"));
        let answer = serde_json::from_str(&text);
        (status, answer.unwrap_or(Value::String(text)))
    }

    /// A call that has to succeed; its answer.
    pub async fn expect(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.request(method, path, body).await;
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    }

    /// What Prometheus would scrape.
    pub async fn metrics(&self) -> String {
        self.request_text("GET", "/metrics", None).await.1
    }

    /// Replaces its EncryptionConfiguration; read at the next restart.
    pub fn write_encryption(&self, yaml: &str) {
        write(&self.dir, ENCRYPTION, yaml);
    }

    /// SIGKILL; it is gone when this returns.
    pub fn kill(&self) {
        self.child().kill();
    }

    /// Kills it, starts it again on the same port, and waits until it is ready.
    pub async fn restart(&self) {
        self.start_again();
        self.ready().await;
    }

    /// The same, without waiting.
    pub fn start_again(&self) {
        let mut child = self.child();
        child.kill();
        *child = spawn(&self.dir, &self.arguments);
    }

    /// Waits until it answers at all. Returns the status of `/readyz`.
    pub async fn answers(&self) -> u16 {
        wait::until("kube-apiserver answers", READY_LIMIT, async || {
            self.child().expect_alive();
            self.readyz().await
        })
        .await
    }

    /// What it wrote to its log.
    pub fn log(&self) -> String {
        self.child().log()
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<(&str, String)>,
        ca_pem: &[u8],
    ) -> reqwest::Result<(u16, String)> {
        let url = format!("{}{path}", self.address());
        let bearer = format!("Bearer {TOKEN}");
        let credential = Some(("Authorization", bearer.as_str()));
        let request = http::Request {
            method,
            url: &url,
            credential,
            ca_pem: Some(ca_pem),
        };
        http::send(request, body).await
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

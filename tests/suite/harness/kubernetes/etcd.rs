//! One etcd on loopback, and what is stored in it.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::child::{self, Child};
use super::super::servers::{Server, binary};
use super::super::{http, wait};

const READY_LIMIT: Duration = Duration::from_secs(60);

/// A single member; killed when dropped.
pub struct Etcd {
    dir: TempDir,
    client_port: u16,
    peer_port: u16,
    child: Mutex<Child>,
}

impl Etcd {
    /// Starts one and waits until it answers.
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let (client_port, peer_port) = (child::free_port(), child::free_port());
        let child = Mutex::new(launch(&dir, client_port, peer_port));
        let etcd = Self {
            dir,
            client_port,
            peer_port,
            child,
        };
        etcd.wait_ready().await;
        etcd
    }

    /// `http://127.0.0.1:…`
    pub fn address(&self) -> String {
        local_url(self.client_port)
    }

    /// All keys that begin with `prefix`, and their values.
    pub async fn range(&self, prefix: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
        let (status, answer) = self
            .call("range", &prefix_range(prefix))
            .await
            .expect("etcd answers");
        assert_eq!(status, 200, "range: {answer}");
        let pairs = answer["kvs"].as_array().cloned().unwrap_or_default();
        pairs
            .iter()
            .map(|pair| (bytes(&pair["key"]), bytes(&pair["value"])))
            .collect()
    }

    /// Writes one key.
    pub async fn put(&self, key: &[u8], value: &[u8]) {
        let body = json!({ "key": STANDARD.encode(key), "value": STANDARD.encode(value) });
        let (status, answer) = self.call("put", &body).await.expect("etcd answers");
        assert_eq!(status, 200, "put: {answer}");
    }

    /// SIGKILL; it is gone when this returns.
    pub fn kill(&self) {
        self.child().kill();
    }

    /// Kills it and starts it again with its data.
    pub async fn restart(&self) {
        {
            let mut child = self.child();
            child.kill();
            *child = launch(&self.dir, self.client_port, self.peer_port);
        }
        self.wait_ready().await;
    }

    /// Kills it, and starts it again with this data directory in place of its own.
    pub async fn restart_with(&self, data: &Path) {
        {
            let mut child = self.child();
            child.kill();
            let own = self.dir.path().join("data");
            fs::remove_dir_all(&own).expect("a stopped server's data can be removed");
            fs::rename(data, &own).expect("on one file system");
            *child = launch(&self.dir, self.client_port, self.peer_port);
        }
        self.wait_ready().await;
    }

    /// What it wrote to its log.
    pub fn log(&self) -> String {
        self.child().log()
    }

    async fn wait_ready(&self) {
        wait::until_true("etcd answers", READY_LIMIT, async || {
            self.child().expect_alive();
            let answer = self.call("range", &prefix_range("/")).await;
            answer.is_ok_and(|(status, _)| status == 200)
        })
        .await;
    }

    async fn call(&self, what: &str, body: &Value) -> reqwest::Result<(u16, Value)> {
        let url = format!("{}/v3/kv/{what}", self.address());
        let request = http::Request {
            method: "POST",
            url: &url,
            credential: None,
            ca_pem: None,
        };
        http::json(request, Some(body)).await
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn launch(dir: &TempDir, client_port: u16, peer_port: u16) -> Child {
    let (client, peer) = (local_url(client_port), local_url(peer_port));
    let arguments = [
        format!("--data-dir={}", dir.path().join("data").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
    ];
    let log = dir.path().join("log");
    Child::spawn(
        &binary(Server::Etcd),
        &arguments,
        &log,
        child::clean_environment,
    )
}

fn local_url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// From the prefix to the first key that no longer begins with it.
fn prefix_range(prefix: &str) -> Value {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1; // text: never 255
    }
    json!({ "key": STANDARD.encode(prefix), "range_end": STANDARD.encode(end) })
}

fn bytes(value: &Value) -> Vec<u8> {
    STANDARD
        .decode(value.as_str().unwrap_or_default())
        .expect("etcd's gateway speaks base64")
}

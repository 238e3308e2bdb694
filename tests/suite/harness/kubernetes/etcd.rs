//! One etcd on loopback, and what is stored in it.

use std::fs;
use std::path::{Path, PathBuf};
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
    /// `http` or `https`.
    scheme: &'static str,
    more: Vec<String>,
    child: Mutex<Child>,
}

impl Etcd {
    /// Starts one and waits until it answers.
    pub async fn start() -> Self {
        Self::start_with(Vec::new()).await
    }

    /// The same with more arguments.
    pub async fn start_with(more: Vec<String>) -> Self {
        let etcd = Self::launch("http", more);
        etcd.wait_ready().await;
        etcd
    }

    /// Starts one that clients reach by this scheme, with more arguments, without waiting.
    pub fn launch(scheme: &'static str, more: Vec<String>) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let (client_port, peer_port) = (child::free_port(), child::free_port());
        let child = Mutex::new(launch(&dir, scheme, client_port, peer_port, &more));
        Self {
            dir,
            client_port,
            peer_port,
            scheme,
            more,
            child,
        }
    }

    /// `http://127.0.0.1:…`
    pub fn address(&self) -> String {
        local_url(self.scheme, self.client_port)
    }

    /// The file of its database.
    pub fn database(&self) -> PathBuf {
        self.dir.path().join("data/member/snap/db")
    }

    /// All keys that begin with `prefix`, and their values.
    pub async fn range(&self, prefix: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
        let pairs = self.range_at(prefix, 0).await.into_iter();
        pairs.map(|(key, value, _)| (key, value)).collect()
    }

    /// The same at a revision, with the revision that wrote each.
    pub async fn range_at(&self, prefix: &str, revision: i64) -> Vec<(Vec<u8>, Vec<u8>, i64)> {
        let mut body = prefix_range(prefix);
        body["revision"] = json!(revision.to_string());
        let answer = self.expect("range", &body).await;
        let pairs = answer["kvs"].as_array().cloned().unwrap_or_default();
        let triple = |pair: &Value| {
            let revision = number(&pair["mod_revision"]);
            (bytes(&pair["key"]), bytes(&pair["value"]), revision)
        };
        pairs.iter().map(triple).collect()
    }

    /// Writes one key.
    pub async fn put(&self, key: &[u8], value: &[u8]) {
        let body = json!({ "key": STANDARD.encode(key), "value": STANDARD.encode(value) });
        self.expect("put", &body).await;
    }

    /// Writes and deletes up to 128 keys at one revision, which it returns: a value, or nothing for a deletion.
    pub async fn transaction(&self, changes: &[(Vec<u8>, Option<Vec<u8>>)]) -> i64 {
        let changes = changes.iter().map(|(key, value)| {
            let key = STANDARD.encode(key);
            match value {
                Some(value) => {
                    json!({ "requestPut": { "key": key, "value": STANDARD.encode(value) } })
                }
                None => json!({ "requestDeleteRange": { "key": key } }),
            }
        });
        let body = json!({ "success": changes.collect::<Vec<_>>() });
        number(&self.expect("txn", &body).await["header"]["revision"])
    }

    /// Compacts up to a revision.
    pub async fn compact(&self, revision: i64) {
        let body = json!({ "revision": revision.to_string(), "physical": true });
        self.expect("compaction", &body).await;
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
            *child = self.launch_again();
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
            *child = self.launch_again();
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

    fn launch_again(&self) -> Child {
        let Self {
            dir,
            client_port,
            peer_port,
            scheme,
            more,
            ..
        } = self;
        launch(dir, scheme, *client_port, *peer_port, more)
    }

    async fn expect(&self, what: &str, body: &Value) -> Value {
        let (status, answer) = self.call(what, body).await.expect("etcd answers");
        assert_eq!(status, 200, "{what}: {answer}");
        answer
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

fn launch(dir: &TempDir, scheme: &str, client_port: u16, peer_port: u16, more: &[String]) -> Child {
    let (client, peer) = (local_url(scheme, client_port), local_url("http", peer_port));
    let mut arguments = vec![
        format!("--data-dir={}", dir.path().join("data").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
    ];
    arguments.extend_from_slice(more);
    let log = dir.path().join("log");
    Child::spawn(
        &binary(Server::Etcd),
        &arguments,
        &log,
        child::clean_environment,
    )
}

fn local_url(scheme: &str, port: u16) -> String {
    format!("{scheme}://127.0.0.1:{port}")
}

/// A 64-bit number, which the gateway writes as text; 0 if it is absent.
fn number(value: &Value) -> i64 {
    value
        .as_str()
        .map_or(0, |text| text.parse().expect("a number"))
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

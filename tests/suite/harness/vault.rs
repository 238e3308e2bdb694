//! A real Vault (or OpenBao) as a child process, and the API calls that tests prepare it with.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::child::{self, Child};
use super::{http, servers, wait};

#[path = "vault/api.rs"]
mod api;
#[path = "vault/backups.rs"]
pub mod backups;
#[path = "vault/cluster.rs"]
pub mod cluster;
#[path = "vault/launch.rs"]
mod launch;

pub use api::{Fixture, plugin_policy};

use launch::{file_config, launch, raft_config};

const READY_LIMIT: Duration = Duration::from_secs(60);

/// One server on a loopback port; killed when dropped.
pub struct Vault {
    dir: TempDir,
    port: u16,
    kind: Kind,
    godebug: &'static str,
    child: Mutex<Child>,
}

enum Kind {
    /// Everything in memory: empty after a restart.
    Dev,
    /// Everything in a directory: sealed after a restart.
    Persistent {
        root_token: String,
        unseal_key: String,
    },
}

impl Vault {
    /// A dev server: unsealed, empty, with the root token `root`.
    pub async fn start() -> Self {
        let vault = Self::new(Kind::Dev, "", "");
        vault.wait_ready().await;
        vault
    }

    /// A server that keeps its data across restarts and can be sealed.
    pub async fn start_persistent() -> Self {
        Self::start_persistent_with("").await
    }

    /// The same on raft storage, of which `vault operator raft snapshot` makes backups.
    pub async fn start_raft() -> Self {
        let port = child::free_port();
        let nothing = Kind::Persistent {
            root_token: String::new(),
            unseal_key: String::new(),
        };
        let config = |dir: &TempDir| raft_config(dir, port, &[]);
        let mut vault = Self::with_config(nothing, port, "", config);
        vault.initialise().await;
        vault
    }

    /// The same with more configuration, such as a second listener.
    pub async fn start_persistent_with(more: &str) -> Self {
        Self::start_persistent_debug(more, "").await
    }

    /// The same with this `GODEBUG`.
    pub async fn start_persistent_debug(more: &str, godebug: &'static str) -> Self {
        let nothing = Kind::Persistent {
            root_token: String::new(),
            unseal_key: String::new(),
        };
        let mut vault = Self::new(nothing, more, godebug);
        vault.initialise().await;
        vault
    }

    /// The same with an audit log in this file.
    pub async fn start_audited(file: &Path) -> Self {
        // OpenBao has its audit devices in its configuration; Vault takes them from its API.
        if servers::is_openbao() {
            let path = file.display();
            let options = format!("options {{ file_path = \"{path}\" }}");
            let device = format!("audit \"file\" \"file\" {{ {options} }}");
            return Self::start_persistent_with(&device).await;
        }
        let vault = Self::start_persistent().await;
        let device = json!({ "type": "file", "options": { "file_path": file } });
        vault.expect("PUT", "sys/audit/file", Some(device)).await;
        vault
    }

    /// Initialises a server with empty storage, and unseals it.
    async fn initialise(&mut self) {
        self.wait_answering().await;
        let shares = json!({"secret_shares": 1, "secret_threshold": 1});
        let (status, keys) = self.request("PUT", "sys/init", Some(shares)).await;
        assert_eq!(status, 200, "sys/init: {keys}");
        let text = |value: &Value| value.as_str().expect("a string").to_owned();
        self.kind = Kind::Persistent {
            root_token: text(&keys["root_token"]),
            unseal_key: text(&keys["keys"][0]),
        };
        self.unseal().await;
    }

    /// The dev server that all tests of this process share; each takes a [`Vault::fixture`].
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Vault> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    fn new(kind: Kind, more: &str, godebug: &'static str) -> Self {
        let port = child::free_port();
        Self::with_config(kind, port, godebug, |dir| file_config(dir, port, more))
    }

    /// A dev server ignores the configuration.
    fn with_config(
        kind: Kind,
        port: u16,
        godebug: &'static str,
        config: impl FnOnce(&TempDir) -> String,
    ) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        launch::write_config(&dir, &config(&dir));
        let child = Mutex::new(launch(&dir, port, &kind, godebug));
        Self {
            dir,
            port,
            kind,
            godebug,
            child,
        }
    }

    /// `http://127.0.0.1:…`
    pub fn address(&self) -> String {
        format!("http://{}", self.socket_address())
    }

    /// The address that it listens on.
    pub fn socket_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The token that may do everything.
    pub fn root_token(&self) -> &str {
        match &self.kind {
            Kind::Dev => "root",
            Kind::Persistent { root_token, .. } => root_token,
        }
    }

    /// Kills it with SIGKILL; its port is closed when this returns.
    pub fn kill(&self) {
        self.child().kill();
    }

    /// Kills it and starts it again on the same port: unsealed, and empty if it is a dev server.
    pub async fn restart(&self) {
        self.relaunch();
        match self.kind {
            Kind::Dev => self.wait_ready().await,
            Kind::Persistent { .. } => {
                self.wait_answering().await;
                self.unseal().await;
            }
        }
    }

    /// The same, but it stays sealed. Not for a dev server.
    pub async fn restart_sealed(&self) {
        self.relaunch();
        self.wait_answering().await;
        assert_eq!(
            self.health().await,
            Some(503),
            "only a persistent server comes back sealed"
        );
    }

    /// Seals it.
    pub async fn seal(&self) {
        let (status, answer) = self.request("PUT", "sys/seal", None).await;
        assert_eq!(status, 204, "sys/seal: {answer}");
        let sealed = async || self.health().await == Some(503);
        wait::until_true("Vault is sealed", READY_LIMIT, sealed).await;
    }

    /// Unseals it. A sealed dev server cannot be unsealed.
    pub async fn unseal(&self) {
        self.unseal_active().await;
        self.wait_ready().await;
    }

    /// The same, but only until it reports that it is active. Returns when that was.
    pub async fn unseal_active(&self) -> Instant {
        let Kind::Persistent { unseal_key, .. } = &self.kind else {
            panic!("the unseal key of a dev server is not known");
        };
        let (status, answer) = self
            .request("PUT", "sys/unseal", Some(json!({ "key": unseal_key })))
            .await;
        assert_eq!(status, 200, "sys/unseal: {answer}");
        let active = async || self.health().await == Some(200);
        wait::until_true("Vault is active", READY_LIMIT, active).await;
        Instant::now()
    }

    /// The status of `sys/health`; `None` while it does not answer.
    pub async fn health(&self) -> Option<u16> {
        self.try_request("GET", "sys/health", None)
            .await
            .ok()
            .map(|(status, _)| status)
    }

    /// What the server wrote to its log.
    pub fn log(&self) -> String {
        self.child().log()
    }

    async fn wait_answering(&self) {
        let answers = async || {
            self.child().expect_alive();
            self.health().await.is_some()
        };
        wait::until_true("Vault answers", READY_LIMIT, answers).await;
    }

    /// It is ready once a mount works: OpenBao reports itself healthy a moment before that.
    async fn wait_ready(&self) {
        let mounts = async || {
            self.child().expect_alive();
            if self.health().await != Some(200) {
                return false;
            }
            let transit = Some(json!({ "type": "transit" }));
            let mounted = self
                .try_request("POST", "sys/mounts/ready-probe", transit)
                .await;
            mounted.is_ok_and(|(status, _)| status < 300)
        };
        wait::until_true("Vault is ready", READY_LIMIT, mounts).await;
        self.request("DELETE", "sys/mounts/ready-probe", None).await;
    }

    fn relaunch(&self) {
        let mut child = self.child();
        child.kill();
        *child = launch(&self.dir, self.port, &self.kind, self.godebug);
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Another plugin, as its users run it: the genuine program if there is one here, else a double.

use std::path::{Path, PathBuf};

use rcgen::KeyPair;
use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use super::double::Double;
use crate::authentication::methods::signed;
use crate::harness::certificates::Certificates;
use crate::harness::child::{self, Child, free_port};
use crate::harness::daemon::{Builder, Daemon};
use crate::harness::kms::KmsClient;
use crate::harness::vault::{Fixture, Vault};
use crate::tls::vault_with_tls;
use crate::{LIMIT, daemon_for};

const ROLE: &str = "peer";

/// Whose place is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    VaultKubernetesKms,
    VaultKmsProvider,
    Kleidi,
    /// Only as a double: its program cannot be had.
    BaoKmsProvider,
}

impl Peer {
    fn genuine(self) -> Option<PathBuf> {
        let variable = match self {
            Self::VaultKubernetesKms => "PEER_VKK_BIN",
            Self::VaultKmsProvider => "PEER_VKP_BIN",
            Self::Kleidi => "PEER_KLEIDI_BIN",
            Self::BaoKmsProvider => return None,
        };
        std::env::var_os(variable).map(PathBuf::from)
    }

    /// Whether it serves KMS v1.
    pub(super) fn has_v1(self) -> bool {
        self == Self::VaultKubernetesKms
    }

    /// What this daemon needs in its file beside the place of Vault while nodes with that plugin remain.
    fn drop_in(self) -> &'static str {
        match self {
            Self::VaultKubernetesKms | Self::VaultKmsProvider | Self::BaoKmsProvider => "",
            Self::Kleidi => "[drop_in]\nplugin = \"kleidi\"",
        }
    }
}

/// A Vault that every peer can log in to.
pub(super) struct Backend {
    pub(super) vault: Vault,
    pub(super) fixture: Fixture,
    certificates: Certificates,
    tls: String,
}

impl Backend {
    pub(super) async fn start() -> Self {
        let certificates = Certificates::new();
        certificates.client("node-1");
        let (vault, fixture, tls) = vault_with_tls(&certificates, "").await;
        vault.enable_auth("cert", "cert").await;
        let role = json!({
            "certificate": certificates.ca_pem(), "token_policies": [fixture.policy],
        });
        let path = format!("auth/cert/certs/{ROLE}");
        vault.expect("POST", &path, Some(role)).await;
        Self {
            vault,
            fixture,
            certificates,
            tls,
        }
    }

    pub(super) async fn rotate(&self) {
        let Fixture { mount, key, .. } = &self.fixture;
        self.vault.rotate(mount, key).await;
    }

    /// Kleidi's configuration.
    pub(super) fn kleidi(&self) -> serde_json::Value {
        let Fixture { mount, key, .. } = &self.fixture;
        json!({
            "namespace": "", "transitkey": key, "vaultrole": ROLE, "address": self.tls,
            "authpath": "cert", "transitpath": mount, "authmethod": "cert",
        })
    }

    /// A login by a JWT that this Vault accepts, at the mount `jwt` with the role `plugin`.
    pub(super) async fn jwt(&self) -> String {
        let key = KeyPair::generate().unwrap();
        self.vault.enable_auth("jwt", "jwt").await;
        let config = json!({ "jwt_validation_pubkeys": [key.public_key_pem()] });
        self.vault
            .expect("POST", "auth/jwt/config", Some(config))
            .await;
        let role = json!({
            "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"],
            "token_policies": [self.fixture.policy],
        });
        self.vault
            .expect("POST", "auth/jwt/role/plugin", Some(role))
            .await;
        signed(&key, "https://issuer.example", "node-1", "vault")
    }

    /// What its process needs in its environment for TLS, as this daemon does.
    pub(super) fn tls_variables(&self, peer: Peer) -> Vec<(&'static str, String)> {
        let path = |name: &str| self.certificates.path(name).display().to_string();
        match peer {
            Peer::VaultKubernetesKms | Peer::VaultKmsProvider | Peer::BaoKmsProvider => Vec::new(),
            Peer::Kleidi => vec![
                ("VAULT_CACERT", path("ca.pem")),
                ("VAULT_TLS_SERVER_NAME", "vault.example".to_owned()),
                ("VAULT_CLIENT_CERT", path("node-1.pem")),
                ("VAULT_CLIENT_KEY", path("node-1.key")),
            ],
        }
    }

    /// This daemon for the same key, on this socket, beside that plugin.
    pub(super) fn daemon(&self, peer: Peer, socket: &Path) -> Builder {
        daemon_for(&self.vault.address(), &self.fixture)
            .listen(socket.to_str().unwrap())
            .extra(peer.drop_in())
    }
}

/// The other plugin, running.
pub(super) struct Plugin {
    process: Process,
    _dir: TempDir,
}

enum Process {
    Genuine(Child),
    Double { _double: Double },
}

impl Plugin {
    /// One that serves this socket.
    pub(super) async fn start(peer: Peer, socket: &Path, backend: &Backend) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let process = match peer.genuine() {
            Some(program) => Process::Genuine(genuine(peer, &program, socket, backend, &dir)),
            None => Process::Double {
                _double: Double::start(peer, socket, &backend.vault, &backend.fixture),
            },
        };
        let plugin = Self { process, _dir: dir };
        KmsClient::connect(socket).wait_ok(LIMIT).await;
        eprintln!("{peer:?} serves: {}", plugin.kind());
        plugin
    }

    fn kind(&self) -> &'static str {
        match self.process {
            Process::Genuine(_) => "the genuine program",
            Process::Double { .. } => "a double",
        }
    }

    /// Ends it as systemd or kubelet would.
    pub(super) async fn stop(self) {
        if let Process::Genuine(mut child) = self.process {
            child.signal(Signal::TERM);
            child.wait_exit(LIMIT).await;
        }
    }
}

fn genuine(peer: Peer, program: &Path, socket: &Path, backend: &Backend, dir: &TempDir) -> Child {
    let Backend { vault, fixture, .. } = backend;
    let socket = socket.to_str().unwrap();
    let log = dir.path().join("log");
    let port = free_port();
    let no_arguments: Vec<String> = Vec::new();
    match peer {
        Peer::VaultKubernetesKms => {
            let arguments = [
                format!("-vault-address={}", vault.address()),
                "-auth-method=token".to_owned(),
                format!("-token={}", fixture.token),
                format!("-transit-mount={}", fixture.mount),
                format!("-transit-key={}", fixture.key),
                format!("-socket=unix://{socket}"),
                "-force-socket-overwrite".to_owned(),
                format!("-health-port={port}"),
            ];
            Child::spawn(program, &arguments, &log, |command| {
                child::clean_environment(command);
            })
        }
        Peer::VaultKmsProvider => Child::spawn(program, &no_arguments, &log, |command| {
            child::clean_environment(command);
            command
                .env("SOCKET_PATH", socket)
                .env("HTTP_ADDRESS", format!("127.0.0.1:{port}"))
                .env("VAULT_ADDRESS", vault.address())
                .env("VAULT_TOKEN", &fixture.token)
                .env("VAULT_TRANSIT_MOUNT", &fixture.mount)
                .env("VAULT_TRANSIT_KEY", &fixture.key);
        }),
        Peer::Kleidi => {
            let file = dir.path().join("config.json");
            std::fs::write(&file, backend.kleidi().to_string()).unwrap();
            let arguments = [
                format!("-listen=unix://{socket}"),
                "-provider=hvault".to_owned(),
                format!("-configfile={}", file.display()),
            ];
            Child::spawn(program, &arguments, &log, |command| {
                child::clean_environment(command);
                command.envs(backend.tls_variables(peer));
            })
        }
        Peer::BaoKmsProvider => unreachable!("it is always a double"),
    }
}

/// This daemon on that socket, ready.
pub(super) async fn ours(peer: Peer, socket: &Path, backend: &Backend) -> Daemon {
    let daemon = backend.daemon(peer, socket).spawn().await;
    KmsClient::connect(socket).wait_ok(LIMIT).await;
    daemon
}

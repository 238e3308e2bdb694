//! JWTs from a SPIFFE Workload API, for a real Vault that trusts the agent's key.

use std::path::Path;
use std::sync::Arc;

use rcgen::KeyPair;
use serde_json::json;
use tonic::{Code, Status};

use super::super::harness::daemon::{Builder, Daemon};
use super::super::harness::kms::KmsClient;
use super::super::harness::vault::{Fixture, Vault};
use super::super::harness::wait;
use super::super::harness::workload_api::WorkloadApi;
use super::super::{LIMIT, daemon_at};
use super::methods::{mounted, signed, works};
use super::{SEED, refused};

const PLUGIN: &str = "spiffe://example.org/vault-kms-plugin";
const OTHER: &str = "spiffe://example.org/another";

/// A Vault that accepts the plugin's identity alone, and the signing key of the agent.
struct Case {
    vault: &'static Vault,
    fixture: Fixture,
    mount: String,
    key: Arc<KeyPair>,
    dir: tempfile::TempDir,
}

impl Case {
    async fn new() -> Self {
        let vault = Vault::shared().await;
        let fixture = vault.fixture().await;
        let mount = mounted(vault, "jwt", &fixture).await;
        let key = KeyPair::generate().unwrap();
        let config = json!({ "jwt_validation_pubkeys": [key.public_key_pem()] });
        let path = format!("auth/{mount}/config");
        vault.expect("POST", &path, Some(config)).await;
        let role = json!({
            "role_type": "jwt",
            "user_claim": "sub",
            "bound_audiences": ["vault"],
            "bound_subject": PLUGIN,
            "token_policies": [fixture.policy],
            "token_ttl": "3s",
            "token_max_ttl": "3s",
        });
        let path = format!("auth/{mount}/role/plugin");
        vault.expect("POST", &path, Some(role)).await;
        Self {
            vault,
            fixture,
            mount,
            key: Arc::new(key),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn socket(&self) -> std::path::PathBuf {
        self.dir.path().join("agent.sock")
    }

    /// An agent that offers these identities.
    fn agent(&self, ids: &'static [&'static str]) -> WorkloadApi {
        let key = Arc::clone(&self.key);
        WorkloadApi::serve(&self.socket(), move |audience| {
            let svid = |id: &&str| ((*id).to_owned(), signed(&key, "agent", id, audience));
            Ok(ids.iter().map(svid).collect())
        })
    }

    async fn daemon(&self, more: &str) -> Daemon {
        self.daemon_with(&self.socket(), more).await
    }

    async fn daemon_with(&self, socket: &Path, more: &str) -> Daemon {
        let socket = format!("spiffe_socket = \"unix://{}\"\n", socket.display());
        self.builder(&(socket + more)).spawn().await
    }

    fn builder(&self, more: &str) -> Builder {
        let auth = format!(
            "[auth]\nmethod = \"jwt\"\nmount = \"{}\"\nrole = \"plugin\"\nspiffe_audience = \"vault\"\n{more}\n[log]\nlevel = \"trace\"",
            self.mount
        );
        daemon_at(&self.vault.address(), &self.fixture).extra(&auth)
    }
}

async fn each_login_has_a_jwt_of_its_own_from_the_agent() {
    let case = Case::new().await;
    let agent = case.agent(&[PLUGIN]);
    let daemon = case.daemon("").await;
    works(&daemon).await;
    let client = KmsClient::connect(daemon.socket());
    // The lease expires after 3 s, so each is a new login.
    wait::until_true("three logins", LIMIT, async || {
        client.encrypt(&SEED).await.unwrap();
        daemon.log().matches("logged in to Vault").count() >= 3
    })
    .await;
    assert!(agent.calls() >= 3, "{} calls", agent.calls());
    // The beginning of every JWT that the agent signed.
    let jwt = signed(&case.key, "agent", PLUGIN, "vault");
    let (head, _) = jwt.split_once('.').unwrap();
    assert!(!daemon.log().contains(head), "{}", daemon.log());
}

async fn of_several_identities_the_wanted_one_logs_in() {
    let case = Case::new().await;
    let agent = case.agent(&[OTHER, PLUGIN]);
    let daemon = case.daemon("").await;
    refused(&daemon, Code::PermissionDenied, &["login by jwt failed"]).await;
    let wanted = format!("spiffe_id = \"{PLUGIN}\"\nspiffe_trust_domain = \"example.org\"");
    // The variable of the host names the agent's socket.
    let socket = case.socket().to_string_lossy().into_owned();
    let builder = case.builder(&wanted);
    let daemon = builder.env("SPIFFE_ENDPOINT_SOCKET", &socket).spawn().await;
    works(&daemon).await;
    assert!(agent.calls() >= 2);
}

async fn an_identity_of_another_trust_domain_is_rejected_without_a_login() {
    let case = Case::new().await;
    let _agent = case.agent(&[PLUGIN]);
    let daemon = case.daemon("spiffe_trust_domain = \"example.com\"").await;
    let texts = ["auth.spiffe_trust_domain example.com", PLUGIN];
    refused(&daemon, Code::PermissionDenied, &texts).await;
    let daemon = case
        .daemon("spiffe_id = \"spiffe://example.org/nobody\"")
        .await;
    let texts = ["no identity", "auth.spiffe_id spiffe://example.org/nobody"];
    refused(&daemon, Code::PermissionDenied, &texts).await;
}

async fn an_unavailable_agent_is_retried_until_it_answers() {
    let case = Case::new().await;
    let daemon = case.daemon("").await;
    let texts = ["auth.spiffe_socket", "agent.sock", "start the SPIFFE agent"];
    refused(&daemon, Code::Unavailable, &texts).await;
    let _agent = case.agent(&[PLUGIN]);
    works(&daemon).await;
}

async fn the_error_for_a_process_without_an_entry_asks_for_one() {
    let case = Case::new().await;
    let agent = WorkloadApi::serve(&case.socket(), |_| {
        Err(Status::permission_denied("no identity issued"))
    });
    let daemon = case.daemon("").await;
    let texts = ["no identity issued", "register an entry", "unix:uid:"];
    refused(&daemon, Code::PermissionDenied, &texts).await;
    drop(agent);
    let _agent = case.agent(&[PLUGIN]);
    works(&daemon).await;
}

async fn an_unresponsive_agent_is_not_waited_for_indefinitely() {
    let case = Case::new().await;
    // It accepts, and never answers.
    let socket = case.dir.path().join("silent.sock");
    let _silent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let daemon = case.daemon_with(&socket, "").await;
    daemon.logged("no answer in time from").await;
    std::fs::remove_file(&socket).unwrap();
    let _agent = case.agent(&[PLUGIN]);
    std::fs::rename(case.socket(), &socket).unwrap();
    works(&daemon).await;
}

tests! {
    single each_login_has_a_jwt_of_its_own_from_the_agent [Vault];
    single of_several_identities_the_wanted_one_logs_in [Vault];
    single an_identity_of_another_trust_domain_is_rejected_without_a_login [Vault];
    single an_unavailable_agent_is_retried_until_it_answers [Vault];
    single the_error_for_a_process_without_an_entry_asks_for_one [Vault];
    single an_unresponsive_agent_is_not_waited_for_indefinitely [Vault];
}

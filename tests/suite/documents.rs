//! docs/authentication.md is true: each section's commands are run against a real Vault, and the
//! daemon is started with the section's configuration.

mod failure_modes;
pub(super) mod markdown;
mod runbook;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair};
use serde_json::json;
use tempfile::TempDir;

use super::LIMIT;
use super::authentication::signed;
use super::harness::certificates::Certificates;
use super::harness::daemon::Daemon;
use super::harness::kms::KmsClient;
use super::harness::kubernetes::{Etcd, KubeApiserver};
use super::harness::operator;
use super::harness::servers::{self, Server};
use super::harness::vault::Vault;
use super::harness::workload_api::WorkloadApi;
use super::tls::vault_with_tls;
use markdown::Page;

/// The section before every method.
const FIRST: &str = "Before any method";
/// The directory of the node, in the page's configurations.
const NODE: &str = "/etc/vault-kms-plugin/";
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const SERVICE_ACCOUNT: &str = "system:serviceaccount:kube-system:vault-kms-plugin";
const SPIFFE_ID: &str = "spiffe://example.org/vault-kms-plugin";

/// Every section that holds commands has its line here, and its test below.
const SECTIONS: [&str; 9] = [
    "Namespaces",
    "token",
    "approle",
    "approle with a wrapped secret_id",
    "jwt with a file",
    "jwt from SPIFFE",
    "kubernetes",
    "userpass",
    "cert",
];

fn page() -> Page {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    Page::read(&root.join("docs/authentication.md"))
}

/// A directory of an operator with a fresh Vault, and what the page's names stand for in it.
struct Scene {
    page: Page,
    vault: Vault,
    dir: TempDir,
    names: Vec<(String, String)>,
}

impl Scene {
    async fn new() -> Self {
        let vault = Vault::start().await;
        let address = vault.address();
        Self::on(vault, &address).await
    }

    /// On this Vault, which the daemon finds at `address`.
    async fn on(vault: Vault, address: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("bin")).unwrap();
        symlink(servers::binary(Server::Vault), path("bin/vault")).unwrap();
        fs::create_dir(path("deploy")).unwrap();
        let policy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/policy.hcl");
        fs::copy(policy, path("deploy/policy.hcl")).unwrap();
        let node = format!("{}/", dir.path().display());
        let names = vec![
            ("https://vault.example:8200".to_owned(), address.to_owned()),
            (NODE.to_owned(), node),
        ];
        let scene = Self {
            page: page(),
            vault,
            dir,
            names,
        };
        scene.write("ca.pem", &certificate());
        scene.run(&scene.page.blocks(FIRST, "sh")).await;
        scene
    }

    /// In the page, `name` means `value`.
    fn means(mut self, name: &str, value: &str) -> Self {
        self.names.insert(0, (name.to_owned(), value.to_owned()));
        self
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.dir.path().join(name), content).unwrap();
    }

    fn meant(&self, text: &str) -> String {
        let replace = |text: String, (name, value): &(String, String)| text.replace(name, value);
        self.names.iter().fold(text.to_owned(), replace)
    }

    /// Runs each block in a shell of its own, as an operator who pastes it would.
    async fn run(&self, blocks: &[String]) {
        assert!(!blocks.is_empty(), "no commands");
        let variables = [
            ("VAULT_ADDR".to_owned(), self.vault.address()),
            ("VAULT_TOKEN".to_owned(), self.vault.root_token().to_owned()),
        ];
        for block in blocks {
            let text = self.meant(block);
            operator::run(self.dir.path(), &text, &variables).await;
        }
    }

    /// Runs the section's commands.
    async fn prepare(&self, section: &str) {
        self.run(&self.page.blocks(section, "sh")).await;
    }

    /// A daemon with the page's configuration, which encrypts and decrypts.
    async fn login(&self, section: &str) -> Daemon {
        let mut builder = Daemon::builder();
        for text in self.page.blocks(FIRST, "toml") {
            builder = builder.extra(&self.meant(&text));
        }
        let own = self.page.blocks(section, "toml");
        assert!(!own.is_empty(), "no configuration");
        for text in own {
            builder = builder.extra(&self.meant(&text));
        }
        let daemon = builder.spawn().await;
        let client = KmsClient::connect(daemon.socket());
        client.wait_ok(LIMIT).await;
        let (ciphertext, key_id) = client
            .encrypt(b"a seed of thirty-two bytes, nice")
            .await
            .unwrap();
        let seed = client.decrypt(&ciphertext, &key_id).await.unwrap();
        assert_eq!(seed, b"a seed of thirty-two bytes, nice");
        daemon
    }
}

/// A CA's certificate that signs nothing.
fn certificate() -> String {
    let key = KeyPair::generate().unwrap();
    let parameters = CertificateParams::new(vec!["ca.example".to_owned()]).unwrap();
    parameters.self_signed(&key).unwrap().pem()
}

fn every_section_with_commands_is_proven() {
    let mut named = SECTIONS.to_vec();
    named.push(FIRST);
    let page = page();
    let mut written = page.sections_with("sh");
    named.sort_unstable();
    written.sort_unstable();
    assert_eq!(written, named);
}

async fn the_page_is_right_about_namespaces() {
    let scene = Scene::new().await;
    scene.prepare("Namespaces").await;
    scene.login("Namespaces").await;
}

async fn the_page_is_right_about_token() {
    let scene = Scene::new().await;
    scene.prepare("token").await;
    scene.login("token").await;
}

async fn the_page_is_right_about_approle() {
    let scene = Scene::new().await;
    scene.prepare("approle").await;
    scene.login("approle").await;
}

async fn the_page_is_right_about_a_wrapped_secret_id() {
    let scene = Scene::new().await;
    let state = scene.dir.path().join("state");
    fs::create_dir(&state).unwrap();
    let scene = scene.means("/var/lib/vault-kms-plugin", state.to_str().unwrap());
    let section = "approle with a wrapped secret_id";
    scene.prepare(section).await;
    scene.login(section).await;
    assert!(state.join("kms.sock.secret-id.json").exists());
}

async fn the_page_is_right_about_userpass() {
    let scene = Scene::new().await;
    scene.prepare("userpass").await;
    scene.login("userpass").await;
}

async fn the_page_is_right_about_cert() {
    let certificates = Certificates::new();
    certificates.server("127.0.0.1");
    for kind in ["pem", "key"] {
        certificates.link(
            &format!("127.0.0.1.{kind}"),
            &format!("vault.example.{kind}"),
        );
    }
    certificates.client("system:node:cp-1");
    let (vault, _, address) = vault_with_tls(&certificates, "").await;
    let scene = Scene::on(vault, &address).await;
    let kubelets = certificates.path("system:node:cp-1.both");
    let name = "/var/lib/kubelet/pki/kubelet-client-current.pem";
    let scene = scene.means(name, kubelets.to_str().unwrap());
    for name in ["ca.pem", "kubernetes-ca.pem"] {
        scene.write(name, &certificates.ca_pem());
    }
    scene.prepare("cert").await;
    scene.login("cert").await;
}

async fn the_page_is_right_about_jwt_with_a_file() {
    let scene = Scene::new().await;
    let key = KeyPair::generate().unwrap();
    scene.write("sa.pub", &key.public_key_pem());
    scene.write("jwt", &signed(&key, ISSUER, SERVICE_ACCOUNT, "vault"));
    scene.prepare("jwt with a file").await;
    scene.login("jwt with a file").await;
}

async fn the_page_is_right_about_jwt_from_spiffe() {
    let key = KeyPair::generate().unwrap();
    let (keys, _server) = serve_keys(&key).await;
    let scene = Scene::new().await;
    let socket = scene.dir.path().join("api.sock");
    let agent = WorkloadApi::serve(&socket, move |audience| {
        let svid = signed(&key, "spire", SPIFFE_ID, audience);
        Ok(vec![(SPIFFE_ID.to_owned(), svid)])
    });
    let scene = scene
        .means("https://oidc.example.org/keys", &keys)
        .means("/run/spire/agent/public/api.sock", socket.to_str().unwrap());
    scene.prepare("jwt from SPIFFE").await;
    scene.login("jwt from SPIFFE").await;
    assert_eq!(agent.calls(), 1);
}

/// Serves the public key as SPIRE's OIDC discovery provider does, for as long as the set lives.
async fn serve_keys(key: &KeyPair) -> (String, tokio::task::JoinSet<()>) {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    // An uncompressed point: 4, then the two coordinates.
    let (x, y) = key.public_key_raw()[1..].split_at(32);
    let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let jwk = json!({ "kty": "EC", "crv": "P-256", "use": "sig", "kid": "1", "x": encoded(x), "y": encoded(y) });
    let body = json!({ "keys": [jwk] }).to_string();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/keys", listener.local_addr().unwrap());
    let router = axum::Router::new().route(
        "/keys",
        axum::routing::get(move || std::future::ready(body.clone())),
    );
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let _ = axum::serve(listener, router).await;
    });
    (address, tasks)
}

async fn the_page_is_right_about_kubernetes() {
    let etcd = Etcd::start().await;
    let kubernetes = KubeApiserver::start(&etcd, None, None).await;
    let scene = Scene::new().await;
    let scene = scene.means("https://kube.example:6443", &kubernetes.address());
    kubernetes.create_namespace("kube-system").await;
    scene.write("kubeconfig", &kubeconfig(&kubernetes));
    scene.run(&scene.page.blocks("kubernetes", "console")).await;
    scene.prepare("kubernetes").await;
    scene.login("kubernetes").await;
}

/// Lets kubectl do everything.
pub(super) fn kubeconfig(kubernetes: &KubeApiserver) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "admin" } }],
        "clusters": [{ "name": "test", "cluster": {
            "server": kubernetes.address(),
            "certificate-authority-data": STANDARD.encode(kubernetes.ca_pem()),
        } }],
        "users": [{ "name": "admin", "user": { "token": kubernetes.admin_token() } }],
    })
    .to_string()
}

tests! {
    [failure_modes, markdown, runbook]
    plain every_section_with_commands_is_proven;
    single the_page_is_right_about_namespaces [OpenBao];
    single the_page_is_right_about_token [Vault];
    single the_page_is_right_about_approle [Vault];
    single the_page_is_right_about_a_wrapped_secret_id [Vault];
    single the_page_is_right_about_userpass [Vault];
    single the_page_is_right_about_cert [Vault];
    single the_page_is_right_about_jwt_with_a_file [Vault];
    single the_page_is_right_about_jwt_from_spiffe [Vault];
    single the_page_is_right_about_kubernetes [Vault, Kubernetes, Kubectl];
}

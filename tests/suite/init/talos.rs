//! docs/install/talos.md without Talos: the pod and the EncryptionConfiguration of the page, a plugin that has only
//! its environment, and kube-apiserver over an abstract socket.

use rustix::process::Uid;
use rustix::thread::set_thread_res_uid;
use serde_json::Value;

use super::{Site, root};
use crate::LIMIT;
use crate::documents::markdown::Page;
use crate::harness::daemon::Daemon;
use crate::harness::kms::KmsClient;
use crate::harness::kubernetes::{Etcd, KubeApiserver};
use crate::harness::vault::Vault;

const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const SOCKET: &str = "@vault-kms-plugin";

fn page() -> Page {
    Page::read(&root().join("docs/install/talos.md"))
}

/// The pod of the page as a manifest.
fn manifest() -> String {
    let patch = page().blocks("Plugin", "yaml").concat();
    let (_, pod) = patch.split_once("\npod:\n").unwrap();
    let lines = pod.lines().map(|line| line.strip_prefix("  ").unwrap());
    lines.map(|line| format!("{line}\n")).collect()
}

/// What is below `config` in Talos's document, which Talos writes to a file.
fn encryption_config(socket: &str) -> String {
    let document = page().blocks("Readers on every node", "yaml").concat();
    let (_, config) = document.split_once("config:\n").unwrap();
    let lines = config.lines().map(|line| line.strip_prefix("  ").unwrap());
    let config: String = lines.map(|line| format!("{line}\n")).collect();
    let config = config
        .replace("… # as it is", KEY)
        .replace("unix:///@vault-kms-plugin", &format!("unix:///{socket}"));
    format!("apiVersion: v1\nkind: EncryptionConfig\n{config}")
}

/// The variables of the container.
fn variables(pod: &Value) -> Vec<(String, String)> {
    let variables = pod["spec"]["containers"][0]["env"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let variables = variables.iter();
    variables
        .map(|one| (text(&one["name"]), text(&one["value"])))
        .collect()
}

/// Whether a process of this user is, as kube-apiserver on Talos.
fn is_served(socket: &str, uid: u32) -> bool {
    let socket = socket.to_owned();
    // Of this thread alone: users belong to threads.
    let asked = std::thread::spawn(move || {
        let uid = Some(Uid::from_raw(uid));
        set_thread_res_uid(uid, uid, uid).unwrap();
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        runtime
            .block_on(KmsClient::connect(socket).status())
            .is_ok()
    });
    asked.join().unwrap()
}

async fn the_page_leads_to_encrypted_secrets_beside_those_of_before() {
    let etcd = Etcd::start().await;
    // Abstract names are those of the whole host.
    let socket = format!("{SOCKET}-{}", fastrand::u64(..));
    let secretbox = encryption_config(&socket);
    let (before, _) = secretbox.split_once("      - kms:").unwrap();
    let kubernetes = KubeApiserver::start(&etcd, Some(before), None).await;
    kubernetes
        .create_service_account("kube-system", "default")
        .await;
    let path = "/api/v1/namespaces/kube-system/pods";
    let (code, pod) = kubernetes.dry_run(path, &manifest()).await;
    assert_eq!(code, 201, "{pod}");
    assert_eq!(pod["spec"]["hostNetwork"], true);

    let vault = Vault::start().await;
    let site = Site::new(
        &vault.address(),
        &["--platform", "static-pod", "--auth", "token"],
    );
    site.set_up(&vault, "").await;
    site.set_up(&vault, "node cp-1").await;
    let token = site.path("nodes/cp-1/token").display().to_string();
    let state = tempfile::tempdir().unwrap();
    let daemon = Daemon::builder().listen(&socket).config("");
    let admin = daemon.admin_address().to_owned();
    let daemon = variables(&pod)
        .into_iter()
        .fold(daemon, |daemon, (name, value)| {
            let value = match name.as_str() {
                "VAULT_KMS_PLUGIN_SOCKET_PATH" => socket.clone(),
                "VAULT_KMS_PLUGIN_STATE_DIR" => state.path().display().to_string(),
                "VAULT_KMS_PLUGIN_VAULT_ADDRESS" => vault.address(),
                // Over plain HTTP on loopback nobody reads it.
                "VAULT_KMS_PLUGIN_VAULT_CA_FILE" => String::new(),
                "VAULT_KMS_PLUGIN_AUTH_TOKEN_FILE" => token.clone(),
                _ => value,
            };
            daemon.env(&name, &value)
        });
    let daemon = daemon.env("VAULT_KMS_PLUGIN_ADMIN_LISTEN", &admin);
    let daemon = daemon.arguments(&["serve"]).spawn_raw();
    let client = KmsClient::connect(&socket);
    client.wait_ok(LIMIT).await;
    assert!(daemon.log().contains("65534"), "{}", daemon.log());
    assert!(is_served(&socket, 65534));
    assert!(!is_served(&socket, 4242));

    let create = async |name: &str| {
        let (code, answer) = kubernetes.create_secret("default", name, name).await;
        assert_eq!(code, 201, "{answer}");
        let key = format!("/registry/secrets/default/{name}");
        let stored = etcd.range(&key).await;
        String::from_utf8_lossy(&stored[0].1[..18]).into_owned()
    };
    assert!(create("before").await.starts_with("k8s:enc:secretbox:"));
    kubernetes.write_encryption(&secretbox);
    kubernetes.restart().await;
    assert!(create("step-1").await.starts_with("k8s:enc:secretbox:"));
    let (_, kms) = secretbox.split_once("      - kms:").unwrap();
    let (head, old) = before.split_once("providers:\n").unwrap();
    let writer = format!("{head}providers:\n      - kms:{kms}{old}");
    kubernetes.write_encryption(&writer);
    kubernetes.restart().await;
    assert!(create("step-2").await.starts_with("k8s:enc:kms:v2:"));
    for name in ["before", "step-1", "step-2"] {
        let read = kubernetes.read_secret("default", name).await;
        assert_eq!(read.as_deref(), Ok(name));
    }
}

tests! {
    multi the_page_leads_to_encrypted_secrets_beside_those_of_before [Vault, Kubernetes, Root];
}

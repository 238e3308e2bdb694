//! docs/migrate: the page of each plugin, followed to its end and back under a kube-apiserver.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::plugin::{Backend, Peer, Plugin};
use crate::LIMIT;
use crate::authentication::approle::AppRole;
use crate::documents::markdown::Page;
use crate::harness::daemon::Daemon;
use crate::harness::kms::KmsClient;
use crate::harness::kubernetes::{EncryptionConfiguration, Etcd, KubeApiserver};
use crate::operations::Shell;
use crate::surfaces::bound::golden;

const FILE: &str = "/etc/kubernetes/enc/encryption.yaml";
const INSTALLED: &str = "/etc/vault-kms-plugin";
const NAMESPACE: &str = "default";
const SECRETS: usize = 20;

/// The manifest of a plugin that sees the files of its node at their paths.
fn pod(name: &str, arguments: &str, variables: &[(&str, String)]) -> String {
    let list = |lines: Vec<String>| lines.join("\n");
    let arguments = arguments.lines().map(|it| format!("        - \"{it}\""));
    let variables = variables
        .iter()
        .map(|(name, value)| format!("        - {{ name: {name}, value: \"{value}\" }}"));
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: kube-system\nspec:\n  hostNetwork: true\n  \
         containers:\n    - name: {name}\n      image: registry.example/{name}:latest\n      command:\n        - /{name}\n{}\n      \
         env:\n{}\n      volumeMounts:\n        - {{ name: tmp, mountPath: /tmp }}\n  volumes:\n    - name: tmp\n      \
         hostPath: {{ path: /tmp }}\n",
        list(arguments.collect()),
        list(variables.collect())
    )
}

/// The settings of the other plugin where its page has them, and the page's words for the places.
async fn settings(
    peer: Peer,
    socket: &Path,
    backend: &Backend,
    dir: &Path,
) -> Vec<(String, String)> {
    let (vault, fixture) = (backend.vault.address(), &backend.fixture);
    let socket = socket.display();
    let of = |from: &str, to: String| vec![(from.to_owned(), to)];
    match peer {
        Peer::VaultKubernetesKms => {
            let file = dir.join("vault-kubernetes-kms.yaml");
            let arguments = format!(
                "-vault-address={vault}\n-auth-method=token\n-token={}\n-transit-mount={}\n-transit-key={}\n\
                 -socket=unix://{socket}\n-health-port=0",
                fixture.token, fixture.mount, fixture.key
            );
            fs::write(&file, pod("vault-kubernetes-kms", &arguments, &[])).unwrap();
            of(
                "/etc/kubernetes/manifests/vault-kubernetes-kms.yaml",
                file.display().to_string(),
            )
        }
        Peer::VaultKmsProvider => {
            let variables = format!(
                "SOCKET_PATH={socket}\nHTTP_ADDRESS=127.0.0.1:0\nVAULT_ADDRESS={vault}\nVAULT_TOKEN={}\n\
                 VAULT_TRANSIT_MOUNT={}\nVAULT_TRANSIT_KEY={}\n",
                fixture.token, fixture.mount, fixture.key
            );
            fs::write(dir.join("vault-kms-provider.env"), variables).unwrap();
            Vec::new()
        }
        Peer::Kleidi => {
            let file = dir.join("kleidi-kms-plugin.yaml");
            let arguments =
                format!("-listen=unix://{socket}\n-provider=hvault\n-configfile=config.json");
            let variables = backend.tls_variables(peer);
            fs::write(&file, pod("kleidi-kms-plugin", &arguments, &variables)).unwrap();
            fs::write(dir.join("config.json"), backend.kleidi().to_string()).unwrap();
            of(
                "/etc/kubernetes/manifests/kleidi-kms-plugin.yaml",
                file.display().to_string(),
            )
        }
        Peer::BaoKmsProvider => {
            let file = dir.join("config.yaml");
            let jwt = dir.join("jwt");
            fs::write(&jwt, backend.jwt().await).unwrap();
            let golden = golden();
            let text = format!(
                "configVersion: v1alpha1\nserver:\n  socketPath: {socket}\nopenbao:\n  address: {vault}\n  instanceId: {}\n\
                 auth:\n  method: jwt\n  jwt:\n    mountPath: auth/jwt\n    role: plugin\n    jwtFile: {}\ntransit:\n  \
                 mountPath: {}\n  keyName: {}\n  keyIdScope:\n    providerName: {}\n    clusterId: {}\n",
                golden["instance_id"],
                jwt.display(),
                fixture.mount,
                fixture.key,
                golden["provider_name"],
                golden["cluster_id"],
            );
            fs::write(&file, text).unwrap();
            of("/etc/openbao-kms/config.yaml", file.display().to_string())
        }
    }
}

fn page(peer: Peer) -> Page {
    let name = match peer {
        Peer::VaultKubernetesKms => "vault-kubernetes-kms",
        Peer::VaultKmsProvider => "vault-kms-provider",
        Peer::Kleidi => "kleidi",
        Peer::BaoKmsProvider => "bao-kms-provider",
    };
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/migrate");
    Page::read(&docs.join(format!("from-{name}.md")))
}

/// A node that follows the page.
struct Node {
    peer: Peer,
    backend: Backend,
    etcd: Etcd,
    kubernetes: KubeApiserver,
    shell: Shell,
    socket: PathBuf,
    page: Page,
}

impl Node {
    async fn start(peer: Peer) -> (Self, Plugin) {
        let backend = Backend::start().await;
        if peer == Peer::BaoKmsProvider {
            // The published vector is of version 3.
            backend.rotate().await;
            backend.rotate().await;
        }
        let shell = Shell::new();
        let dir = shell.dir.path().to_owned();
        let socket = dir.join("run/kms.sock");
        fs::create_dir(dir.join("run")).unwrap();
        let plugin = Plugin::start(peer, &socket, &backend).await;
        let etcd = Etcd::start().await;
        let yaml = EncryptionConfiguration::v2(&socket);
        let kubernetes = KubeApiserver::start(&etcd, Some(&yaml), None).await;
        let file = dir.join("encryption.yaml");
        fs::write(&file, yaml).unwrap();
        let installed = dir.join("installed").display().to_string();
        let convert = format!("vault-kms-plugin convert --install-dir {installed}");
        let mut shell = shell
            .of_cluster(&kubernetes, &etcd)
            .means("vault-kms-plugin convert", &convert)
            .means(INSTALLED, &installed)
            .means(FILE, file.to_str().unwrap())
            .set(
                "VAULT_KMS_PLUGIN_CONFIG",
                &format!("{installed}/config.toml"),
            );
        for (name, value) in settings(peer, &socket, &backend, &dir).await {
            shell = shell.means(&name, &value);
        }
        let node = Self {
            peer,
            backend,
            etcd,
            kubernetes,
            shell,
            socket,
            page: page(peer),
        };
        (node, plugin)
    }

    async fn run(&self, section: &str) -> String {
        let printed = self.shell.run(&self.page.blocks(section, "sh")).await;
        eprintln!("{section}\n{printed}");
        printed
    }

    /// This plugin with what `convert` wrote.
    async fn start_converted(&self) -> Daemon {
        let config = self.shell.dir.path().join("installed/config.toml");
        eprintln!("{}", fs::read_to_string(&config).unwrap());
        let mut builder = Daemon::builder()
            .listen(self.socket.to_str().unwrap())
            .arguments(&["serve", "--config", config.to_str().unwrap()])
            .env("VAULT_KMS_PLUGIN_ADMIN_LISTEN", "");
        for (name, value) in self.backend.tls_variables(self.peer) {
            builder = builder.env(name, &value);
        }
        let daemon = builder.spawn().await;
        KmsClient::connect(&self.socket).wait_ok(LIMIT).await;
        daemon
    }

    async fn write(&self, prefix: &str) {
        for number in 0..SECRETS {
            let name = format!("{prefix}-{number}");
            let (code, answer) = self.kubernetes.create_secret(NAMESPACE, &name, &name).await;
            assert_eq!(code, 201, "{answer}");
        }
    }

    async fn assert_all_are_ours(&self) {
        for (key, value) in self.etcd.range("/registry/secrets/").await {
            let text = String::from_utf8_lossy(&value);
            let key = String::from_utf8_lossy(&key);
            assert!(text.contains("transit1:"), "{key}");
        }
    }

    /// By a kube-apiserver that has no seed in memory.
    async fn assert_readable(&self, prefixes: &[&str]) {
        self.kubernetes.restart().await;
        let listed = self.kubernetes.list_secrets(NAMESPACE).await.unwrap();
        for prefix in prefixes {
            for number in 0..SECRETS {
                let name = format!("{prefix}-{number}");
                assert_eq!(listed.get(&name), Some(&name));
            }
        }
    }
}

/// To the end of the page, from which bao-kms-provider does not come back.
async fn there(peer: Peer) {
    let (node, plugin) = Node::start(peer).await;
    node.write("theirs").await;
    node.run("Convert").await;
    let tried = node.run("Try it beside the old one").await;
    assert!(tried.contains("; 0 cannot;"), "{tried}");
    plugin.stop().await;
    let _daemon = node.start_converted().await;
    node.assert_readable(&["theirs"]).await;
    node.write("ours").await;
    node.run("Replace").await;
    node.assert_all_are_ours().await;
    node.assert_readable(&["theirs", "ours"]).await;
}

/// docs/migrate/from-vault-kube-kms.md: what the old plugin stores is read by it alone, whatever it is.
async fn objects_of_vault_kube_kms_move_while_it_reads_by_the_guide() {
    let backend = Backend::start().await;
    let role = AppRole::new(&backend.vault, &backend.fixture, json!({})).await;
    let shell = Shell::new();
    let dir = shell.dir.path().to_owned();
    let path = |name: &str| dir.join(name).display().to_string();
    let (old, new) = (dir.join("old.sock"), dir.join("new.sock"));
    let _plugin = Plugin::start(Peer::VaultKubernetesKms, &old, &backend).await;
    let etcd = Etcd::start().await;
    let name = [("v2", "vault-kube-kms")];
    let yaml = EncryptionConfiguration::providers(&old, &name);
    let kubernetes = KubeApiserver::start(&etcd, Some(&yaml), None).await;
    let create = async |name: &str| {
        let (code, answer) = kubernetes.create_secret(NAMESPACE, name, name).await;
        assert_eq!(code, 201, "{answer}");
    };
    create("theirs").await;
    fs::write(dir.join("secret-id"), &role.secret_id).unwrap();
    let variables = format!(
        "VAULT_KUBE_KMS_VAULT_ADDRESS={}\nVAULT_KUBE_KMS_VAULT_KEY_PATH={}/keys/{}\nVAULT_KUBE_KMS_AUTH_MOUNT={}\n\
         VAULT_KUBE_KMS_APPROLE_ROLE_ID={}\nVAULT_KUBE_KMS_APPROLE_SECRET_ID_PATH={}\n\
         VAULT_KUBE_KMS_LISTEN_ADDRESS=unix://{}\n",
        backend.vault.address(),
        backend.fixture.mount,
        backend.fixture.key,
        role.mount,
        role.role_id,
        path("secret-id"),
        old.display()
    );
    fs::write(dir.join("vault-kube-kms.env"), variables).unwrap();
    let files = path("vault-kms-plugin-files");
    let shell = shell
        .of_cluster(&kubernetes, &etcd)
        .means(
            "vault-kms-plugin convert",
            &format!("vault-kms-plugin convert --install-dir {files}"),
        )
        .means(FILE, &path("encryption.yaml"))
        .set("VAULT_KMS_PLUGIN_CONFIG", &format!("{files}/config.toml"))
        .set("VAULT_TOKEN", &backend.fixture.token);
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/migrate");
    let page = Page::read(&docs.join("from-vault-kube-kms.md"));
    shell.run(&page.blocks("Convert", "sh")).await;

    // A socket of its own, and none of the old plugin's ports.
    let config = dir.join("vault-kms-plugin-files/config.toml");
    let mut table: toml::Table = fs::read_to_string(&config).unwrap().parse().unwrap();
    assert!(table.remove("drop_in").is_some(), "{table}");
    let own = page.blocks("Convert", "toml").concat();
    let own = own.replace("/run/vault-kms-plugin/kms.sock", new.to_str().unwrap());
    table.extend(own.parse::<toml::Table>().unwrap());
    table.insert("state".to_owned(), toml::toml! { dir = "state" }.into());
    let text = table
        .to_string()
        .replace("\"state\"", &format!("{:?}", path("state")));
    fs::create_dir(dir.join("state")).unwrap();
    fs::write(&config, text).unwrap();
    let daemon = Daemon::builder()
        .listen(new.to_str().unwrap())
        .arguments(&["serve", "--config", config.to_str().unwrap()])
        .env("VAULT_KMS_PLUGIN_ADMIN_LISTEN", "");
    let _daemon = daemon.spawn().await;
    KmsClient::connect(&new).wait_ok(LIMIT).await;

    let yaml = page.blocks("Move", "yaml").concat();
    let yaml = yaml
        .replace("/run/vault-kms-plugin/kms.sock", new.to_str().unwrap())
        .replace(
            "/run/vault-kube-kms/vault-kube-kms.sock",
            old.to_str().unwrap(),
        );
    fs::write(dir.join("encryption.yaml"), &yaml).unwrap();
    kubernetes.write_encryption(&yaml);
    kubernetes.restart().await;
    create("ours").await;
    shell.run(&page.blocks("Move", "sh")).await;
    for (key, value) in etcd.range("/registry/secrets/").await {
        let key = String::from_utf8_lossy(&key).into_owned();
        assert!(value.starts_with(b"k8s:enc:kms:v2:vault:"), "{key}");
    }
    for name in ["theirs", "ours"] {
        let read = kubernetes.read_secret(NAMESPACE, name).await;
        assert_eq!(read.as_deref(), Ok(name));
    }
}

async fn there_and_back(peer: Peer) {
    let (node, plugin) = Node::start(peer).await;
    node.write("theirs").await;
    node.run("Convert").await;
    node.run("Try it beside the old one").await;
    // Nothing has changed for the other one.
    node.write("still").await;

    plugin.stop().await;
    let daemon = node.start_converted().await;
    let ready = node.run("Replace, one node after the other").await;
    assert!(ready.contains("[+]kms-provider"), "{ready}");
    node.assert_readable(&["theirs", "still"]).await;
    node.write("ours").await;
    node.run("Afterwards").await;
    node.assert_all_are_ours().await;

    assert_eq!(daemon.stop().await, 0);
    let plugin = Plugin::start(peer, &node.socket, &node.backend).await;
    node.assert_readable(&["theirs", "still", "ours"]).await;
    node.write("back").await;
    node.assert_readable(&["back"]).await;
    plugin.stop().await;
}

async fn a_node_of_vault_kubernetes_kms_moves_and_comes_back_by_the_guide() {
    there_and_back(Peer::VaultKubernetesKms).await;
}

async fn a_node_of_vault_kms_provider_moves_and_comes_back_by_the_guide() {
    there_and_back(Peer::VaultKmsProvider).await;
}

async fn a_node_of_kleidi_moves_and_comes_back_by_the_guide() {
    there_and_back(Peer::Kleidi).await;
}

async fn a_node_of_bao_kms_provider_moves_by_the_guide() {
    there(Peer::BaoKmsProvider).await;
}

tests! {
    multi a_node_of_vault_kubernetes_kms_moves_and_comes_back_by_the_guide [Vault, Kubernetes, Kubectl];
    multi a_node_of_vault_kms_provider_moves_and_comes_back_by_the_guide [Vault, Kubernetes, Kubectl];
    multi a_node_of_bao_kms_provider_moves_by_the_guide [Vault, Kubernetes, Kubectl];
    multi objects_of_vault_kube_kms_move_while_it_reads_by_the_guide [Vault, Kubernetes, Kubectl];
    multi a_node_of_kleidi_moves_and_comes_back_by_the_guide [Vault, Kubernetes, Kubectl];
}

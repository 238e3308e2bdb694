//! The shipped static pod: kube-apiserver accepts it, and the plugin serves kube-apiserver with exactly
//! the user, the capabilities and the mounts that it names.

mod container;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::LIMIT;
use super::documents::markdown::Page;
use super::harness::child::{Child, free_port};
use super::harness::http;
use super::harness::kms::KmsClient;
use super::harness::kubernetes::{EncryptionConfiguration, Etcd, KubeApiserver};
use super::harness::vault::{Fixture, Vault};
use super::harness::{servers, wait};
use container::{Node, text};

const PODS: &str = "/api/v1/namespaces/kube-system/pods";
const DIR: &str = "/run/vault-kms-plugin";
const SOCKET: &str = "/run/vault-kms-plugin/kms.sock";
const STATE: &str = "/run/vault-kms-plugin/kms.sock.state.json";
const CONFIG: &str = "/etc/vault-kms-plugin";
/// Where the manifest's probes look; the default of `admin.listen`.
const ADMIN_PORT: u16 = 8790;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn manifest() -> String {
    fs::read_to_string(root().join("deploy/static-pod/vault-kms-plugin.yaml")).unwrap()
}

/// The pod as kube-apiserver understands the manifest, with all its defaults, and once more as
/// kubelet would show it there.
async fn pod() -> &'static Value {
    static POD: OnceCell<Value> = OnceCell::const_new();
    POD.get_or_init(async || {
        let etcd = Etcd::start().await;
        let kubernetes = KubeApiserver::start(&etcd, None, None).await;
        kubernetes
            .create_service_account("kube-system", "default")
            .await;
        let (code, pod) = kubernetes.dry_run(PODS, &manifest()).await;
        assert_eq!(code, 201, "{pod}");
        let mut mirror = pod.clone();
        mirror["metadata"]["annotations"] = json!({ "kubernetes.io/config.mirror": "1" });
        mirror["metadata"]["resourceVersion"].take();
        mirror["metadata"]["uid"].take();
        mirror["spec"]["nodeName"] = json!("control-plane-1");
        // Filled in for a pod of the API, forbidden to one of kubelet's.
        for key in ["serviceAccount", "serviceAccountName"] {
            mirror["spec"][key].take();
        }
        // JSON is YAML, too.
        let (code, answer) = kubernetes.dry_run(PODS, &mirror.to_string()).await;
        assert_eq!(code, 201, "{answer}");
        let misspelt = manifest().replace("hostNetwork", "hostNetwerk");
        let (code, answer) = kubernetes.dry_run(PODS, &misspelt).await;
        assert_eq!(code, 400, "a wrong manifest was not rejected: {answer}");
        pod
    })
    .await
}

async fn kube_apiserver_accepts_the_manifest() {
    let pod = pod().await;
    let spec = &pod["spec"];
    assert_eq!(spec["hostNetwork"], true);
    assert_eq!(spec["priorityClassName"], "system-node-critical");
    // What kube-apiserver knows of that class, and would put in itself.
    assert_eq!(spec["priority"], 2_000_001_000);
    assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
    assert_eq!(
        spec["securityContext"]["seccompProfile"]["type"],
        "RuntimeDefault"
    );
    let [main] = spec["containers"].as_array().unwrap().as_slice() else {
        panic!("not one container: {spec}");
    };
    assert!(main["securityContext"]["runAsUser"].is_null());
    assert!(main["securityContext"]["capabilities"]["add"].is_null());
    for probe in ["livenessProbe", "startupProbe"] {
        let get = &main[probe]["httpGet"];
        assert_eq!(get["path"], "/livez", "{probe}");
        assert_eq!(get["host"], "127.0.0.1", "{probe}");
        assert_eq!(get["port"], ADMIN_PORT, "{probe}");
    }
    assert!(main["readinessProbe"].is_null());
    let init = &spec["initContainers"];
    assert_eq!(init.as_array().unwrap().len(), 1);
    assert_eq!(
        init[0]["securityContext"]["capabilities"]["add"],
        json!(["CHOWN"])
    );
    for container in [main, &init[0]] {
        assert_eq!(container["image"], "localhost/vault-kms-plugin:0.1.0");
        // Loaded by hand: nothing could pull it.
        assert_eq!(container["imagePullPolicy"], "Never");
        let resources = &container["resources"];
        assert!(resources["requests"]["memory"].is_string(), "{resources}");
        assert!(resources["limits"]["cpu"].is_null(), "{resources}");
    }
}

/// docs/operations/upgrade.md edits a copy of the manifest.
fn an_upgrade_names_the_new_image_everywhere() {
    let page = Page::read(&root().join("docs/operations/upgrade.md"));
    let blocks = page.blocks("Static pod", "console").concat();
    let edit = blocks.lines().find(|line| line.starts_with("sed "));
    let edit = edit.expect("the command that edits");
    let home = tempfile::tempdir().unwrap();
    let (before, after) = (
        home.path().join("vault-kms-plugin.previous.yaml"),
        home.path().join("vault-kms-plugin.yaml"),
    );
    fs::write(&before, manifest()).unwrap();
    let edited = Command::new("bash")
        .args(["-euc", edit])
        .env("HOME", home.path())
        .status();
    assert!(edited.unwrap().success(), "{edit}");
    let edited = fs::read_to_string(after).unwrap();
    assert_eq!(edited, manifest().replace("plugin:0.1.0", "plugin:0.2.0"));
    assert_eq!(
        edited
            .matches("image: localhost/vault-kms-plugin:0.2.0")
            .count(),
        2
    );
}

/// A node with the plugin's configuration, as docs/install/ has an operator put it there.
struct Scene {
    node: Node,
    fixture: Fixture,
    admin_port: u16,
}

impl Scene {
    async fn new(vault: &Vault) -> Self {
        let fixture = vault.fixture().await;
        let node = Node::new(pod().await.clone(), &servers::release_daemon());
        let admin_port = free_port();
        let (mount, key) = (&fixture.mount, &fixture.key);
        // By a name, which the image has to be able to resolve.
        let address = format!("http://localhost:{}", vault.socket_address().port());
        let config = format!(
            "[vault]\naddress = {address:?}\n[transit]\nmount = {mount:?}\nkey = {key:?}\n\
             [auth]\nmethod = \"token\"\ntoken_file = \"{CONFIG}/token\"\n\
             [admin]\nlisten = \"127.0.0.1:{admin_port}\"\n"
        );
        let dir = node.path(CONFIG);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("config.toml"), config).unwrap();
        fs::write(dir.join("token"), &fixture.token).unwrap();
        // As `install` leaves it; the next step makes it readable to the pod.
        fs::set_permissions(dir.join("token"), PermissionsExt::from_mode(0o600)).unwrap();
        let commands = Page::read(&root().join("docs/install/static-pod.md"));
        let commands = commands.blocks("Files on the node", "sh");
        let of_the_node = commands
            .iter()
            .find(|block| block.contains("chown"))
            .unwrap();
        let text = of_the_node.replace(CONFIG, dir.to_str().unwrap());
        let ran = Command::new("sh").args(["-euc", &text]).status().unwrap();
        assert!(ran.success(), "{text}");
        Self {
            node,
            fixture,
            admin_port,
        }
    }

    fn socket(&self) -> PathBuf {
        self.node.path(SOCKET)
    }

    /// What kubelet does with the pod, up to the first good probe.
    async fn start_pod(&self) -> Child {
        self.node.mount_volumes();
        self.node.initialise(LIMIT).await;
        self.start_container().await
    }

    async fn start_container(&self) -> Child {
        let main = self.node.main();
        let mut child = self.node.start(main);
        let probe = &main["startupProbe"];
        let get = &probe["httpGet"];
        let url = format!(
            "http://{}:{}{}",
            text(&get["host"]),
            self.admin_port,
            text(&get["path"])
        );
        let tries = probe["failureThreshold"].as_u64().unwrap();
        let period = probe["periodSeconds"].as_u64().unwrap();
        let limit = Duration::from_secs(tries * period);
        wait::until_true("the startup probe", limit, async || {
            child.expect_alive();
            let request = http::Request {
                method: "GET",
                url: &url,
                credential: None,
                ca_pem: None,
            };
            http::text(request, None)
                .await
                .is_ok_and(|(code, _)| code == 200)
        })
        .await;
        child
    }

    fn owner(&self, path: &str) -> (u32, u32, u32) {
        let data = fs::symlink_metadata(self.node.path(path)).unwrap();
        (data.uid(), data.gid(), data.mode() & 0o7777)
    }
}

/// The line of `/proc/PID/status` with this name.
fn status_of(child: &Child, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{}/status", child.pid())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// That the process is no more than the manifest lets it be.
fn is_confined(child: &Child, uid: u32) {
    let ids = format!("{uid} {uid} {uid} {uid}");
    assert_eq!(status_of(child, "Uid"), ids);
    assert_eq!(status_of(child, "Gid"), ids);
    assert_eq!(status_of(child, "Groups"), "");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status_of(child, set), "0000000000000000", "{set}");
    }
    assert_eq!(status_of(child, "NoNewPrivs"), "1");
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", child.pid())).unwrap();
    let kind = |target: &str| {
        let line = mounts
            .lines()
            .find(|line| line.split(' ').nth(4) == Some(target));
        line.and_then(|line| line.split(' ').nth(5)?.split(',').next())
    };
    assert_eq!(kind("/"), Some("ro"), "{mounts}");
    assert_eq!(kind(CONFIG), Some("ro"), "{mounts}");
    assert_eq!(kind(DIR), Some("rw"), "{mounts}");
}

async fn create(kubernetes: &KubeApiserver, name: &str) {
    let (code, answer) = kubernetes.create_secret("default", name, name).await;
    assert_eq!(code, 201, "{answer}");
}

async fn the_pod_serves_kube_apiserver_over_a_directory_that_kubelet_made_and_after_each_restart() {
    let scene = Scene::new(Vault::shared().await).await;
    scene.node.mount_volumes();
    assert_eq!(scene.owner(DIR), (0, 0, 0o755));
    let uid = pod().await["spec"]["securityContext"]["runAsUser"].as_u64();
    let uid = u32::try_from(uid.unwrap()).unwrap();

    // This is what the init container is for.
    let mut without = scene.node.start(scene.node.main());
    assert_eq!(without.wait_exit(LIMIT).await, 69, "{}", without.log());
    assert!(
        without
            .log()
            .contains("let the plugin's user write to its directory")
    );

    let mut child = scene.start_pod().await;
    is_confined(&child, uid);
    assert_eq!(scene.owner(DIR), (uid, uid, 0o755));
    assert_eq!(scene.owner(SOCKET), (uid, uid, 0o600));
    let etcd = Etcd::start().await;
    let encryption = EncryptionConfiguration::v2(&scene.socket());
    let kubernetes = KubeApiserver::start(&etcd, Some(&encryption), None).await;
    create(&kubernetes, "first").await;
    let stored = etcd.range("/registry/secrets/default/first").await;
    assert!(stored[0].1.starts_with(b"k8s:enc:kms:v2:"), "{stored:?}");

    // The container alone, as when a probe failed: over its own socket and state.
    child.kill();
    assert!(scene.socket().exists() && scene.node.path(STATE).exists());
    let mut child = scene.start_container().await;
    kubernetes.restart().await;
    assert_eq!(
        kubernetes.read_secret("default", "first").await.unwrap(),
        "first"
    );

    // The pod as a whole, over what a plugin of another user left.
    child.kill();
    for path in [DIR, SOCKET, STATE] {
        chown(scene.node.path(path), Some(0), Some(0)).unwrap();
    }
    let child = scene.start_pod().await;
    for (path, mode) in [(DIR, 0o755), (SOCKET, 0o600), (STATE, 0o600)] {
        assert_eq!(scene.owner(path), (uid, uid, mode), "{path}");
    }
    kubernetes.restart().await;
    assert_eq!(
        kubernetes.read_secret("default", "first").await.unwrap(),
        "first"
    );
    create(&kubernetes, "second").await;
    is_confined(&child, uid);
    // The one at the start was wanted.
    let log = child.log();
    assert_eq!(log.matches("\"ERROR\"").count(), 1, "{log}");
    assert!(!log.contains("state file"), "{log}");
}

async fn the_pod_is_alive_without_vault() {
    let vault = Vault::start_persistent().await;
    let scene = Scene::new(&vault).await;
    vault.kill();
    let mut child = scene.start_pod().await;
    let client = KmsClient::connect(scene.socket());
    client.encrypt(&[7; 32]).await.unwrap_err();
    child.expect_alive();
    vault.restart().await;
    client.wait_ok(LIMIT).await;
    assert!(!scene.fixture.key.is_empty());
}

tests! {
    [container]
    plain an_upgrade_names_the_new_image_everywhere;
    multi kube_apiserver_accepts_the_manifest [Kubernetes];
    multi the_pod_serves_kube_apiserver_over_a_directory_that_kubelet_made_and_after_each_restart [Vault, Kubernetes, Mounts];
    single the_pod_is_alive_without_vault [Vault, Kubernetes, Mounts];
}

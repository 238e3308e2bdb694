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
use super::harness::kms::KmsClient;
use super::harness::kubernetes::{EncryptionConfiguration, Etcd, KubeApiserver};
use super::harness::vault::{Fixture, Vault};
use super::harness::{servers, wait};
use container::Node;

const PODS: &str = "/api/v1/namespaces/kube-system/pods";
const DIR: &str = "/run/vault-kms-plugin";
const SOCKET: &str = "/run/vault-kms-plugin/kms.sock";
const STATE: &str = "/run/vault-kms-plugin/kms.sock.state.json";
const CONFIG: &str = "/etc/vault-kms-plugin";

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
    assert_eq!(
        spec["securityContext"]["seccompProfile"]["type"],
        "RuntimeDefault"
    );
    let [main] = spec["containers"].as_array().unwrap().as_slice() else {
        panic!("not one container: {spec}");
    };
    let capabilities = &main["securityContext"]["capabilities"];
    let added = json!(["CHOWN", "SETUID", "SETGID"]);
    assert_eq!(
        (&capabilities["drop"], &capabilities["add"]),
        (&json!(["ALL"]), &added)
    );
    let live = json!([
        "/usr/local/bin/vault-kms-plugin",
        "status",
        "--live",
        "--socket=/run/vault-kms-plugin/kms.sock",
    ]);
    for probe in ["livenessProbe", "startupProbe"] {
        assert!(main[probe]["httpGet"].is_null(), "a port can be taken");
        assert_eq!(main[probe]["exec"]["command"], live, "{probe}");
    }
    assert!(main["readinessProbe"].is_null());
    // It would delay the socket at each reboot.
    assert!(spec["initContainers"].is_null());
    assert_eq!(main["image"], "localhost/vault-kms-plugin:0.1.0");
    // Loaded by hand: nothing could pull it.
    assert_eq!(main["imagePullPolicy"], "Never");
    let resources = &main["resources"];
    assert!(resources["requests"]["memory"].is_string(), "{resources}");
    assert!(resources["limits"]["cpu"].is_null(), "{resources}");
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
        1
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
        self.start_container().await
    }

    async fn start_container(&self) -> Child {
        let main = self.node.main();
        let mut child = self.node.start(main);
        let probe = &main["startupProbe"];
        let tries = probe["failureThreshold"].as_u64().unwrap();
        let period = probe["periodSeconds"].as_u64().unwrap();
        let limit = Duration::from_secs(tries * period);
        wait::until_true("the startup probe", limit, async || {
            child.expect_alive();
            self.run(&probe["exec"]["command"]).await.0 == 0
        })
        .await;
        child
    }

    /// Runs a command inside the container, as kubelet and crictl do: its exit code and output.
    async fn run(&self, command: &Value) -> (i32, String) {
        let container = self.node.main().clone();
        self.run_in(container, command).await
    }

    /// The same as the user of the plugin, which a command becomes where the plugin is the first process of
    /// its pid namespace; the containers of these tests have none (see `status::container`).
    async fn run_as_the_plugin(&self, command: &Value) -> (i32, String) {
        let mut container = self.node.main().clone();
        let context = &mut container["securityContext"];
        context["runAsUser"] = json!(60790);
        context["runAsGroup"] = json!(60790);
        context["capabilities"]["add"] = json!([]);
        self.run_in(container, command).await
    }

    async fn run_in(&self, mut container: Value, command: &Value) -> (i32, String) {
        container["command"] = command.clone();
        // Its log has this name.
        container["name"] = json!(format!("exec-{}", fastrand::u32(..)));
        let mut child = self.node.start(&container);
        let code = child.wait_exit(LIMIT).await;
        (code, child.log())
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
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status_of(child, set), "0000000000000000", "{set}");
    }
    for thread in fs::read_dir(format!("/proc/{}/task", child.pid())).unwrap() {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        assert!(
            status.contains(&format!("Uid:\t{}", ids.replace(' ', "\t"))),
            "{status}"
        );
        assert!(status.contains("CapPrm:\t0000000000000000"), "{status}");
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
    let uid = 60790;
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
    let log = child.log();
    assert_eq!(log.matches("\"ERROR\"").count(), 0, "{log}");
    assert!(!log.contains("state file"), "{log}");
}

async fn a_taken_admin_port_does_not_end_the_pod() {
    let scene = Scene::new(Vault::shared().await).await;
    let taken = std::net::TcpListener::bind(("127.0.0.1", scene.admin_port)).unwrap();
    let mut child = scene.start_pod().await;
    let main = scene.node.main();
    let (code, said) = scene.run(&main["livenessProbe"]["exec"]["command"]).await;
    assert_eq!(code, 0, "{said}");
    KmsClient::connect(scene.socket()).wait_ok(LIMIT).await;
    // A file that is broken or moved, and was not read again, does not matter either.
    let file = scene.node.path(CONFIG).join("config.toml");
    let text = fs::read_to_string(&file).unwrap();
    for changed in ["not TOML", "[socket]\npath = \"/run/other/kms.sock\"\n"] {
        fs::write(&file, changed).unwrap();
        let (code, said) = scene.run(&main["livenessProbe"]["exec"]["command"]).await;
        assert_eq!(code, 0, "{said}");
    }
    fs::write(&file, text).unwrap();
    drop(taken);
    child.expect_alive();
    child.kill();
    let (code, said) = scene.run(&main["livenessProbe"]["exec"]["command"]).await;
    assert_eq!(code, 69, "{said}");
    assert!(said.contains("cannot be reached"), "{said}");
}

async fn a_start_that_may_not_become_the_user_ends_and_says_what_it_needs() {
    let scene = Scene::new(Vault::shared().await).await;
    scene.node.mount_volumes();
    for (missing, said) in [
        ("CHOWN", "run this as root with the capability CAP_CHOWN"),
        ("SETUID", "root with the capabilities SETUID and SETGID"),
        ("SETGID", "root with the capabilities SETUID and SETGID"),
    ] {
        let mut container = scene.node.main().clone();
        let added = container["securityContext"]["capabilities"]["add"].as_array_mut();
        added.unwrap().retain(|name| name != missing);
        container["name"] = json!(missing);
        let mut child = scene.node.start(&container);
        assert_eq!(child.wait_exit(LIMIT).await, 69, "{}", child.log());
        assert!(child.log().contains(said), "{missing}: {}", child.log());
        assert!(!scene.socket().exists());
        chown(scene.node.path(DIR), Some(0), Some(0)).unwrap();
    }
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

/// The commands of docs/install/static-pod.md.
async fn status_check_and_reload_work_inside_the_image() {
    let scene = Scene::new(Vault::shared().await).await;
    let _child = scene.start_pod().await;
    KmsClient::connect(scene.socket()).wait_ok(LIMIT).await;
    let exec = async |arguments: &[&str]| {
        let command = [&["/usr/local/bin/vault-kms-plugin"], arguments].concat();
        scene.run_as_the_plugin(&json!(command)).await
    };
    let (code, shown) = exec(&["status"]).await;
    assert!(code == 0 && shown.contains("Status returns ok"), "{shown}");
    // The probes are no calls of kube-apiserver.
    assert!(shown.contains(", 0 failed, "), "{shown}");
    let (code, shown) = exec(&["check"]).await;
    assert!(code == 0 && shown.contains("✓ round trip"), "{shown}");
    assert!(shown.contains("for users 0, 60790"), "{shown}");

    let file = scene.node.path(CONFIG).join("config.toml");
    let before = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{before}[health]\ntolerance = \"5m\"\n")).unwrap();
    let (code, shown) = exec(&["reload"]).await;
    assert!(code == 0 && shown.contains("applied\n"), "{shown}");
    let (_, shown) = exec(&["status"]).await;
    assert!(shown.contains("last reload applied"), "{shown}");
    fs::write(&file, format!("{before}[health]\ntolerence = \"5m\"\n")).unwrap();
    let (code, shown) = exec(&["reload"]).await;
    let expected =
        "the reload was refused, the running configuration stays: health.tolerence: unknown key";
    assert!(code == 78 && shown.contains(expected), "{code}: {shown}");
    let (code, shown) = exec(&["status"]).await;
    assert!(
        code == 0 && shown.contains("last reload REFUSED"),
        "{shown}"
    );
}

tests! {
    [container]
    plain an_upgrade_names_the_new_image_everywhere;
    multi kube_apiserver_accepts_the_manifest [Kubernetes];
    multi the_pod_serves_kube_apiserver_over_a_directory_that_kubelet_made_and_after_each_restart [Vault, Kubernetes, Mounts];
    single the_pod_is_alive_without_vault [Vault, Kubernetes, Mounts];
    single a_start_that_may_not_become_the_user_ends_and_says_what_it_needs [Vault, Kubernetes, Mounts];
    single a_taken_admin_port_does_not_end_the_pod [Vault, Kubernetes, Mounts];
    single status_check_and_reload_work_inside_the_image [Vault, Kubernetes, Mounts];
}

//! OpenShift's sidecars, as its operators write them into the pods of the API servers (library-go,
//! `pkg/operator/encryption/kms/pluginlifecycle`): the image of this plugin answers to the arguments of HashiCorp's one.

use serde_json::json;

use super::super::harness::listener::Listener;
use super::super::harness::vault::{Vault, plugin_policy};
use super::network::Network;
use super::node::Node;
use super::sidecar::{create, expect_all_under, expect_readable, prepare_tenant, run};
use super::site::{Site, vault_for, vault_url};

/// Where the revision controller of a static pod writes what belongs to the plugins, root's and mode 0600.
const RESOURCES: &str = "/etc/kubernetes/static-pod-resources";
const ENCRYPTION: &str = "/etc/kubernetes/static-pod-resources/secrets/encryption-config";

/// A plugin of one key: what the operators number.
struct Plugin {
    id: u32,
    role_id: String,
    secret_id: String,
}

impl Plugin {
    /// A Transit key and an AppRole of its own.
    async fn prepare(vault: &Vault, id: u32) -> Self {
        let name = format!("openshift-{id}");
        vault.create_key("transit", &name).await;
        let policy = plugin_policy("transit", &name);
        vault.write_policy(&name, &policy).await;
        let role = json!({ "token_policies": name, "token_ttl": "1h" });
        let path = format!("auth/approle/role/{name}");
        vault.expect("POST", &path, Some(role)).await;
        let answer = vault.expect("GET", &format!("{path}/role-id"), None).await;
        let role_id = answer["data"]["role_id"].as_str().unwrap().to_owned();
        let path = format!("{path}/secret-id");
        let answer = vault.expect("POST", &path, Some(json!({}))).await;
        let secret_id = answer["data"]["secret_id"].as_str().unwrap().to_owned();
        Self {
            id,
            role_id,
            secret_id,
        }
    }

    fn name(&self) -> String {
        format!("vault-kms-plugin-{}", self.id)
    }

    fn socket(&self) -> String {
        format!("unix:///var/run/kmsplugin/kms-{}.sock", self.id)
    }

    fn provider(&self) -> String {
        let (name, socket) = (self.id, self.socket());
        format!("      - kms: {{ apiVersion: v2, name: \"{name}\", endpoint: \"{socket}\" }}\n")
    }

    /// `BuildSidecarContainer` of library-go.
    fn container(&self, data: &str) -> serde_json::Value {
        let args = [
            format!("-listen-address={}", self.socket()),
            format!("-vault-address={}", vault_url()),
            format!("-vault-key-path=transit/keys/openshift-{}", self.id),
            format!("-approle-role-id={}", self.role_id),
            format!("-approle-secret-id-path={data}/secret-id-{}", self.id),
            format!("-tls-ca-file={data}/ca-bundle-{}.crt", self.id),
            "-metrics-port=0".to_owned(),
        ];
        json!({
            "name": self.name(),
            "image": super::images::KUBE_KMS,
            "args": args,
            "imagePullPolicy": "IfNotPresent",
            "restartPolicy": "Always",
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "resources": { "requests": { "memory": "64Mi", "cpu": "10m" } },
            "securityContext": {
                "readOnlyRootFilesystem": true,
                "allowPrivilegeEscalation": false,
                "capabilities": { "drop": ["ALL"] },
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "volumeMounts": [{ "name": "kms-plugin-socket", "mountPath": "/var/run/kmsplugin" }],
        })
    }

    /// In the static pod of kube-apiserver: root, because its files are root's.
    fn patch(&self) -> String {
        let mut container = self.container(ENCRYPTION);
        container["securityContext"]["runAsUser"] = json!(0);
        let resources = json!({ "name": "resource-dir", "mountPath": RESOURCES, "readOnly": true });
        let mounts = container["volumeMounts"].as_array_mut().unwrap();
        mounts.push(resources);
        let socket = json!({ "name": "kms-plugin-socket", "mountPath": "/var/run/kmsplugin" });
        let root = json!({ "runAsUser": 0, "runAsGroup": 0 });
        let patch = json!({ "spec": {
            "initContainers": [container],
            "containers": [{ "name": "kube-apiserver", "securityContext": root, "volumeMounts": [socket] }],
            "volumes": [
                { "name": "kms-plugin-socket", "emptyDir": {} },
                { "name": "resource-dir", "hostPath": { "path": RESOURCES } },
            ],
        } });
        patch.to_string()
    }

    /// The pod that an operator runs before it uses a plugin: not root, its files from a Secret, and a checker with the
    /// client of kube-apiserver, which asks for Status, Encrypt and Decrypt.
    fn preflight(&self) -> String {
        let data = "/var/run/secrets/kms-plugin";
        let mut container = self.container(data);
        container["securityContext"]["runAsUser"] = json!(65532);
        let mounts = container["volumeMounts"].as_array_mut().unwrap();
        mounts.push(json!({ "name": "kms-plugins-data", "mountPath": data, "readOnly": true }));
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "preflight" },
            "spec": {
                "restartPolicy": "Never", "hostNetwork": true, "nodeName": "node-0",
                "serviceAccountName": "tenant", "automountServiceAccountToken": false,
                "tolerations": [{ "operator": "Exists" }],
                "initContainers": [container],
                "containers": [{
                    "name": "kms-preflight-check", "image": super::images::CHECKER, "imagePullPolicy": "Never",
                    "args": ["-api", "v2", self.socket()],
                    "volumeMounts": [
                        { "name": "kms-plugin-socket", "mountPath": "/var/run/kmsplugin" },
                        { "name": "tmp", "mountPath": "/tmp" },
                    ],
                }],
                "volumes": [
                    { "name": "kms-plugin-socket", "emptyDir": {} },
                    { "name": "tmp", "emptyDir": {} },
                    { "name": "kms-plugins-data", "secret": { "secretName": "encryption-config" } },
                ],
            },
        });
        pod.to_string()
    }
}

/// What the operators bring to the node, in both of their ways.
async fn bring(node: &Node, plugins: &[Plugin]) {
    node.sh(&format!("mkdir -p {ENCRYPTION} && chmod 700 {RESOURCES}"))
        .await;
    let mut files = String::new();
    for plugin in plugins {
        let secret_id = format!("secret-id-{}", plugin.id);
        node.machine
            .write(&format!("/srv/home/{secret_id}"), &plugin.secret_id);
        let ca = format!("ca-bundle-{}.crt", plugin.id);
        node.sh(&format!(
            "cp ca.pem {ca} && install -m 600 {secret_id} {ca} {ENCRYPTION}/"
        ))
        .await;
        files.push_str(&format!(" --from-file {secret_id} --from-file {ca}"));
    }
    node.sh(&format!(
        "kubectl create secret generic encryption-config{files}"
    ))
    .await;
}

async fn passes_the_preflight(node: &Node, plugin: &Plugin) {
    node.machine
        .write("/srv/home/preflight.yaml", &plugin.preflight());
    node.sh("kubectl create -f preflight.yaml").await;
    node.until(
        "the preflight",
        "kubectl get pod preflight -o jsonpath='{.status.phase}' | grep -E 'Succeeded|Failed'",
    )
    .await;
    let said = node
        .sh("kubectl logs preflight -c kms-preflight-check")
        .await;
    let phase = node
        .sh("kubectl get pod preflight -o jsonpath='{.status.phase}'")
        .await;
    assert_eq!(phase, "Succeeded", "{said}");
    node.sh("kubectl delete pod preflight").await;
}

async fn the_sidecars_of_openshift_serve_and_hand_over_to_another_key() {
    let network = Network::new();
    let vault = Vault::start_persistent().await;
    let end: Listener = vault_for(&network, &vault);
    let balancer = network.control_plane(1);
    let site = Site::new(network, &vault, "https://vault.example:8200", 1).await;
    let node = &site.nodes[0];
    site.make_control_plane().await;
    node.sh("kubectl create serviceaccount tenant").await;
    prepare_tenant(node).await;
    vault.enable_auth("approle", "approle").await;
    let plugins = [
        Plugin::prepare(&vault, 1).await,
        Plugin::prepare(&vault, 2).await,
    ];
    bring(node, &plugins).await;
    for plugin in &plugins {
        passes_the_preflight(node, plugin).await;
    }
    let patches: Vec<_> = plugins.iter().map(Plugin::patch).collect();
    let [first, second] = plugins.each_ref().map(Plugin::provider);
    let identity = "      - identity: {}\n".to_owned();

    run(node, &patches[..1], &[first.clone(), identity]).await;
    create(node, "of-the-first").await;
    expect_all_under(node, "1").await;

    // The key changes: both in one pod on the network of the host, first as a reader, then as the writer.
    run(node, &patches, &[first.clone(), second.clone()]).await;
    create(node, "with-a-reader").await;
    run(node, &patches, &[second.clone(), first]).await;
    create(node, "of-the-second").await;
    let all = ["of-the-first", "with-a-reader", "of-the-second"];
    expect_readable(node, &all).await;
    expect_all_under(node, "2").await;
    run(node, &patches[1..], &[second]).await;
    expect_readable(node, &all).await;
    let restarts =
        "kubectl get pod tenant -o jsonpath='{.status.initContainerStatuses[*].restartCount}'";
    assert_eq!(node.sh(restarts).await, "0");
    drop((end, balancer));
}

tests! {
    multi the_sidecars_of_openshift_serve_and_hand_over_to_another_key [Vault, Nodes] soak "a hosted control plane for minutes: cargo nodes";
}

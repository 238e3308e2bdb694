//! The sidecar of docs/install/hosted-control-planes.md: in the pod of a hosted kube-apiserver, which is not
//! root, with a login by the service account of that pod, and beside a second one while the key changes.

use serde_json::json;

use super::super::harness::listener::Listener;
use super::super::harness::vault::{Vault, plugin_policy};
use super::network::Network;
use super::node::Node;
use super::site::{Site, docs, vault_for};

const PAGE: &str = "install/hosted-control-planes.md";
const TENANT: &str =
    "curl -sS --fail -k -H 'Authorization: Bearer admin-token' https://127.0.0.1:16443";
const SECRETS: &str = "api/v1/namespaces/default/secrets";

/// A sidecar: the name of all that is its own, its Transit key and its user.
struct Sidecar {
    name: &'static str,
    key: &'static str,
    /// The one of kube-apiserver, or another one that shares a group with it.
    uid: u32,
}

const FIRST: Sidecar = Sidecar {
    name: "vault-kms-plugin",
    key: "tenant-1",
    uid: 1001,
};
const SECOND: Sidecar = Sidecar {
    name: "second-plugin",
    key: "tenant-2",
    uid: 60790,
};

impl Sidecar {
    /// The page's text with the names of this one.
    fn own(&self, text: &str) -> String {
        let program = "/usr/local/bin/vault-kms-plugin";
        text.replace(program, "PROGRAM")
            .replace("registry.example/vault-kms-plugin", "IMAGE")
            .replace("vault-kms-plugin", self.name)
            .replace("PROGRAM", program)
            .replace("IMAGE", "localhost/vault-kms-plugin")
            .replace("60790", &self.uid.to_string())
            .replace("tenant-1", self.key)
    }

    /// What the page puts into the pod.
    fn patch(&self) -> String {
        self.own(&docs(PAGE).blocks("Sidecar", "yaml")[0])
    }

    /// The page's configuration, and what it says of a foreign user and of the network of the host.
    fn config(&self) -> String {
        let shared = "mode = \"0660\"\ngroup = \"2000\"\nallow_uids = [1001]\n";
        let shared = if self.uid == 1001 { "" } else { shared };
        let dir = format!("/run/{}", self.name);
        format!(
            "{}[socket]\npath = \"{dir}/kms.sock\"\n{shared}[admin]\nlisten = \"unix:{dir}/admin.sock\"\n",
            self.own(&docs(PAGE).blocks("Sidecar", "toml")[0])
        )
    }

    fn provider(&self) -> String {
        format!(
            "      - kms: {{ apiVersion: v2, name: {name}, endpoint: unix:///run/{name}/kms.sock }}\n",
            name = self.name
        )
    }
}

/// Kubernetes auth of the cluster that hosts, and a role for each key.
async fn prepare_vault(node: &Node, vault: &Vault) {
    node.sh("kubectl create serviceaccount tenant && kubectl create serviceaccount reviewer && \
             kubectl create clusterrolebinding reviewer --clusterrole system:auth-delegator --serviceaccount default:reviewer")
        .await;
    let reviewer = node
        .sh("kubectl create token reviewer --duration 12h")
        .await;
    let ca = std::fs::read_to_string(node.machine.path("/etc/kubernetes/pki/ca.crt")).unwrap();
    vault.enable_auth("kubernetes", "kubernetes").await;
    let config = json!({
        "kubernetes_host": format!("https://{}:6443", node.address),
        "kubernetes_ca_cert": ca,
        "token_reviewer_jwt": reviewer.trim(),
        "disable_local_ca_jwt": true,
    });
    vault
        .expect("POST", "auth/kubernetes/config", Some(config))
        .await;
    for key in [FIRST.key, SECOND.key] {
        vault.create_key("transit", key).await;
        vault
            .write_policy(key, &plugin_policy("transit", key))
            .await;
        let role = json!({
            "bound_service_account_names": "tenant",
            "bound_service_account_namespaces": "default",
            "audience": "vault",
            "token_policies": key,
            "token_ttl": "24h",
        });
        let path = format!("auth/kubernetes/role/{key}");
        vault.expect("POST", &path, Some(role)).await;
    }
}

/// Replaces the pod by one with these patches, each of a sidecar, whose kube-apiserver has these providers.
pub(super) async fn run(node: &Node, patches: &[String], providers: &[String]) {
    let encryption = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n  - resources: [secrets]\n    providers:\n{}",
        providers.concat()
    );
    node.machine.write("/srv/home/encryption.yaml", &encryption);
    node.sh("kubectl delete pod tenant --ignore-not-found && kubectl delete secret encryption --ignore-not-found && \
             kubectl create secret generic encryption --from-file encryption.yaml && \
             printf 'spec: { securityContext: { fsGroup: 2000 } }' > patch.yaml && \
             kubectl patch --local -f tenant.yaml --patch-file patch.yaml -o yaml > pod.yaml")
        .await;
    for patch in patches {
        node.machine.write("/srv/home/patch.yaml", patch);
        node.sh("kubectl patch --local -f pod.yaml --patch-file patch.yaml -o yaml > patched.yaml && mv patched.yaml pod.yaml")
            .await;
    }
    node.sh("kubectl create -f pod.yaml").await;
    node.until("the hosted kube-apiserver", &format!("{TENANT}/readyz"))
        .await;
}

pub(super) async fn create(node: &Node, name: &str) {
    node.sh(&format!(
        "{TENANT}/{SECRETS} -H 'Content-Type: application/json' \
         -d '{{\"metadata\":{{\"name\":\"{name}\"}},\"stringData\":{{\"value\":\"{name}\"}}}}'"
    ))
    .await;
}

pub(super) async fn expect_readable(node: &Node, names: &[&str]) {
    for name in names {
        let said = node
            .sh(&format!(
                "{TENANT}/{SECRETS}/{name} | jq -r .data.value | base64 -d"
            ))
            .await;
        assert_eq!(said, *name);
    }
}

/// Writes every Secret again; then none may be under another provider.
pub(super) async fn expect_all_under(node: &Node, provider: &str) {
    node.sh(&format!(
        "for name in $({TENANT}/{SECRETS} | jq -r '.items[].metadata.name'); do \
           {TENANT}/{SECRETS}/$name | {TENANT}/{SECRETS}/$name -X PUT -H 'Content-Type: application/json' -d @- >/dev/null; done"
    ))
    .await;
    let range = "curl -sS --fail http://127.0.0.1:12379/v3/kv/range -d \
         \"{\\\"key\\\":\\\"$(printf /registry/secrets/ | base64)\\\",\\\"range_end\\\":\\\"$(printf /registry/secrets0 | base64)\\\"}\" | \
         jq -r '.kvs[].value' | while read -r value; do echo \"$value\" | base64 -d | head -c 40 | tr -cd '[:print:]'; echo; done";
    let stored = node.sh(range).await;
    let prefix = format!("k8s:enc:kms:v2:{provider}:");
    assert!(!stored.is_empty());
    for line in stored.lines() {
        assert!(line.starts_with(&prefix), "{line}");
    }
}

async fn the_container_of(node: &Node, sidecar: &Sidecar) -> String {
    node.sh(&format!("crictl ps --name '^{}$' -q", sidecar.name))
        .await
}

/// The files of the hosted control plane.
pub(super) async fn prepare_tenant(node: &Node) {
    node.machine
        .write("/srv/home/tenant.yaml", include_str!("files/tenant.yaml"));
    node.sh(
        "echo 'admin-token,admin,admin,system:masters' > tokens.csv && \
             kubectl create secret generic keys --from-file tokens.csv \
               --from-file /etc/kubernetes/pki/sa.key --from-file /etc/kubernetes/pki/sa.pub",
    )
    .await;
}

async fn a_killed_sidecar_is_started_again(node: &Node) {
    let before = the_container_of(node, &FIRST).await;
    node.sh("kill -9 $(pgrep -o -x vault-kms-plugi)").await;
    node.until(
        "another container of the sidecar",
        &format!(
            "crictl ps --name '^{}$' -q | grep . | grep -v '{}'",
            FIRST.name,
            before.trim()
        ),
    )
    .await;
    create(node, "after-a-kill").await;
}

async fn a_sidecar_serves_a_hosted_control_plane_and_a_second_one_takes_over_with_another_key() {
    let network = Network::new();
    let vault = Vault::start_persistent().await;
    let end: Listener = vault_for(&network, &vault);
    let balancer = network.control_plane(1);
    let site = Site::new(network, &vault, "https://vault.example:8200", 1).await;
    let node = &site.nodes[0];
    site.make_control_plane().await;
    prepare_vault(node, &vault).await;
    prepare_tenant(node).await;
    for sidecar in [&FIRST, &SECOND] {
        node.machine
            .write("/srv/home/config.toml", &sidecar.config());
        node.sh(&format!(
            "kubectl create configmap {} --from-file config.toml --from-file ca.pem",
            sidecar.name
        ))
        .await;
    }
    let identity = "      - identity: {}\n".to_owned();
    let both = [FIRST.patch(), SECOND.patch()];

    run(node, &both[..1], &[FIRST.provider(), identity.clone()]).await;
    create(node, "of-the-first").await;
    expect_all_under(node, FIRST.name).await;
    a_killed_sidecar_is_started_again(node).await;

    // The second one: first as a reader, then as the writer.
    run(node, &both, &[FIRST.provider(), SECOND.provider()]).await;
    create(node, "with-a-reader").await;
    expect_readable(node, &["of-the-first", "after-a-kill", "with-a-reader"]).await;
    run(node, &both, &[SECOND.provider(), FIRST.provider()]).await;
    create(node, "of-the-second").await;
    let all = [
        "of-the-first",
        "after-a-kill",
        "with-a-reader",
        "of-the-second",
    ];
    expect_readable(node, &all).await;
    expect_all_under(node, SECOND.name).await;
    run(node, &both[1..], &[SECOND.provider()]).await;
    expect_readable(node, &all).await;
    drop((end, balancer));
}

tests! {
    multi a_sidecar_serves_a_hosted_control_plane_and_a_second_one_takes_over_with_another_key [Vault, Nodes] soak "a hosted control plane for minutes: cargo nodes";
}

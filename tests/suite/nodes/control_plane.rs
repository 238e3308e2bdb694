//! One control plane by docs/install/kubeadm.md, and what its life brings.

use std::time::{Duration, Instant};

use super::super::documents::markdown::Page;
use super::super::harness::vault::Vault;
use super::super::harness::wait;
use super::images::UPGRADED;
use super::network::Network;
use super::node::{LIMIT, Node};
use super::site::{Site, configuration, docs, page, vault_for, vault_url};

const PLUGIN: &str = "crictl ps --name '^vault-kms-plugin$' -q";

/// The block of the page that goes into the operator's `kubeadm.yaml`.
pub(super) fn api_server(page: &Page) -> String {
    page.blocks("New cluster", "yaml").concat()
}

/// Waits until the plugin's container is another one than this, and answers; how long that took.
async fn replaced(node: &Node, before: &str) -> Duration {
    let start = Instant::now();
    wait::until_true("another container of the plugin", LIMIT, async || {
        let (code, now) = node.try_sh(PLUGIN).await;
        code == 0 && !now.trim().is_empty() && now != before
    })
    .await;
    let live = "vault-kms-plugin status --live --socket=/run/vault-kms-plugin/kms.sock";
    let live = format!("crictl exec \"$({PLUGIN})\" /usr/local/bin/{live}");
    node.until("the socket to answer", &live).await;
    start.elapsed()
}

/// As the manifest says, of the process itself.
async fn expect_confined(node: &Node) {
    let status = node
        .sh("cat /proc/$(pgrep -o -x vault-kms-plugi)/status")
        .await;
    for line in [
        "Uid:\t60790\t60790\t60790\t60790",
        "Gid:\t60790\t60790\t60790\t60790",
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
    ] {
        assert!(status.contains(line), "{line}\n{status}");
    }
}

async fn a_killed_plugin_is_back_and_no_write_fails_meanwhile(node: &Node) {
    let before = node.sh(PLUGIN).await;
    node.sh("kill -9 $(pgrep -o -x vault-kms-plugi)").await;
    // kube-apiserver holds its seed: it needs no plugin for these.
    node.create_secret("while-it-is-down").await;
    let took = replaced(node, &before).await;
    say(&format!(
        "killed plugin: back after {:.1} s",
        took.as_secs_f32()
    ));
    assert!(took < Duration::from_secs(30), "{took:?}");
    node.expect_secret("while-it-is-down").await;
}

/// docs/operations/upgrade.md.
async fn another_image_takes_over(node: &Node) {
    let before = node.sh(PLUGIN).await;
    for block in docs("operations/upgrade.md").blocks("Static pod", "console") {
        // The image is loaded already.
        let block: Vec<_> = block
            .lines()
            .filter(|line| !line.contains("docker") && !line.contains("images import"))
            .collect();
        node.sh(&block.join("\n")).await;
    }
    let took = replaced(node, &before).await;
    say(&format!(
        "another image: serves after {:.1} s",
        took.as_secs_f32()
    ));
    let image = format!("crictl inspect \"$({PLUGIN})\" | jq -r .status.image.image");
    assert_eq!(node.sh(&image).await.trim(), UPGRADED);
    node.create_secret("after-another-image").await;
    node.expect_secret("after-another-image").await;
}

async fn a_restart_of_kubelet_leaves_the_plugin_alone(node: &Node) {
    let before = node.sh(PLUGIN).await;
    node.sh("systemctl restart kubelet").await;
    node.until("kubelet", "curl -sS --fail http://127.0.0.1:10248/healthz")
        .await;
    node.ready().await;
    assert_eq!(node.sh(PLUGIN).await, before);
}

/// Longer than liveness probes that fail would need for a restart.
const PROBES: Duration = Duration::from_secs(75);
const FILE: &str = "/etc/vault-kms-plugin/config.toml";

/// Something by which no probe may fail, and the container that has to outlive it.
struct Fault {
    since: Instant,
    container: String,
}

impl Fault {
    async fn of(node: &Node) -> Self {
        Self {
            since: Instant::now(),
            container: node.sh(PLUGIN).await,
        }
    }

    /// Waits for what is left of the time, and panics if the container was replaced.
    async fn expect_outlived(self, node: &Node) {
        tokio::time::sleep(PROBES.saturating_sub(self.since.elapsed())).await;
        assert_eq!(node.sh(PLUGIN).await, self.container);
    }
}

/// A file that no reload accepts.
async fn a_broken_file(node: &Node) -> Fault {
    node.sh(&format!(
        "cp -p {FILE} {FILE}.good && echo 'not TOML' > {FILE}"
    ))
    .await;
    let reload = format!("crictl exec \"$({PLUGIN})\" /usr/local/bin/vault-kms-plugin reload");
    let (code, said) = node.try_sh(&reload).await;
    assert!(code != 0 && said.contains("config.toml"), "{said}");
    Fault::of(node).await
}

/// The admin port is another's when the plugin starts again.
async fn a_taken_port(node: &Node) -> Fault {
    let before = node.sh(PLUGIN).await;
    node.sh("kill -9 $(pgrep -o -x vault-kms-plugi)").await;
    node.sh("systemd-run --unit=taker systemd-socket-activate -l 127.0.0.1:8790 /bin/cat")
        .await;
    replaced(node, &before).await;
    node.create_secret("with-a-taken-port").await;
    Fault::of(node).await
}

async fn a_rotation_and_a_re_encryption_leave_nothing_under_the_old_version(
    node: &Node,
    vault: &Vault,
) {
    vault.rotate("transit", "kms").await;
    let hash = "kubectl get --raw /metrics | grep '^apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds'";
    let before = node.sh(hash).await.lines().count();
    node.until(
        "the new key_id in kube-apiserver",
        &format!("test \"$({hash} | wc -l)\" -gt {before}"),
    )
    .await;
    node.write_all_again(2).await;
}

async fn renewed_certificates_leave_the_encryption_as_it_was(node: &Node) {
    node.sh("kubeadm certs renew all").await;
    node.sh(
        "cp /etc/kubernetes/manifests/kube-apiserver.yaml /srv/home/kept.yaml && \
             rm /etc/kubernetes/manifests/kube-apiserver.yaml",
    )
    .await;
    node.until(
        "kube-apiserver to be gone",
        "! crictl ps --name '^kube-apiserver$' -q | grep .",
    )
    .await;
    node.sh("mv /srv/home/kept.yaml /etc/kubernetes/manifests/kube-apiserver.yaml")
        .await;
    node.ready().await;
    node.expect_secret("first").await;
}

/// `kubeadm init phase control-plane` and `kubeadm upgrade`, each with another change.
async fn changes_by_kubeadm_keep_the_encryption(node: &Node) {
    let api_server = api_server(&page());
    let more = "  extraArgs:\n    - name: audit-log-maxage\n      value: \"7\"\n";
    let changed = api_server.replacen("  extraArgs:\n", more, 1);
    node.machine
        .write("/srv/home/kubeadm.yaml", &configuration(node, &changed));
    let before = "crictl ps --name '^kube-apiserver$' -q";
    let old = node.sh(before).await;
    node.sh("kubeadm init phase control-plane apiserver --config kubeadm.yaml")
        .await;
    expect_another(node, before, &old).await;
    node.sh("grep -e --audit-log-maxage=7 /etc/kubernetes/manifests/kube-apiserver.yaml")
        .await;

    let changed = changed.replace("value: \"7\"", "value: \"8\"");
    node.machine
        .write("/srv/home/kubeadm.yaml", &configuration(node, &changed));
    let old = node.sh(before).await;
    node.sh("kubeadm init phase upload-config kubeadm --config kubeadm.yaml")
        .await;
    let upgrade = format!(
        "kubeadm upgrade apply v{} --yes --ignore-preflight-errors=all \
         --skip-phases=addon/coredns,addon/kube-proxy",
        super::super::harness::servers::KUBERNETES
    );
    node.sh(&upgrade).await;
    expect_another(node, before, &old).await;
    node.sh("grep -e --audit-log-maxage=8 /etc/kubernetes/manifests/kube-apiserver.yaml")
        .await;
    for block in page().blocks("Upgrades", "sh") {
        node.sh(&block).await;
    }
    node.create_secret("after-an-upgrade").await;
    node.expect_all_under(2).await;
}

async fn expect_another(node: &Node, command: &str, before: &str) {
    wait::until_true("another kube-apiserver", LIMIT, async || {
        let (code, now) = node.try_sh(command).await;
        code == 0 && !now.trim().is_empty() && now != before
    })
    .await;
    node.ready().await;
    node.expect_secret("first").await;
}

/// Reports a figure, past the capture of the test runner.
pub(super) fn say(line: &str) {
    eprintln!("[nodes] {line}");
}

async fn a_control_plane_of_the_guide_outlives_what_happens_to_it() {
    let network = Network::new();
    let vault = Vault::start_persistent().await;
    let doubles = (vault_for(&network, &vault), network.control_plane(1));
    let site = Site::new(network, &vault, &vault_url(), 1).await;
    let start = Instant::now();
    let node = &site.nodes[0];
    node.install_plugin().await;
    node.init(&api_server(&page())).await;
    let took = start.elapsed().as_secs_f32();
    let proof = node.follow("Proof", &[]).await;
    assert!(proof.contains("|k8s:enc:kms:v2:"), "{proof}");
    say(&format!(
        "from the files to a ready control plane: {took:.0} s"
    ));
    node.create_secret("first").await;
    node.expect_all_under(1).await;
    expect_confined(node).await;

    a_killed_plugin_is_back_and_no_write_fails_meanwhile(node).await;
    a_restart_of_kubelet_leaves_the_plugin_alone(node).await;
    let broken = a_broken_file(node).await;
    a_rotation_and_a_re_encryption_leave_nothing_under_the_old_version(node, &vault).await;
    renewed_certificates_leave_the_encryption_as_it_was(node).await;
    broken.expect_outlived(node).await;
    node.sh(&format!("mv {FILE}.good {FILE}")).await;

    let taken = a_taken_port(node).await;
    changes_by_kubeadm_keep_the_encryption(node).await;
    taken.expect_outlived(node).await;
    node.sh("systemctl stop taker").await;

    another_image_takes_over(node).await;
    expect_confined(node).await;

    drop(doubles);
}

tests! {
    multi a_control_plane_of_the_guide_outlives_what_happens_to_it [Vault, Nodes] soak "a control plane for ten minutes: cargo nodes";
}

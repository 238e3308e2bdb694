//! Reboots of a node: when the socket is there, and when kube-apiserver is ready.

use std::time::{Duration, Instant};

use super::super::harness::listener::Listener;
use super::super::harness::vault::Vault;
use super::super::harness::wait;
use super::control_plane::{api_server, say};
use super::network::Network;
use super::node::{LIMIT, Node, PROGRAM};
use super::site::{Site, page, vault_for, vault_url};

const SOCKET: &str = "/run/vault-kms-plugin/kms.sock";
const MANIFEST: &str = "/etc/kubernetes/manifests/vault-kms-plugin.yaml";
/// The issue's goal, and what a machine with other work may add.
const SOCKET_AFTER_FIRST_CONTAINER: f64 = 2.0;
/// What one measurement may differ from the next.
const NOISE: f64 = 5.0;
/// Repetitions of each kind; one for a test, more for a figure.
const REPEAT: &str = "REBOOTS";

/// In seconds.
struct Reboot {
    /// From the start of kubelet to the socket, the first container's start to it, and from the start of
    /// kubelet to a ready kube-apiserver.
    socket: f64,
    after_first_container: f64,
    ready: f64,
}

/// Cuts the power, and measures what comes back.
async fn reboot(node: &mut Node) -> Reboot {
    node.machine.power_cut().await;
    node.ready().await;
    let ready = seconds(node, "date +%s.%N").await;
    let kubelet = seconds(
        node,
        "awk -v up=\"$(cut -d' ' -f1 /proc/uptime)\" -v now=\"$(date +%s.%N)\" \
         -v at=\"$(systemctl show -P ExecMainStartTimestampMonotonic kubelet)\" \
         'BEGIN { printf \"%.3f\", now - up + at / 1e6 }'",
    )
    .await;
    let socket = seconds(node, &format!("stat -c %.9Y {SOCKET}")).await;
    let first = seconds(
        node,
        "crictl ps -q | xargs -n1 crictl inspect | jq -r .status.startedAt | \
         while read -r at; do date -d \"$at\" +%s.%N; done | sort -n | head -n 1",
    )
    .await;
    Reboot {
        socket: socket - kubelet,
        after_first_container: socket - first,
        ready: ready - kubelet,
    }
}

async fn seconds(node: &Node, command: &str) -> f64 {
    let said = node.sh(command).await;
    said.trim()
        .parse()
        .unwrap_or_else(|_| panic!("{command}: {said}"))
}

async fn several(node: &mut Node, kind: &str) -> Reboot {
    let count = std::env::var(REPEAT).map_or(1, |it| it.parse().unwrap());
    let mut all = Vec::new();
    for _ in 0..count {
        let one = reboot(node).await;
        say(&format!(
            "reboot, {kind}: after kubelet's start, socket {:.1} s ({:.1} s after the first container), ready {:.1} s",
            one.socket, one.after_first_container, one.ready
        ));
        node.expect_secret("first").await;
        all.push(one);
    }
    all.sort_by(|a, b| a.ready.total_cmp(&b.ready));
    all.swap_remove(all.len() / 2)
}

/// The same node with the pod as it is shipped, with a directory made beforehand, and with the unit.
async fn are_as_short_as_with_a_unit(node: &mut Node) {
    let shipped = several(node, "static pod").await;
    assert!(
        shipped.after_first_container < SOCKET_AFTER_FIRST_CONTAINER + NOISE,
        "{}",
        shipped.after_first_container
    );
    node.machine.write(
        "/etc/tmpfiles.d/vault-kms-plugin.conf",
        "d /run/vault-kms-plugin 0755 60790 60790 -\n",
    );
    let made_before = several(node, "static pod, directory made beforehand").await;
    node.sh("rm /etc/tmpfiles.d/vault-kms-plugin.conf").await;
    unit_instead_of_pod(node).await;
    let unit = several(node, "systemd unit").await;
    pod_instead_of_unit(node).await;
    for (kind, other) in [("directory made beforehand", made_before), ("unit", unit)] {
        assert!(
            shipped.ready < other.ready + NOISE,
            "{kind}: {} against {}",
            shipped.ready,
            other.ready
        );
    }
}

/// What docs/install/static-pod.md says of an init container, and of a resolver that does not answer. No more than figures:
/// both are kubelet's.
async fn what_delays_a_static_pod(node: &mut Node) {
    let patch = r#"{"spec":{"initContainers":[{"name":"prepare","image":"localhost/vault-kms-plugin:0.1.0",
        "imagePullPolicy":"Never","securityContext":{"runAsUser":0},"volumeMounts":[{"name":"socket","mountPath":"/run/vault-kms-plugin"}],
        "command":["/usr/local/bin/vault-kms-plugin","prepare-dir","--owner","60790:60790","/run/vault-kms-plugin"]}]}}"#;
    node.sh(&format!(
        "cp {MANIFEST} /srv/home/shipped.yaml && \
         kubectl patch --local -f /srv/home/shipped.yaml -o yaml -p '{patch}' > /srv/home/patched.yaml && \
         mv /srv/home/patched.yaml {MANIFEST}"
    ))
    .await;
    several(node, "static pod with an init container").await;
    node.sh(&format!("mv /srv/home/shipped.yaml {MANIFEST}"))
        .await;
    node.sh(
        "cp /etc/hosts /srv/home/hosts && sed -i \"/$(hostname)/d\" /etc/hosts && \
         echo \"nameserver $(hostname -I | cut -d. -f1-3).250\" > /etc/resolv.conf",
    )
    .await;
    several(node, "static pod, the name of the node not resolved").await;
    node.sh("cp /srv/home/hosts /etc/hosts && : > /etc/resolv.conf")
        .await;
}

/// docs/install/systemd.md on a node of the static pod.
async fn unit_instead_of_pod(node: &Node) {
    let source = |path: &str| {
        std::fs::read_to_string(format!("{}/systemd/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    };
    for (from, to) in [
        (
            "sysusers.d/vault-kms-plugin.conf",
            "/etc/sysusers.d/vault-kms-plugin.conf",
        ),
        (
            "tmpfiles.d/vault-kms-plugin.conf",
            "/etc/tmpfiles.d/vault-kms-plugin.conf",
        ),
        (
            "vault-kms-plugin.service",
            "/etc/systemd/system/vault-kms-plugin.service",
        ),
    ] {
        node.machine.write(to, &source(from));
    }
    node.sh(&format!(
        "mv {MANIFEST} /srv/home/pod.yaml && systemd-sysusers && \
         install -m 0755 {PROGRAM} /usr/local/bin/vault-kms-plugin"
    ))
    .await;
    node.until(
        "the pod to be gone",
        "! crictl ps --name '^vault-kms-plugin$' -q | grep .",
    )
    .await;
    node.sh(
        "systemctl daemon-reload && systemctl enable --now vault-kms-plugin && \
         mkdir -p /etc/systemd/system/machine.target.wants && \
         ln -s /etc/systemd/system/vault-kms-plugin.service /etc/systemd/system/machine.target.wants/",
    )
    .await;
    node.expect_secret("first").await;
}

async fn pod_instead_of_unit(node: &Node) {
    node.sh(&format!(
        "rm /etc/systemd/system/machine.target.wants/vault-kms-plugin.service && \
         systemctl disable --now vault-kms-plugin && rm /etc/tmpfiles.d/vault-kms-plugin.conf && \
         mv /srv/home/pod.yaml {MANIFEST}"
    ))
    .await;
    node.until(
        "the pod",
        "crictl ps --name '^vault-kms-plugin$' -q | grep .",
    )
    .await;
}

/// Nothing that needs a seed can be read, the socket and kube-apiserver answer, and all is well without a
/// restart once Vault is back.
async fn without_vault_end_with_vault(site: &mut Site, end: Listener, vault: &Vault) {
    drop(end);
    let node = &mut site.nodes[0];
    node.machine.power_cut().await;
    let start = Instant::now();
    let socket = format!("test -S {SOCKET}");
    node.until("the socket", &socket).await;
    let after = start.elapsed();
    node.until(
        "kube-apiserver to be started",
        "crictl ps --name '^kube-apiserver$' -q | grep .",
    )
    .await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let readyz = node.readyz().await;
    let plugin = node.sh("crictl ps --name '^vault-kms-plugin$' -q").await;
    let back = Instant::now();
    let _end = vault_for(&site.network, vault);
    let node = &site.nodes[0];
    wait::until_true("kube-apiserver with Vault back", LIMIT, async || {
        node.readyz().await == Some(200)
    })
    .await;
    node.expect_secret("first").await;
    say(&format!(
        "reboot without Vault: socket {:.1} s after the boot, readyz {readyz:?}, ready {:.1} s after Vault was back",
        after.as_secs_f32(),
        back.elapsed().as_secs_f32()
    ));
    assert_eq!(
        node.sh("crictl ps --name '^vault-kms-plugin$' -q").await,
        plugin
    );
}

async fn a_reboot_is_as_short_as_with_a_unit_and_vault_may_be_away() {
    let network = Network::new();
    let vault = Vault::start_persistent().await;
    let end = vault_for(&network, &vault);
    let balancer = network.control_plane(1);
    let mut site = Site::new(network, &vault, &vault_url(), 1).await;
    let node = &site.nodes[0];
    node.install_plugin().await;
    node.init(&api_server(&page())).await;
    node.create_secret("first").await;
    are_as_short_as_with_a_unit(&mut site.nodes[0]).await;
    if std::env::var_os(REPEAT).is_some() {
        what_delays_a_static_pod(&mut site.nodes[0]).await;
    }
    without_vault_end_with_vault(&mut site, end, &vault).await;
    drop(balancer);
}

tests! {
    multi a_reboot_is_as_short_as_with_a_unit_and_vault_may_be_away [Vault, Nodes] soak "reboots of a control plane for minutes: cargo nodes";
}

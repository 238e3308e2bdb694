//! Interruptions: killed, stopped, without a kube-apiserver, with a list whose state is gone.

use std::fs;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::LIMIT;
use crate::harness::servers::{self, Server};
use crate::harness::vault::Vault;
use crate::harness::wait;
use crate::kmsctl::site::{Ended, Site, finish, identity};

const SLOW: [&str; 7] = [
    "migrate",
    "--method",
    "direct",
    "--page-size",
    "3",
    "--qps",
    "40",
];

async fn ready(count: usize) -> Site {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let site = Site::start(vault, &fixture).await;
    site.fill(count).await;
    site.configure(&[site.kms("v2", "vault"), identity()]).await;
    site
}

fn spawn(mut command: Command) -> Child {
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap()
}

/// How many values are encrypted.
async fn encrypted(site: &Site) -> usize {
    let stored = site.stored().await;
    stored
        .values()
        .filter(|value| value.starts_with(b"k8s:enc:kms:v2:vault:"))
        .count()
}

async fn reaches(site: &Site, count: usize) {
    let what = format!("{count} objects are written");
    wait::until_true(&what, LIMIT, async || encrypted(site).await >= count).await;
}

async fn ended(child: Child) -> Ended {
    let output = tokio::task::spawn_blocking(move || child.wait_with_output());
    Ended::from(output.await.unwrap().unwrap())
}

async fn killed_at_any_point_it_loses_nothing_and_goes_on() {
    let site = ready(60).await;
    let before = site.contents().await;
    let state = site.path("state.json");
    let state = state.to_str().unwrap();
    let arguments = [&SLOW[..], &["--state", state]].concat();
    let mut written = 0;
    for _ in 0..5 {
        let mut child = spawn(site.command(&arguments));
        reaches(&site, written + fastrand::usize(1..12)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(site.contents().await, before);
        written = encrypted(&site).await;
    }
    assert!(written < site.stored().await.len());
    let ended = site.run(&arguments).await.expect(0);
    eprintln!("{}\n{}", ended.out, ended.err);
    site.assert_stored("k8s:enc:kms:v2:vault:", "").await;
    assert_eq!(site.contents().await, before);
    assert!(!std::path::Path::new(state).exists());
}

async fn a_signal_stops_it_after_the_requests_in_flight() {
    let site = ready(60).await;
    let child = spawn(site.command(&SLOW));
    reaches(&site, 5).await;
    kill_process(pid_of(&child), Signal::TERM).unwrap();
    let ended = ended(child).await.expect(1);
    eprintln!("{}\n{}", ended.out, ended.err);
    assert!(ended.err.contains("stopped by a signal"), "{ended:?}");
    assert!(ended.out.contains("not finished"), "{ended:?}");
    let count = encrypted(&site).await;
    assert!(
        ended.out.contains(&format!(": {count} written")),
        "{count} {ended:?}"
    );
}

async fn kube_apiserver_may_start_again_meanwhile() {
    let site = ready(60).await;
    let before = site.contents().await;
    let child = spawn(site.command(&SLOW));
    reaches(&site, 5).await;
    site.kubernetes.restart().await;
    ended(child).await.expect(0);
    site.assert_stored("k8s:enc:kms:v2:vault:", "").await;
    assert_eq!(site.contents().await, before);
}

async fn a_list_whose_state_is_compacted_goes_on() {
    let site = ready(60).await;
    let before = site.contents().await;
    let child = spawn(site.command(&SLOW));
    reaches(&site, 10).await;
    // kube-apiserver keeps states of its own for a while: they go with its process.
    let etcdctl = |arguments: &[&str]| {
        let mut command = Command::new(servers::binary(Server::Etcdctl));
        let command = command.arg("--endpoints").arg(site.etcd.address());
        let output = command.args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let now: serde_json::Value =
        serde_json::from_str(&etcdctl(&["get", "/", "-w", "json"])).unwrap();
    let revision = now["header"]["revision"].to_string();
    etcdctl(&["compact", &revision]);
    site.kubernetes.restart().await;
    let ended = ended(child).await.expect(0);
    eprintln!("{}\n{}", ended.out, ended.err);
    let metrics = site.kubernetes.metrics().await;
    let refused = metrics.lines().any(|line| {
        line.starts_with("apiserver_request_total{code=\"410\"") && line.contains("LIST")
    });
    assert!(refused, "kube-apiserver still had the state of the list");
    site.assert_stored("k8s:enc:kms:v2:vault:", "").await;
    assert_eq!(site.contents().await, before);
}

async fn without_a_kube_apiserver_it_waits_until_it_is_stopped() {
    let site = ready(2).await;
    let mut command = site.command(&["migrate"]);
    command.args(["--context", "absent"]);
    let other = finish(command).await.expect(78);
    assert!(other.err.contains("absent"), "{other:?}");
    // One that takes connections and says nothing.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let text = fs::read_to_string(site.path("kubeconfig")).unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    let text = text.replace(&site.kubernetes.address(), &address);
    fs::write(site.path("kubeconfig"), text).unwrap();
    let child = spawn(site.command(&["migrate"]));
    let (_connection, _) = listener.accept().await.unwrap();
    kill_process(pid_of(&child), Signal::TERM).unwrap();
    let ended = ended(child).await.expect(1);
    assert!(ended.err.contains("nothing was written"), "{ended:?}");
}

tests! {
    multi killed_at_any_point_it_loses_nothing_and_goes_on [Vault, Kubernetes];
    multi a_signal_stops_it_after_the_requests_in_flight [Vault, Kubernetes];
    multi kube_apiserver_may_start_again_meanwhile [Vault, Kubernetes];
    multi a_list_whose_state_is_compacted_goes_on [Vault, Kubernetes, EtcdTools];
    multi without_a_kube_apiserver_it_waits_until_it_is_stopped [Vault, Kubernetes];
}

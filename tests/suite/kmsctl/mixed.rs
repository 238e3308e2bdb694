//! A large cluster that holds every form at once, with another writer from the first step to the last: it is audited,
//! rotated while one node is cut off from Vault, encrypted again, and proven.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::StreamExt;
use futures_util::stream::iter;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::nodes::Nodes;
use super::site::{
    NAMESPACE, Site, WIDGETS, aescbc, findings, finish, identity, operators, secretbox, secrets_by,
};
use crate::harness::kubernetes::KubeApiserver;
use crate::harness::proxy::Fault;
use crate::harness::vault::Vault;

const FORMS: usize = 5;
const SECRETS_OF_EACH: usize = 4_000;
/// ConfigMaps, and custom resources.
const OTHERS_OF_EACH: usize = 400;
const WRITERS: usize = 16;
/// A rotation has to wait for kube-apiserver's next Status, once a minute.
const ROTATE: [&str; 7] = [
    "--wait",
    "--method",
    "direct",
    "--qps",
    "0",
    "--timeout",
    "5m",
];

/// What the Secrets of the second writer hold: nothing, if it deleted one.
type Written = BTreeMap<String, Option<String>>;

fn list() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/secrets")
}

async fn fill(kubernetes: &KubeApiserver, form: usize) {
    let secret = |number| {
        let body = json!({
            "metadata": { "name": format!("secret-{form}-{number}") },
            "data": { "value": STANDARD.encode(format!("of form {form}, {number}")) },
        });
        (list(), body)
    };
    let map = |number| {
        let body = json!({
            "metadata": { "name": format!("map-{form}-{number}") },
            "data": { "value": format!("map {number}") },
        });
        (format!("/api/v1/namespaces/{NAMESPACE}/configmaps"), body)
    };
    let widget = |number| {
        let body = json!({
            "apiVersion": "example.org/v1", "kind": "Widget",
            "metadata": { "name": format!("widget-{form}-{number}") },
            "spec": { "size": number },
        });
        (WIDGETS.to_owned(), body)
    };
    let all = (0..SECRETS_OF_EACH).map(secret);
    let all = all.chain((0..OTHERS_OF_EACH).map(map));
    let all = all.chain((0..OTHERS_OF_EACH).map(widget));
    iter(all)
        .for_each_concurrent(WRITERS, |(path, body)| async move {
            kubernetes.expect("POST", &path, Some(body)).await;
        })
        .await;
}

/// The second writer: makes, changes and deletes Secrets until it is stopped. Returns what they must hold.
async fn write(kubernetes: &KubeApiserver, stop: CancellationToken) -> Written {
    let mut written = Written::new();
    let mut round = 0;
    while !stop.is_cancelled() {
        let fresh = format!("busy-{round}");
        let (code, answer) = kubernetes.create_secret(NAMESPACE, &fresh, "busy").await;
        assert_eq!(code, 201, "{answer}");
        written.insert(fresh, Some("busy".to_owned()));
        let changed = format!("secret-{}-{}", round % FORMS, round % SECRETS_OF_EACH);
        change(kubernetes, &changed, &format!("changed in {round}")).await;
        written.insert(changed, Some(format!("changed in {round}")));
        if round % 3 == 2 {
            let gone = format!("busy-{}", round - 1);
            let path = format!("{}/{gone}", list());
            kubernetes.expect("DELETE", &path, None).await;
            written.insert(gone, None);
        }
        round += 1;
        // A steady load, not a flood.
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    eprintln!("the second writer made {round} rounds");
    written
}

/// Changes a Secret; after a conflict with another writer it tries again.
async fn change(kubernetes: &KubeApiserver, name: &str, value: &str) {
    let path = format!("{}/{name}", list());
    loop {
        let mut secret = kubernetes.expect("GET", &path, None).await;
        secret["data"]["value"] = json!(STANDARD.encode(value));
        match kubernetes.request("PUT", &path, Some(secret)).await {
            (200, _) => return,
            (409, _) => {}
            (code, answer) => panic!("{name}: {code} {answer}"),
        }
    }
}

/// Objects of each form, in the order of the providers; the newest writes last.
async fn every_form(site: &Site) -> Vec<String> {
    let newest_first = [
        site.kms("v2", "vault"),
        site.kms("v1", "old"),
        secretbox(),
        aescbc(),
        identity(),
    ];
    for form in 0..FORMS {
        site.configure(&newest_first[FORMS - 1 - form..]).await;
        fill(&site.kubernetes, form).await;
    }
    newest_first.to_vec()
}

/// The report of an audit that proves every object.
async fn prove(site: &Site, code: i32, more: &[&str]) -> Value {
    let (file, config) = (site.file(), site.daemon.config_path());
    let arguments = [
        "--verify",
        "--config",
        config.to_str().unwrap(),
        "--encryption-config",
        file.to_str().unwrap(),
        "--json",
    ];
    let began = Instant::now();
    let ended = site.audit(&[&arguments, more].concat()).await.expect(code);
    eprintln!(
        "audit --verify {more:?}: {:.1?}\n{}",
        began.elapsed(),
        ended.err
    );
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    let unreadable = &report["verified"]["unreadable"];
    assert_eq!(unreadable, &json!(0), "{:#}", report["findings"]);
    report
}

/// No object of a step before is lost, and each holds what was written last.
async fn assert_contents(site: &Site, written: &Written) {
    let contents = site.contents().await;
    let value = |path: &str, name: &str| {
        let object = contents.get(&format!("{path} \"{NAMESPACE}\" \"{name}\""))?;
        let value = STANDARD.decode(object["data"]["value"].as_str()?).unwrap();
        Some(String::from_utf8(value).unwrap())
    };
    for form in 0..FORMS {
        for number in 0..SECRETS_OF_EACH {
            let name = format!("secret-{form}-{number}");
            let first = || Some(format!("of form {form}, {number}"));
            let expected = written.get(&name).cloned().unwrap_or_else(first);
            assert_eq!(value("/api/v1/secrets", &name), expected, "{name}");
        }
    }
    for (name, expected) in written {
        assert_eq!(&value("/api/v1/secrets", name), expected, "{name}");
    }
    let count = |start: &str| contents.keys().filter(|key| key.contains(start)).count();
    assert_eq!(count("\"widget-"), FORMS * OTHERS_OF_EACH);
    assert_eq!(count("\"map-"), FORMS * OTHERS_OF_EACH);
}

/// The audit of a cluster that holds every form, live and from a snapshot.
async fn assert_mixed(site: &Site) {
    let report = prove(site, 1, &[]).await;
    let snapshot = site.path("mixed.db");
    site.save_snapshot(&snapshot).await;
    let file = site.file();
    let offline = [
        "audit",
        "--snapshot",
        snapshot.to_str().unwrap(),
        "--encryption-config",
        file.to_str().unwrap(),
        "--json",
    ];
    let ended = finish(operators(&offline)).await.expect(1);
    let offline: Value = serde_json::from_str(&ended.out).unwrap();
    // The second writer changes those of other providers into those of the first meanwhile.
    for report in [&report, &offline] {
        let total: u64 = [
            "identity",
            "aescbc",
            "secretbox",
            "kms v1 old",
            "kms v2 vault",
        ]
        .map(|provider| {
            let count = secrets_by(report, provider);
            assert!(
                count > 0 && count < 2 * SECRETS_OF_EACH as u64,
                "{provider} {count}"
            );
            count
        })
        .iter()
        .sum();
        assert!(total >= (FORMS * SECRETS_OF_EACH) as u64, "{total}");
        // A finding for each resource.
        let kinds = findings(report).into_iter().map(|(kind, _)| kind);
        let kinds: BTreeSet<_> = kinds.collect();
        let expected = ["not_encrypted", "other_provider"].map(str::to_owned);
        assert_eq!(kinds, BTreeSet::from(expected));
    }
}

async fn a_large_cluster_of_every_form_is_encrypted_again_while_others_write_and_one_node_is_cut_off()
 {
    let vault = Vault::start_persistent().await;
    let fixture = vault.fixture().await;
    let site = Site::start(&vault, &fixture).await;
    let began = Instant::now();
    let providers = every_form(&site).await;
    eprintln!("filled in {:.1?}", began.elapsed());
    let nodes = Nodes::join(site, &vault, fixture, &providers).await;
    let site = &nodes.site;
    let stop = CancellationToken::new();
    let steps = async {
        let _stop = stop.clone().drop_guard();
        assert_mixed(site).await;

        nodes.proxy.fault("", Fault::Refuse);
        let shorter = [&ROTATE[..5], &["--timeout", "75s"]].concat();
        let ended = nodes.run(&vault, &shorter).await.expect(69);
        assert!(ended.err.contains(&nodes.second.address()), "{ended:?}");
        assert_eq!(nodes.latest(&vault).await, 2);
        // What the cut-off node can read it still reads, and the others write.
        prove(site, 1, &[]).await;

        nodes.proxy.clear();
        let endpoints = site.etcd.address();
        let rotate = [&ROTATE[..], &["--endpoints", &endpoints]].concat();
        let began = Instant::now();
        nodes.run(&vault, &rotate).await.expect(0);
        eprintln!("rotate and migrate: {:.1?}", began.elapsed());
        assert_eq!(nodes.latest(&vault).await, 2);
        let report = prove(site, 0, &[]).await;
        assert_eq!(findings(&report), []);
    };
    let ((), written) = tokio::join!(steps, write(&site.kubernetes, stop.clone()));

    let key_id = format!("transit1::{}:kms:v2:", nodes.fixture.mount);
    site.assert_stored("k8s:enc:kms:v2:vault:", &key_id).await;
    assert_contents(site, &written).await;
    assert_minimum(&nodes, &vault).await;
}

/// The first version may go after etcd forgot it, but not while the snapshot is kept; then all is readable without it.
async fn assert_minimum(nodes: &Nodes, vault: &Vault) {
    let (site, fixture) = (&nodes.site, &nodes.fixture);
    site.compact().await;
    let snapshot = site.path("mixed.db");
    let backup = ["--backup", snapshot.to_str().unwrap()];
    let held = prove(site, 0, &backup).await;
    assert_eq!(held["keys"][0]["command"], Value::Null, "{held:#}");
    let report = prove(site, 0, &[]).await;
    let expected = format!(
        "vault write {}/keys/{}/config min_decryption_version=2",
        fixture.mount, fixture.key
    );
    assert_eq!(report["keys"][0]["command"], json!(expected));
    let settings = json!({ "min_decryption_version": 2 });
    vault
        .configure_key(&fixture.mount, &fixture.key, settings)
        .await;
    prove(site, 0, &[]).await;
}

tests! {
    multi a_large_cluster_of_every_form_is_encrypted_again_while_others_write_and_one_node_is_cut_off [Vault, Kubernetes, EtcdTools] soak "writes and rewrites 24,000 objects; minutes";
}

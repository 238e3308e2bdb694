//! Values that bao-kms-provider wrote: bound to labels, encrypted here by a real Vault under the
//! canonical JSON of that plugin's published test vector.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::{Value, json};
use tonic::Code;

use super::{Annotations, decrypted};
use crate::batching::{gather, items};
use crate::harness::daemon::{Builder, Daemon};
use crate::harness::kms::KmsClient;
use crate::harness::proxy::{Proxy, Seen};
use crate::harness::vault::{Fixture, Vault, plugin_policy};
use crate::harness::wait;
use crate::{LIMIT, daemon_for};

pub(crate) const SEED: [u8; 32] = [13; 32];
pub(crate) const KEY: &str = "bound";

/// A value as that plugin stores it, and what it is bound to.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) key_id: String,
    pub(crate) annotations: Annotations,
    canonical: String,
    pub(crate) ciphertext: String,
}

pub(crate) fn golden() -> Value {
    serde_json::from_str(include_str!("../../golden/bao_kms_provider.json")).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn hash(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, text.as_bytes()))
}

/// A key of three versions beside that of the fixture, which the fixture's token may decrypt with.
pub(crate) async fn with_bound_key(vault: &Vault) -> Fixture {
    let fixture = vault.fixture().await;
    let Fixture { mount, key, .. } = &fixture;
    vault.create_key(mount, KEY).await;
    for key in [key, KEY] {
        // The published vector is of version 3.
        vault.rotate(mount, key).await;
        vault.rotate(mount, key).await;
    }
    let policy = format!(
        "{}path \"{mount}/decrypt/{KEY}\" {{ capabilities = [\"update\"] }}\n",
        plugin_policy(mount, key)
    );
    vault.write_policy(&fixture.policy, &policy).await;
    fixture
}

/// What that plugin would have written under a key_id; the published one if none is named.
pub(crate) async fn written(
    vault: &Vault,
    mount: &str,
    key: &str,
    key_id: Option<&str>,
) -> Written {
    let golden = golden();
    let published = text(&golden["key_id"]);
    let key_id = key_id.unwrap_or(published);
    let own = |text: &str| text.replace(&hash(published), &hash(key_id));
    let annotations = golden["annotations"].as_object().unwrap().iter();
    let annotations =
        annotations.map(|(name, value)| (name.clone(), own(text(value)).into_bytes()));
    let canonical = own(text(&golden["canonical"]));
    let body = json!({
        "plaintext": STANDARD.encode(SEED),
        "associated_data": STANDARD.encode(&canonical),
        "key_version": golden["transit_version"],
    });
    let path = format!("{mount}/encrypt/{key}");
    let answer = vault.expect("POST", &path, Some(body)).await;
    Written {
        key_id: key_id.to_owned(),
        annotations: annotations.collect(),
        ciphertext: text(&answer["data"]["ciphertext"]).to_owned(),
        canonical,
    }
}

/// The reader of that plugin's values, with the labels of the published vector.
pub(crate) fn reader(mount: &str, key: &str) -> String {
    let golden = golden();
    format!(
        "[[transit.decrypt_also]]\nmount = \"{mount}\"\nkey = \"{key}\"\nassociated_data = \"bao-kms-provider\"\n\
         provider_name = {}\ncluster_id = {}\ninstance_id = {}\n",
        golden["provider_name"], golden["cluster_id"], golden["instance_id"]
    )
}

async fn ready(builder: Builder) -> (Daemon, KmsClient) {
    let daemon = builder.spawn().await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    (daemon, client)
}

/// A daemon with the reader behind a proxy that has seen nothing yet.
async fn behind_proxy() -> (Fixture, Proxy, Daemon, KmsClient) {
    let vault = Vault::shared().await;
    let fixture = with_bound_key(vault).await;
    let proxy = Proxy::start(vault.socket_address());
    let builder = daemon_for(&proxy.address(), &fixture);
    let (daemon, client) = ready(builder.extra(&reader(&fixture.mount, KEY))).await;
    proxy.reset_counts();
    (fixture, proxy, daemon, client)
}

impl Written {
    async fn read_by(&self, client: &KmsClient) -> Result<Vec<u8>, tonic::Status> {
        decrypted(client, &self.ciphertext, &self.key_id, &self.annotations).await
    }
}

async fn a_value_of_the_published_vector_is_read_from_vault() {
    let vault = Vault::shared().await;
    let fixture = with_bound_key(vault).await;
    let written = written(vault, &fixture.mount, KEY, None).await;
    assert_eq!(
        STANDARD.encode(&written.canonical),
        text(&golden()["associated_data"])
    );
    let alone = vault
        .decrypt(&fixture.mount, KEY, &written.ciphertext)
        .await;
    assert!(alone.is_err(), "it is not bound: {alone:?}");
    let builder = daemon_for(&vault.address(), &fixture);
    let (_daemon, client) = ready(builder.extra(&reader(&fixture.mount, KEY))).await;
    assert_eq!(written.read_by(&client).await.unwrap(), SEED);
    // What this daemon writes, and what others wrote without labels, is read as ever.
    let (ciphertext, key_id) = client.encrypt(&SEED).await.unwrap();
    assert!(key_id.contains(":kms:v3:"), "{key_id}");
    assert_eq!(client.decrypt(&ciphertext, &key_id).await.unwrap(), SEED);
    let theirs = vault.encrypt(&fixture.mount, &fixture.key, &SEED).await;
    assert_eq!(client.decrypt(theirs.as_bytes(), "1").await.unwrap(), SEED);
}

async fn one_key_may_write_and_read_what_is_bound_to_it() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    for _ in 0..2 {
        vault.rotate(&fixture.mount, &fixture.key).await;
    }
    let written = written(vault, &fixture.mount, &fixture.key, None).await;
    let builder = daemon_for(&vault.address(), &fixture);
    let builder = builder.extra(&reader(&fixture.mount, &fixture.key));
    let (_daemon, client) = ready(builder).await;
    assert_eq!(written.read_by(&client).await.unwrap(), SEED);
    let (ciphertext, key_id) = client.encrypt(&SEED).await.unwrap();
    assert_eq!(client.decrypt(&ciphertext, &key_id).await.unwrap(), SEED);
}

/// The associated data of each item of a request.
fn data_of(seen: &Seen) -> Vec<String> {
    let body: Value = serde_json::from_slice(&seen.body).unwrap();
    let items = body["batch_input"]
        .as_array()
        .cloned()
        .unwrap_or_else(|| vec![body]);
    let data = items
        .iter()
        .map(|item| text(&item["associated_data"]).to_owned());
    data.collect()
}

fn decrypts_of(proxy: &Proxy, key: &str) -> Vec<Seen> {
    let path = format!("/decrypt/{key}");
    let mut seen = proxy.requests();
    seen.retain(|seen| seen.path.ends_with(&path));
    seen
}

async fn bound_values_share_a_request_and_each_has_its_own_data() {
    const COUNT: usize = 20;
    let vault = Vault::shared().await;
    let (fixture, proxy, _daemon, client) = behind_proxy().await;
    let mut all = Vec::new();
    for number in 0..COUNT {
        let key_id = format!("obk2.{}", hash(&number.to_string()));
        all.push(written(vault, &fixture.mount, KEY, Some(&key_id)).await);
    }
    gather(&proxy, "/decrypt/");
    let outcomes = join_all(all.iter().map(|one| one.read_by(&client))).await;
    for outcome in outcomes {
        assert_eq!(outcome.unwrap(), SEED);
    }
    let sent = decrypts_of(&proxy, KEY);
    assert!(sent.len() < COUNT / 2, "{} requests", sent.len());
    assert!(sent.iter().any(|seen| items(seen) > COUNT / 2));
    let mut data: Vec<_> = sent.iter().flat_map(data_of).collect();
    let mut expected: Vec<_> = all
        .iter()
        .map(|one| STANDARD.encode(&one.canonical))
        .collect();
    data.sort();
    expected.sort();
    assert_eq!(data, expected);
}

async fn equal_values_share_an_item_and_other_labels_are_another_one() {
    let vault = Vault::shared().await;
    let (fixture, proxy, _daemon, client) = behind_proxy().await;
    let one = written(vault, &fixture.mount, KEY, None).await;
    let mut other = written(vault, &fixture.mount, KEY, Some("obk2.other")).await;
    // The same ciphertext, as if it had been stored with the labels of another value.
    other.ciphertext.clone_from(&one.ciphertext);
    gather(&proxy, "/decrypt/");
    let mixed = [&one, &other, &one, &other, &one];
    let outcomes = join_all(mixed.map(|it| it.read_by(&client))).await;
    for (written, outcome) in mixed.iter().zip(outcomes) {
        if written.key_id == one.key_id {
            assert_eq!(outcome.unwrap(), SEED);
        } else {
            assert_eq!(outcome.unwrap_err().code(), Code::InvalidArgument);
        }
    }
    let sent: usize = decrypts_of(&proxy, KEY).iter().map(items).sum();
    assert_eq!(sent, 2);
}

async fn wrong_names_are_an_error_that_says_which_to_correct() {
    let vault = Vault::shared().await;
    let fixture = with_bound_key(vault).await;
    let written = written(vault, &fixture.mount, KEY, None).await;
    let right = reader(&fixture.mount, KEY);
    let proxy = Proxy::start(vault.socket_address());
    let builder = daemon_for(&proxy.address(), &fixture);
    let wrong = right.replace("workload-a\"\ninstance", "workload-b\"\ninstance");
    assert_ne!(wrong, right);
    let (daemon, client) = ready(builder.extra(&wrong)).await;
    let before = std::fs::read_to_string(daemon.config_path()).unwrap();
    proxy.reset_counts();
    let error = written.read_by(&client).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    let expected = format!(
        "correct provider_name, cluster_id and instance_id of the entry of {}/{KEY} in transit.decrypt_also",
        fixture.mount
    );
    assert!(error.message().contains(&expected), "{error}");
    // It says nothing of the writing key, which is not looked at for it.
    assert!(
        proxy
            .requests()
            .iter()
            .all(|seen| seen.path.ends_with("/decrypt/bound"))
    );
    // A second entry with the right names beside the wrong ones: each is tried.
    daemon.write_config(&format!("{before}\n{right}"));
    daemon.signal(Signal::HUP);
    wait::until_true("the right entry", LIMIT, async || {
        written
            .read_by(&client)
            .await
            .is_ok_and(|seed| seed == SEED)
    })
    .await;
}

async fn labels_that_are_missing_or_contradict_are_an_error_and_vault_is_not_asked() {
    let vault = Vault::shared().await;
    let (fixture, proxy, _daemon, client) = behind_proxy().await;
    let written = written(vault, &fixture.mount, KEY, None).await;
    let changed = |change: &dyn Fn(&mut Written)| {
        let mut changed = written.clone();
        change(&mut changed);
        changed
    };
    let set = |name: &'static str, value: &'static [u8]| {
        move |it: &mut Written| drop(it.annotations.insert(name.to_owned(), value.to_vec()))
    };
    for (case, expected) in [
        (
            changed(&|it| it.annotations.clear()),
            "its annotation provider.kms.openbao.org is missing",
        ),
        (
            changed(&|it| drop(it.annotations.remove("transit-key-hash.kms.openbao.org"))),
            "its annotation transit-key-hash.kms.openbao.org is missing",
        ),
        (
            changed(&|it| it.key_id = "obk2.another".to_owned()),
            "its annotation key-id-hash.kms.openbao.org is not that of its key_id",
        ),
        (
            changed(&|it| it.key_id = "1".to_owned()),
            "its key_id is none of that plugin, though its annotations are",
        ),
        (
            changed(&set("aad-version.kms.openbao.org", b"v2")),
            "its annotation aad-version.kms.openbao.org is \"v2\", not \"v1\"",
        ),
        (
            changed(&set("transit-key-version.kms.openbao.org", b"2")),
            "its annotation transit-key-version.kms.openbao.org is \"2\", and its ciphertext is of version 3",
        ),
    ] {
        let error = case.read_by(&client).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        let message = error.message();
        assert!(message.contains(expected), "{message}");
        assert!(message.contains("transit.decrypt_also.0"), "{message}");
        assert!(message.contains("restore the object"), "{message}");
    }
    assert!(proxy.requests().is_empty(), "{:?}", proxy.requests());
}

async fn a_value_without_labels_never_goes_to_the_key_that_needs_them() {
    let vault = Vault::shared().await;
    let (fixture, proxy, _daemon, client) = behind_proxy().await;
    let written = written(vault, &fixture.mount, KEY, None).await;
    // KMS v1 has neither key_id nor annotations.
    let error = client.decrypt_v1(written.ciphertext.as_bytes()).await;
    assert_eq!(error.unwrap_err().code(), Code::InvalidArgument);
    let kleidi = Annotations::from([("v2.kleidi.beezy.dev".to_owned(), b"1".to_vec())]);
    let error = decrypted(&client, &written.ciphertext, "kleidi-kms-plugin_1", &kleidi).await;
    assert_eq!(error.unwrap_err().code(), Code::InvalidArgument);
    assert!(decrypts_of(&proxy, KEY).is_empty());
    assert!(!decrypts_of(&proxy, &fixture.key).is_empty());
}

async fn without_the_entry_the_error_says_what_to_add() {
    let vault = Vault::shared().await;
    let bound = with_bound_key(vault).await;
    let written = written(vault, &bound.mount, KEY, None).await;
    // A writing key that has the version of the ciphertext, and one that has not.
    for fixture in [bound, vault.fixture().await] {
        let (_daemon, client) = ready(daemon_for(&vault.address(), &fixture)).await;
        let error = written.read_by(&client).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        let expected =
            "add its key to transit.decrypt_also with associated_data = \"bao-kms-provider\"";
        assert!(error.message().contains(expected), "{error}");
    }
}

tests! {
    []
    single a_value_of_the_published_vector_is_read_from_vault [Vault];
    single one_key_may_write_and_read_what_is_bound_to_it [Vault];
    single bound_values_share_a_request_and_each_has_its_own_data [Vault];
    single equal_values_share_an_item_and_other_labels_are_another_one [Vault];
    single wrong_names_are_an_error_that_says_which_to_correct [Vault];
    single labels_that_are_missing_or_contradict_are_an_error_and_vault_is_not_asked [Vault];
    single a_value_without_labels_never_goes_to_the_key_that_needs_them [Vault];
    single without_the_entry_the_error_says_what_to_add [Vault];
}

//! A real cluster loses its leader under load. What Vault itself cannot do meanwhile is measured by
//! a plain client beside the load.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use super::SEED;
use crate::harness::daemon::Daemon;
use crate::harness::kms::KmsClient;
use crate::harness::vault::Fixture;
use crate::harness::vault::cluster::Cluster;
use crate::harness::{http, wait};
use crate::keys::{version_in, version_of};
use crate::{LIMIT, daemon_for};

const CALLERS: usize = 4;
/// Two answers of Vault further apart than this are a time without a leader.
const SILENCE: Duration = Duration::from_millis(250);
/// How long the plain client waits for one node.
const PATIENCE: Duration = Duration::from_millis(500);
/// Two elections on a busy machine.
const MAX_EXCUSED: Duration = Duration::from_secs(60);

/// A call that failed: when it began and ended, and its error.
type Failure = (Instant, Instant, String);

#[derive(Default)]
struct Seen {
    calls: AtomicU64,
    wrong: Mutex<Vec<String>>,
    failed: Mutex<Vec<Failure>>,
    /// When Vault answered the plain client.
    answers: Mutex<Vec<Instant>>,
    stop: AtomicBool,
}

impl Seen {
    /// Makes a call and takes note of how it went.
    async fn call<T>(&self, call: impl Future<Output = Result<T, tonic::Status>>) -> Option<T> {
        let start = Instant::now();
        let outcome = call.await;
        self.calls.fetch_add(1, Ordering::Relaxed);
        let note = |error: tonic::Status| {
            let failure = (start, Instant::now(), error.to_string());
            self.failed.lock().unwrap().push(failure);
        };
        outcome.map_err(note).ok()
    }

    /// The times without a leader: from the last answer before each to the first after it.
    fn leaderless(&self) -> Vec<(Instant, Instant)> {
        let answers = self.answers.lock().unwrap();
        let pairs = answers.windows(2).map(|pair| (pair[0], pair[1]));
        pairs
            .filter(|(before, after)| *after - *before > SILENCE)
            .collect()
    }
}

async fn one_round(client: &KmsClient, seen: &Seen) -> Option<()> {
    let status = seen.call(client.status()).await?;
    let (ciphertext, key_id) = seen.call(client.encrypt(&SEED)).await?;
    let plaintext = seen.call(client.decrypt(&ciphertext, &key_id)).await?;
    let version = version_in(&ciphertext);
    let right = status.healthz == "ok"
        && plaintext == SEED
        && version == version_of(&key_id)
        && key_id == status.key_id;
    if !right {
        let wrong = format!("{version} under {key_id} after {status:?}");
        seen.wrong.lock().unwrap().push(wrong);
    }
    Some(())
}

async fn call_steadily(client: KmsClient, seen: Arc<Seen>) {
    while !seen.stop.load(Ordering::Relaxed) {
        one_round(&client, &seen).await;
    }
}

/// Asks each node in turn for the same that the daemon asks for.
async fn ask_plainly(addresses: Vec<String>, fixture: Fixture, seen: Arc<Seen>) {
    let client = http::builder(None).timeout(PATIENCE).build().unwrap();
    let (mut node, mut pace) = (0, tokio::time::interval(Duration::from_millis(25)));
    while !seen.stop.load(Ordering::Relaxed) {
        pace.tick().await;
        let address: &String = &addresses[node];
        let answer = client
            .post(format!(
                "{address}/v1/{}/encrypt/{}",
                fixture.mount, fixture.key
            ))
            .header("x-vault-token", &fixture.token)
            .body(json!({ "plaintext": "AAAA" }).to_string())
            .send()
            .await;
        match answer {
            Ok(answer) if answer.status().is_success() => {
                seen.answers.lock().unwrap().push(Instant::now());
            }
            _ => node = (node + 1) % addresses.len(),
        }
    }
}

/// Until another node leads, Vault has answered since, and each caller has gone round a few times.
async fn recovered(cluster: &Cluster, from: usize, seen: &Seen) {
    wait::until_true("another leader", LIMIT * 2, async || {
        cluster.leader().await != from
    })
    .await;
    let since = Instant::now();
    wait::until_true("Vault to answer again", LIMIT, async || {
        let last = seen.answers.lock().unwrap().last().copied();
        last.is_some_and(|last| last > since)
    })
    .await;
    let enough = seen.calls.load(Ordering::Relaxed) + 20 * CALLERS as u64;
    wait::until_true("calls to go on", LIMIT, async || {
        seen.calls.load(Ordering::Relaxed) >= enough
    })
    .await;
}

/// Rotates, on whichever node answers, and waits until the daemon writes with the new version.
async fn rotated(cluster: &Cluster, fixture: &Fixture, client: &KmsClient, version: u32) {
    let leader = cluster.node(cluster.leader().await);
    leader.rotate(&fixture.mount, &fixture.key).await;
    wait::until_true("the rotation to be announced", LIMIT, async || {
        let _ = client.encrypt_v1(&SEED).await;
        let status = client.status().await.unwrap();
        version_of(&status.key_id) == version
    })
    .await;
}

async fn daemon_on(cluster: &Cluster, fixture: &Fixture) -> (Daemon, KmsClient) {
    let addresses = json!(cluster.addresses()).to_string();
    let all = format!("[vault]\naddress = {addresses}");
    let builder = daemon_for(&cluster.node(0).address(), fixture);
    let daemon = builder.extra(&all).spawn().await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    (daemon, client)
}

async fn no_call_fails_but_without_a_leader_and_no_answer_is_wrong() {
    let cluster = Cluster::start().await;
    let fixture = cluster.node(cluster.leader().await).fixture().await;
    let (daemon, client) = daemon_on(&cluster, &fixture).await;
    let seen = Arc::new(Seen::default());
    let mut tasks: Vec<_> = (0..CALLERS)
        .map(|_| KmsClient::connect(daemon.socket()))
        .map(|client| tokio::spawn(call_steadily(client, seen.clone())))
        .collect();
    let plain = ask_plainly(cluster.addresses(), fixture.clone(), seen.clone());
    tasks.push(tokio::spawn(plain));
    rotated(&cluster, &fixture, &client, 2).await;

    let before = cluster.step_down().await;
    recovered(&cluster, before, &seen).await;
    rotated(&cluster, &fixture, &client, 3).await;

    let gone = cluster.kill_leader().await;
    recovered(&cluster, gone, &seen).await;
    rotated(&cluster, &fixture, &client, 4).await;
    cluster.bring_back(gone).await;
    rotated(&cluster, &fixture, &client, 5).await;

    seen.stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    judge(&seen);
}

fn judge(seen: &Seen) {
    let (wrong, failed) = (seen.wrong.lock().unwrap(), seen.failed.lock().unwrap());
    let leaderless = seen.leaderless();
    let lengths: Vec<_> = leaderless.iter().map(|(from, to)| *to - *from).collect();
    eprintln!(
        "{} calls, {} wrong, {} failed; without a leader: {lengths:?}",
        seen.calls.load(Ordering::Relaxed),
        wrong.len(),
        failed.len(),
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    // What a stalled machine excuses would excuse everything.
    let excused: Duration = lengths.iter().sum();
    assert!(excused < MAX_EXCUSED, "{lengths:?}");
    for (start, end, error) in failed.iter() {
        let excused = leaderless.iter().any(|(from, to)| start < to && from < end);
        assert!(excused, "with a leader, after {:?}: {error}", *end - *start);
    }
}

tests! {
    multi no_call_fails_but_without_a_leader_and_no_answer_is_wrong [Vault];
}

//! Calls that arrive together share a request to Vault, and nothing else.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tonic::Code;

use super::harness::kms::KmsClient;
use super::harness::proxy::{Fault, Proxy, Seen};
use super::harness::vault::Vault;
use super::harness::wait;
use super::{LIMIT, daemon_for, ready_daemon_behind_proxy};

/// As many requests of a kind as are out at a time by default.
const IN_FLIGHT: u32 = 2;
const COMPANY: usize = 40;

/// Seeds that differ.
fn seeds(count: usize) -> Vec<[u8; 32]> {
    let seed = |_| std::array::from_fn(|_| fastrand::u8(..));
    (0..count).map(seed).collect()
}

async fn wrapped(client: &KmsClient, seeds: &[[u8; 32]]) -> Vec<(Vec<u8>, String)> {
    let calls = seeds.iter().map(|seed| client.encrypt(seed));
    let wrapped = join_all(calls).await.into_iter();
    wrapped.map(|wrapped| wrapped.unwrap()).collect()
}

/// How many items a request to Transit holds.
pub(super) fn items(seen: &Seen) -> usize {
    let body: Value = serde_json::from_slice(&seen.body).unwrap();
    body["batch_input"].as_array().map_or(1, Vec::len)
}

/// Holds the first requests of this kind up for a moment, so that what comes meanwhile gathers.
pub(super) fn gather(proxy: &Proxy, operation: &str) {
    proxy.fault_times(
        operation,
        Fault::Delay(Duration::from_millis(80)),
        IN_FLIGHT,
    );
}

/// Takes every place in flight of an operation for a moment, by one call each, so that what comes
/// meanwhile has to leave together. `decrypted` is what the calls decrypt; else they encrypt.
async fn hold(
    proxy: &Proxy,
    client: &KmsClient,
    decrypted: Option<&(Vec<u8>, String)>,
) -> JoinSet<()> {
    let operation = if decrypted.is_some() {
        "/decrypt/"
    } else {
        "/encrypt/"
    };
    gather(proxy, operation);
    let mut held = JoinSet::new();
    for number in 1..=IN_FLIGHT as usize {
        let (client, decrypted) = (client.clone(), decrypted.cloned());
        held.spawn(async move {
            match decrypted {
                Some((ciphertext, key_id)) => {
                    drop(client.decrypt(&ciphertext, &key_id).await.unwrap())
                }
                None => drop(client.encrypt(&seeds(1)[0]).await.unwrap()),
            }
        });
        wait::until_true("a request in flight", LIMIT, async || {
            proxy.requests().len() == number
        })
        .await;
    }
    held
}

async fn calls_that_arrive_together_leave_together_and_each_gets_its_own() {
    let (_fixture, proxy, _daemon, client) = ready_daemon_behind_proxy().await;
    let seeds = seeds(COMPANY);
    let held = hold(&proxy, &client, None).await;
    let wrapped = wrapped(&client, &seeds).await;
    held.join_all().await;
    let sent: Vec<_> = proxy.requests().iter().map(items).collect();
    assert_eq!(sent, [1, 1, COMPANY]);
    // Two that differ: equal ones would share a request.
    let others = [wrapped[0].clone(), wrapped[1].clone()];
    proxy.reset_counts();
    gather(&proxy, "/decrypt/");
    let mut held = JoinSet::new();
    for (number, (ciphertext, key_id)) in (1..).zip(others) {
        let client = client.clone();
        held.spawn(async move { client.decrypt(&ciphertext, &key_id).await.map(drop) });
        wait::until_true("a request in flight", LIMIT, async || {
            proxy.requests().len() == number
        })
        .await;
    }
    let calls = wrapped
        .iter()
        .map(|(ciphertext, key_id)| client.decrypt(ciphertext, key_id));
    for (back, seed) in join_all(calls).await.into_iter().zip(&seeds) {
        assert_eq!(back.unwrap(), seed);
    }
    for outcome in held.join_all().await {
        outcome.unwrap();
    }
    // The two that are in flight already are shared.
    let sent: Vec<_> = proxy.requests().iter().map(items).collect();
    assert_eq!(sent, [1, 1, COMPANY - 2]);
}

async fn a_bad_item_does_not_fail_its_neighbours() {
    let (_fixture, proxy, _daemon, client) = ready_daemon_behind_proxy().await;
    let seeds = seeds(COMPANY);
    let mut wrapped = wrapped(&client, &seeds).await;
    for (ciphertext, _) in wrapped.iter_mut().step_by(5) {
        let last = ciphertext.len() - 6;
        ciphertext[last] = if ciphertext[last] == b'A' { b'B' } else { b'A' };
    }
    gather(&proxy, "/decrypt/");
    let calls = wrapped
        .iter()
        .map(|(ciphertext, key_id)| client.decrypt(ciphertext, key_id));
    for (index, back) in join_all(calls).await.into_iter().enumerate() {
        match index % 5 {
            0 => assert_eq!(back.unwrap_err().code(), Code::InvalidArgument),
            _ => assert_eq!(back.unwrap(), seeds[index]),
        }
    }
}

async fn a_batch_that_is_rejected_for_its_form_is_halved() {
    let (_fixture, proxy, _daemon, client) = ready_daemon_behind_proxy().await;
    let seeds = seeds(COMPANY);
    let too_large = Fault::Answer {
        status: 413,
        body: "<html>too large</html>".to_owned(),
        content_type: "text/html".to_owned(),
    };
    let no_list = Fault::error(
        500,
        "1 error occurred:\n\t* failed to parse batch input: x\n\n",
    );
    for refusal in [too_large, no_list] {
        proxy.reset_counts();
        proxy.fault_times("/encrypt/", refusal, 1);
        let held = hold(&proxy, &client, None).await;
        wrapped(&client, &seeds).await;
        held.join_all().await;
        let sent: Vec<_> = proxy.requests().iter().map(items).collect();
        assert_eq!(sent, [1, 1, COMPANY, COMPANY / 2, COMPANY / 2]);
    }
}

async fn an_answer_that_does_not_match_is_taken_by_nobody() {
    let (_fixture, proxy, _daemon, client) = ready_daemon_behind_proxy().await;
    let seeds = seeds(COMPANY);
    let wrapped = wrapped(&client, &seeds).await;
    let result = |number: usize| json!({ "plaintext": "AAAA", "reference": number.to_string() });
    let batch = COMPANY;
    let one_short: Vec<_> = (0..batch - 1).map(result).collect();
    let backwards: Vec<_> = (0..batch).rev().map(result).collect();
    for results in [one_short, backwards] {
        let body = json!({ "data": { "batch_results": results } }).to_string();
        let wrong = Fault::Answer {
            status: 200,
            body,
            content_type: "application/json".to_owned(),
        };
        proxy.reset_counts();
        proxy.fault_times("/decrypt/", wrong, 1);
        let calls = wrapped
            .iter()
            .map(|(ciphertext, key_id)| client.decrypt(ciphertext, key_id));
        for (back, seed) in join_all(calls).await.into_iter().zip(&seeds) {
            assert_eq!(back.unwrap(), seed);
        }
    }
}

async fn identical_decrypts_share_one_item_while_it_is_out_and_no_longer() {
    let (_fixture, proxy, _daemon, client) = ready_daemon_behind_proxy().await;
    let seed = seeds(1)[0];
    let (ciphertext, key_id) = client.encrypt(&seed).await.unwrap();
    for _ in 0..2 {
        proxy.reset_counts();
        gather(&proxy, "/decrypt/");
        let calls = (0..COMPANY).map(|_| client.decrypt(&ciphertext, &key_id));
        for back in join_all(calls).await {
            assert_eq!(back.unwrap(), seed);
        }
        assert_eq!(proxy.requests().len(), 1, "{:?}", proxy.requests());
        proxy.clear();
    }
}

async fn what_nobody_waits_for_any_more_is_not_sent() {
    let (_fixture, proxy, _daemon, client) = ready_daemon_behind_proxy().await;
    let delay = Fault::Delay(Duration::from_millis(90));
    proxy.fault_times("/encrypt/", delay, IN_FLIGHT);
    let mut calls = JoinSet::new();
    for (number, seed) in (1..).zip(seeds(IN_FLIGHT as usize)) {
        let client = client.clone();
        calls.spawn(async move { client.encrypt(&seed).await.map(drop) });
        wait::until_true("a request in flight", LIMIT, async || {
            proxy.requests().len() == number
        })
        .await;
    }
    // One is cancelled by its caller, the other has less time than it would have to wait.
    let hasty = client.with_timeout(Duration::from_millis(20));
    let [gone, late] = [seeds(1)[0], seeds(1)[0]];
    let cancelled = tokio::time::timeout(Duration::from_millis(10), client.encrypt(&gone)).await;
    assert!(cancelled.is_err());
    // Whose clock is first, the client's or the plugin's, is chance.
    let code = hasty.encrypt(&late).await.unwrap_err().code();
    assert!(matches!(code, Code::DeadlineExceeded | Code::Cancelled));
    for outcome in calls.join_all().await {
        outcome.unwrap();
    }
    client.encrypt(&seeds(1)[0]).await.unwrap();
    assert_eq!(proxy.requests().len(), IN_FLIGHT as usize + 1);
}

async fn requests_that_hang_do_not_hold_up_the_next() {
    let (_fixture, proxy, _daemon, client) = ready_daemon_behind_proxy().await;
    proxy.fault_times("/encrypt/", Fault::Hang, IN_FLIGHT);
    let mut hung = JoinSet::new();
    for (number, seed) in (1..).zip(seeds(IN_FLIGHT as usize)) {
        let client = client.clone();
        hung.spawn(async move { client.encrypt(&seed).await.map(drop) });
        wait::until_true("a request to hang", LIMIT, async || {
            proxy.requests().len() == number
        })
        .await;
    }
    let begun = Instant::now();
    client.encrypt(&seeds(1)[0]).await.unwrap();
    let taken = begun.elapsed();
    assert!(taken < Duration::from_secs(1), "{taken:?}");
    // Those that hung were repeated within their own time.
    for outcome in hung.join_all().await {
        outcome.unwrap();
    }
}

/// Every seed comes back as itself, whatever is asked beside it and however often the key rotates.
async fn mixed_calls(calls: usize, rotate_every: Duration) {
    const CALLERS: usize = 256;
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let daemon = daemon_for(&vault.address(), &fixture)
        .release()
        .extra("[log]\nlevel = \"info\"")
        .spawn()
        .await;
    let clients: Vec<_> = (0..CALLERS / 64)
        .map(|_| KmsClient::connect(daemon.socket()))
        .collect();
    clients[0].wait_ok(LIMIT).await;
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let client = clients[number % clients.len()].with_timeout(Duration::from_secs(10));
        callers.spawn(async move {
            let mut kept = HashMap::new();
            for call in 0..calls / CALLERS / 2 {
                let seed: [u8; 32] = std::array::from_fn(|_| fastrand::u8(..));
                let (ciphertext, key_id) = client.encrypt(&seed).await.unwrap();
                assert_eq!(client.decrypt(&ciphertext, &key_id).await.unwrap(), seed);
                // An older one once in a while takes the place of the last.
                if call % 8 == 0 {
                    kept.insert(ciphertext, (key_id, seed));
                }
                if call % 100 == 99 {
                    client.status().await.unwrap();
                    for (ciphertext, (key_id, seed)) in kept.drain() {
                        assert_eq!(client.decrypt(&ciphertext, &key_id).await.unwrap(), seed);
                    }
                }
            }
        });
    }
    let mut versions = 1;
    let mut rotations = tokio::time::interval(rotate_every);
    rotations.tick().await;
    loop {
        tokio::select! {
            ended = callers.join_next() => match ended {
                Some(ended) => ended.unwrap(),
                None => break,
            },
            _ = rotations.tick() => {
                vault.rotate(&fixture.mount, &fixture.key).await;
                versions += 1;
            }
        }
    }
    eprintln!("{calls} calls by {CALLERS} callers under {versions} key versions: each its own");
}

async fn many_callers_get_their_own_seeds_back() {
    mixed_calls(20_000, Duration::from_millis(500)).await;
}

async fn soak_a_million_mixed_calls_bring_each_its_own_seed() {
    mixed_calls(1_000_000, Duration::from_secs(3)).await;
}

tests! {
    single calls_that_arrive_together_leave_together_and_each_gets_its_own [Vault];
    single a_bad_item_does_not_fail_its_neighbours [Vault];
    single a_batch_that_is_rejected_for_its_form_is_halved [Vault];
    single an_answer_that_does_not_match_is_taken_by_nobody [Vault];
    single identical_decrypts_share_one_item_while_it_is_out_and_no_longer [Vault];
    single what_nobody_waits_for_any_more_is_not_sent [Vault];
    single requests_that_hang_do_not_hold_up_the_next [Vault];
    multi many_callers_get_their_own_seeds_back [Vault];
    multi soak_a_million_mixed_calls_bring_each_its_own_seed soak "takes minutes: cargo test --test suite -- --ignored soak_a_million";
}

//! The log in the journal: its fields, and a journal that is stopped.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::harness::kms::KmsClient;
use super::super::harness::wait;
use super::{Host, LIMIT};

const SEED: [u8; 32] = [9; 32];
const JOURNALD: &str = "systemd-journald.service";
/// A line each, at DEBUG: more than the queue and the journal's socket hold.
const CALLS: usize = 6000;

async fn events_are_found_by_their_fields() {
    let (host, client) = Host::serving(|plan| plan).await;
    let key_id = client.status().await.unwrap().key_id;
    let damaged = b"vault:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    client.decrypt(damaged, &key_id).await.unwrap_err();
    let path = format!("{}/decrypt/{}", host.fixture.mount, host.fixture.key);
    let by_path = format!("KMS_VAULT_PATH={path}");
    let line = wait::until("the failed call in the journal", LIMIT, async || {
        let lines = host.journal(&["-o", "json", &by_path]).await;
        serde_json::from_str::<Value>(lines.lines().next()?).ok()
    })
    .await;
    assert_eq!(line["KMS_EVENT"], "call failed");
    assert_eq!(line["KMS_OPERATION"], "decrypt");
    assert_eq!(line["KMS_KEY_ID"], key_id);
    assert_eq!(line["KMS_CODE"], "INVALID_ARGUMENT");
    assert_eq!(line["PRIORITY"], "4");
    assert_eq!(line["SYSLOG_IDENTIFIER"], "vault-kms-plugin");
    // As kube-apiserver sent it.
    let uid = line["KMS_UID"].as_str().unwrap();
    let of_request = host.journal(&[&format!("KMS_UID={uid}")]).await;
    assert_eq!(of_request.lines().count(), 2, "{of_request}");
    assert_eq!(host.journal(&["-p", "err"]).await, "");
}

impl Host {
    /// How many lines were reported as dropped.
    async fn dropped_lines(&self) -> usize {
        let event = "KMS_EVENT=log lines were dropped";
        let lines = self.journal(&["-o", "json", event]).await;
        let counts = lines.lines().filter_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            line["KMS_COUNT"].as_str()?.parse::<usize>().ok()
        });
        counts.sum()
    }
}

/// How long an Encrypt takes: the middle one and the slowest of fifty.
async fn pace(client: &KmsClient) -> (Duration, Duration) {
    let mut times = Vec::new();
    for _ in 0..50 {
        let start = Instant::now();
        client.encrypt(&SEED).await.unwrap();
        times.push(start.elapsed());
    }
    times.sort();
    (times[25], times[49])
}

async fn a_stopped_journal_delays_no_call_and_dropped_lines_are_counted() {
    let (host, client) = Host::serving(|plan| plan).await;
    let (usual, usual_most) = pace(&client).await;
    let signal = ["systemctl", "kill", "--signal=STOP", JOURNALD];
    host.machine.ok(&signal).await;
    for _ in 0..CALLS {
        client.decrypt(b"damaged", "key").await.unwrap_err();
    }
    let (stalled, stalled_most) = pace(&client).await;
    eprintln!(
        "usual {usual:?}, at most {usual_most:?}; stopped {stalled:?}, at most {stalled_most:?}"
    );
    let signal = ["systemctl", "kill", "--signal=CONT", JOURNALD];
    host.machine.ok(&signal).await;
    wait::until_true("each line to be there or counted", LIMIT, async || {
        let there = host
            .journal(&["KMS_OPERATION=decrypt"])
            .await
            .lines()
            .count();
        let dropped = host.dropped_lines().await;
        eprintln!("{there} lines of {CALLS}, {dropped} dropped");
        dropped > 0 && there < CALLS && there + dropped >= CALLS
    })
    .await;
    // Three times what is usual, and something for a busy machine.
    let allowed = 3 * usual + Duration::from_millis(50);
    assert!(stalled < allowed, "{stalled:?} and not {usual:?}");
}

async fn lines_wait_for_a_journal_that_is_gone() {
    let (host, client) = Host::serving(|plan| plan).await;
    let units = [
        "systemd-journald.socket",
        "systemd-journald-dev-log.socket",
        JOURNALD,
    ];
    let stop = [&["systemctl", "stop"], units.as_slice()].concat();
    host.machine.ok(&stop).await;
    client.decrypt(b"damaged", "meanwhile").await.unwrap_err();
    client.encrypt(&SEED).await.unwrap();
    let start = [&["systemctl", "start"], units.as_slice()].concat();
    host.machine.ok(&start).await;
    wait::until_true("what was logged meanwhile", LIMIT, async || {
        let lines = host.journal(&["KMS_KEY_ID=meanwhile"]).await;
        lines.contains("call failed")
    })
    .await;
}

tests! {
    single events_are_found_by_their_fields [Vault, Machines];
    single a_stopped_journal_delays_no_call_and_dropped_lines_are_counted [Vault, Machines];
    single lines_wait_for_a_journal_that_is_gone [Vault, Machines];
}

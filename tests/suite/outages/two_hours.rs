//! Two hours of 200 calls a second, with rotations, renewals, logins, reloads and one outage: memory and file descriptors
//! stay as they are, nothing is wrong, and calls fail only while Vault is away.
//!
//! `SOAK_MINUTES` sets another length (120), to which the events are scaled.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::{Instant as Tick, interval_at, sleep, sleep_until};

use crate::authentication::approle::AppRole;
use crate::harness::daemon::Daemon;
use crate::harness::kms::KmsClient;
use crate::harness::load::{Load, Outcome};
use crate::harness::scrape::Metrics;
use crate::harness::vault::{Fixture, Vault};
use crate::{LIMIT, number};

const MINUTES: u64 = 120;
const CALLS_PER_SECOND: u32 = 200;
const CALLERS: u32 = 20;
/// The tokens of the daemon: renewed until they cannot be any more.
const TTL: u32 = 60;
const MAX_TTL: u32 = 600;
const ROTATIONS: u32 = 24;
const RELOADS: u32 = 12;
/// The outage is this share of the run: five minutes of two hours, after half of it.
const OUTAGE: u32 = 24;
const SAMPLES: u32 = 240;
/// Samples at the start that memory is not judged by: the allocator is filling its pools.
const WARM: usize = 20;
/// How long after the return of Vault a call may still fail: the pause between two attempts, and a login.
const RECOVERY: Duration = Duration::from_secs(10);

/// What the process holds, at one moment.
#[derive(Debug)]
struct Sample {
    at: Instant,
    resident_kib: u64,
    descriptors: u64,
}

/// From the end of Vault to the first moment at which calls must succeed again.
struct Outage {
    start: Instant,
    end: Instant,
}

impl Outage {
    fn covers(&self, at: Instant) -> bool {
        (self.start..=self.end).contains(&at)
    }
}

/// A daemon under load, and what it encrypted under each version.
struct Soak {
    vault: Vault,
    fixture: Fixture,
    daemon: Daemon,
    client: KmsClient,
    kept: BTreeMap<String, (Vec<u8>, Vec<u8>)>,
    samples: Vec<Sample>,
    reloads: usize,
}

impl Soak {
    async fn start() -> Self {
        let vault = Vault::start_persistent().await;
        let fixture = vault.fixture().await;
        let role = AppRole::short(&vault, &fixture, TTL, MAX_TTL).await;
        let builder = role.daemon(&vault.address(), &fixture).0.release();
        // As in production; at the level of the other tests each call is a line.
        let daemon = builder.extra("[log]\nlevel = \"info\"").spawn().await;
        let client = KmsClient::connect(daemon.socket());
        client.wait_ok(LIMIT).await;
        Self {
            vault,
            fixture,
            daemon,
            client,
            kept: BTreeMap::new(),
            samples: Vec::new(),
            reloads: 0,
        }
    }

    fn load(&self) -> Load {
        let clients = (0..CALLERS).map(|_| KmsClient::connect(self.daemon.socket()));
        // A call itself takes some milliseconds of the pause.
        let pause = Duration::from_secs(1) * CALLERS / CALLS_PER_SECOND;
        Load::start(clients.collect(), pause - Duration::from_millis(3))
    }

    /// Everything that happens, until the time is over.
    async fn run(&mut self, length: Duration) -> Outage {
        let start = Tick::now();
        let every = |count| interval_at(start + length / count, length / count);
        let mut rotations = every(ROTATIONS);
        let mut reloads = every(RELOADS);
        let mut samples = every(SAMPLES);
        let away = start + length / 2;
        let mut outage = None;
        loop {
            tokio::select! {
                () = sleep_until(start + length) => break,
                () = sleep_until(away), if outage.is_none() => {
                    outage = Some(self.outage(length / OUTAGE).await);
                    // What fell into the outage does not happen at once after it.
                    for interval in [&mut rotations, &mut reloads, &mut samples] {
                        interval.reset();
                    }
                }
                _ = rotations.tick() => self.rotate().await,
                _ = reloads.tick() => self.reload(),
                _ = samples.tick() => self.sample().await,
            }
        }
        outage.expect("it lies in the middle")
    }

    async fn rotate(&mut self) {
        self.keep().await;
        self.vault
            .rotate(&self.fixture.mount, &self.fixture.key)
            .await;
    }

    /// Encrypts a seed of which the ciphertext is decrypted at the end.
    async fn keep(&mut self) {
        let seed: [u8; 32] = std::array::from_fn(|_| fastrand::u8(..));
        let (ciphertext, key_id) = self.client.encrypt(&seed).await.unwrap();
        self.kept.insert(key_id, (ciphertext, seed.to_vec()));
    }

    fn reload(&mut self) {
        self.reloads += 1;
        let plaintext = self.reloads.is_multiple_of(2);
        let change = format!("[vault]\nallow_plaintext = {plaintext}");
        self.daemon.change_config(&change);
        self.daemon.signal(Signal::HUP);
    }

    async fn outage(&self, length: Duration) -> Outage {
        let start = Instant::now();
        self.vault.kill();
        sleep(length).await;
        self.vault.restart().await;
        let end = Instant::now() + RECOVERY;
        eprintln!("Vault was away for {:?}", start.elapsed());
        Outage { start, end }
    }

    /// Asks for the Status, as kube-apiserver does, and looks at the process.
    async fn sample(&mut self) {
        self.client.status().await.unwrap();
        let metrics = Metrics::of(&self.daemon).await;
        let whole = |name| metrics.value(name, &[]) as u64;
        let sample = Sample {
            at: Instant::now(),
            resident_kib: whole("process_resident_memory_bytes") / 1024,
            descriptors: whole("process_open_fds"),
        };
        self.samples.push(sample);
    }

    async fn every_version_is_read(&mut self, length: Duration) {
        self.keep().await;
        for (key_id, (ciphertext, seed)) in &self.kept {
            assert_eq!(
                &self.client.decrypt(ciphertext, key_id).await.unwrap(),
                seed
            );
        }
        eprintln!("{} versions read", self.kept.len());
        // A rotation is seen within half a minute, of the last ones perhaps none; a short run has more rotations than that.
        let least = (length.as_secs() / 60).min(20) as usize;
        assert!(self.kept.len() >= least, "{:?}", self.kept.keys());
    }

    /// A soak without its events would show nothing.
    async fn everything_happened(&self, length: Duration) {
        let reloaded = self.daemon.log().matches("configuration reloaded").count();
        assert_eq!(reloaded, self.reloads, "each reload is applied");
        let metrics = Metrics::of(&self.daemon).await;
        let requests = |operation| {
            let labels = [("operation", operation), ("outcome", "ok")];
            metrics.value("vault_kms_plugin_vault_requests_total", &labels)
        };
        let (logins, renewals) = (requests("login"), requests("renew"));
        eprintln!("{reloaded} reloads, {logins} logins, {renewals} renewals");
        let tokens = (length.as_secs() / u64::from(MAX_TTL)) as f64;
        assert!(
            logins >= tokens && renewals >= tokens,
            "{logins} {renewals}"
        );
    }

    fn nothing_grew(&self, outage: &Outage) {
        let steady: Vec<_> = self.samples[WARM..]
            .iter()
            .filter(|sample| !outage.covers(sample.at))
            .collect();
        let range = |of: fn(&Sample) -> u64| {
            let mut values: Vec<u64> = steady.iter().map(|sample| of(sample)).collect();
            values.sort_unstable();
            (
                values[0],
                values[values.len() / 2],
                values[values.len() - 1],
            )
        };
        let memory = range(|sample| sample.resident_kib);
        let descriptors = range(|sample| sample.descriptors);
        eprintln!("least, median, most: resident KiB {memory:?}, file descriptors {descriptors:?}");
        let (least, median, most) = memory;
        let allowed = median / 20;
        assert!(
            least + allowed >= median && most <= median + allowed,
            "memory {memory:?}"
        );
        // A login, a reload or a scrape has a connection of its own for a moment.
        assert!(descriptors.2 - descriptors.0 <= 8, "{descriptors:?}");
        let [first, last] = [steady[0], steady[steady.len() - 1]].map(|sample| sample.descriptors);
        assert!(last <= first + 2, "{first} {last}");
    }
}

fn failures_are_of_the_outage(outcome: &Outcome, outage: &Outage) {
    let of_the_outage = |at| outage.covers(at);
    let others: Vec<_> = outcome
        .failures
        .iter()
        .filter(|failure| !of_the_outage(failure.at) || failure.text.contains("wrong"))
        .collect();
    eprintln!(
        "{} calls, {} failed in the outage, {} outside of it",
        outcome.calls,
        outcome.failures.len() - others.len(),
        others.len()
    );
    assert!(others.is_empty(), "{others:#?}");
    assert!(
        !outcome.failures.is_empty(),
        "an outage that no call noticed is none"
    );
}

async fn soak_two_hours_change_neither_memory_nor_descriptors() {
    let minutes = number("SOAK_MINUTES").unwrap_or(MINUTES);
    let length = Duration::from_secs(minutes * 60);
    let mut soak = Soak::start().await;
    let load = soak.load();
    let outage = soak.run(length).await;
    let outcome = load.stop().await;
    soak.every_version_is_read(length).await;
    failures_are_of_the_outage(&outcome, &outage);
    soak.everything_happened(length).await;
    soak.nothing_grew(&outage);
    let called = outcome.calls as f64 / length.as_secs_f64();
    eprintln!("{called:.0} calls per second");
}

tests! {
    multi soak_two_hours_change_neither_memory_nor_descriptors soak "takes two hours";
}

//! Many callers at once: what they get, how long they wait, and what it costs the plugin and Vault.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::SEED;
use super::distance::Distance;
use super::figures::{Series, processor_of};
use super::grpc::{Connection, Prepared};
use super::harness::http;
use super::harness::vault::{Fixture, Vault};
use super::plain::PlainCaller;

/// The plugin takes so many calls at once on a connection.
const CALLS_ON_A_CONNECTION: usize = 64;
/// How long callers run before anything is counted, in each series.
const WARM_UP: Duration = Duration::from_millis(300);
/// How long they are counted.
const COUNTED: Duration = Duration::from_millis(1_200);

/// What callers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    PlainEncrypt,
    PlainDecrypt,
    Encrypt,
    Decrypt,
    SameDecrypt,
    Status,
    Mixed,
}

impl Kind {
    pub(super) const ALL: [Self; 7] = [
        Self::PlainEncrypt,
        Self::Encrypt,
        Self::PlainDecrypt,
        Self::Decrypt,
        Self::SameDecrypt,
        Self::Mixed,
        Self::Status,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::PlainEncrypt => "plain HTTP encrypt",
            Self::PlainDecrypt => "plain HTTP decrypt",
            Self::Encrypt => "Encrypt",
            Self::Decrypt => "Decrypt",
            Self::SameDecrypt => "Decrypt, all the same",
            Self::Status => "Status",
            Self::Mixed => "mixed",
        }
    }

    pub(super) fn is_plain(self) -> bool {
        matches!(self, Self::PlainEncrypt | Self::PlainDecrypt)
    }
}

/// What is called.
pub(super) struct Ends<'a> {
    pub(super) socket: &'a Path,
    pub(super) daemon: u32,
    pub(super) vault: &'a Vault,
    /// Between both and Vault.
    pub(super) wire: Option<&'a Distance>,
    pub(super) fixture: &'a Fixture,
    /// Different ones, as from many objects.
    pub(super) ciphertexts: &'a [(Vec<u8>, String)],
}

/// What came of one series.
pub(super) struct Seen {
    pub(super) taken: Series,
    /// Calls in a second.
    pub(super) rate: f64,
    /// Requests at Vault for each call.
    pub(super) requests: f64,
    /// CPU time of the plugin for each call, in microseconds.
    pub(super) cpu: f64,
}

/// Who calls.
enum Caller {
    Plain(Box<PlainCaller>),
    Grpc(Connection, Vec<Prepared>),
}

pub(super) async fn measure(ends: &Ends<'_>, kind: Kind, count: usize) -> Seen {
    let callers = callers(ends, kind, count).await;
    let (counts, stop) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let mut running = JoinSet::new();
    for caller in callers {
        let (counts, stop) = (counts.clone(), stop.clone());
        running.spawn(caller.run(kind, counts, stop));
    }
    tokio::time::sleep(WARM_UP).await;
    let before = (
        processor_of(ends.daemon),
        ends.requests().await,
        Instant::now(),
    );
    counts.store(true, Ordering::Relaxed);
    tokio::time::sleep(COUNTED).await;
    counts.store(false, Ordering::Relaxed);
    let elapsed = before.2.elapsed();
    let (cpu, requests) = (
        processor_of(ends.daemon).saturating_sub(before.0),
        ends.requests().await - before.1,
    );
    stop.store(true, Ordering::Relaxed);
    let mut taken = Series::new(kind.name());
    while let Some(times) = running.join_next().await {
        times
            .expect("a caller")
            .into_iter()
            .for_each(|time| taken.add(time));
    }
    let calls = taken.len() as f64;
    Seen {
        rate: calls / elapsed.as_secs_f64(),
        requests: requests as f64 / calls,
        cpu: cpu.as_secs_f64() * 1e6 / calls,
        taken,
    }
}

impl Ends<'_> {
    /// How many requests Vault has had, by its own count.
    async fn requests(&self) -> u64 {
        if let Some(wire) = self.wire {
            return wire.requests();
        }
        let url = format!("{}/v1/sys/metrics?format=prometheus", self.vault.address());
        let request = http::Request {
            method: "GET",
            url: &url,
            credential: Some(("X-Vault-Token", self.vault.root_token())),
            ca_pem: None,
        };
        let (_, text) = http::text(request, None).await.expect("Vault answers");
        let name = "vault_core_handle_request_count ";
        let count = text.lines().find_map(|line| line.strip_prefix(name));
        count
            .and_then(|text| text.trim().parse().ok())
            .expect("Vault counts its requests")
    }

    async fn plain(&self) -> PlainCaller {
        let end = self
            .wire
            .map_or(self.vault.socket_address(), Distance::address);
        PlainCaller::connect(end, self.fixture, &SEED, &self.ciphertexts[0].0).await
    }
}

async fn callers(ends: &Ends<'_>, kind: Kind, count: usize) -> Vec<Caller> {
    let mut callers = Vec::new();
    let mut connection = None;
    for number in 0..count {
        if kind.is_plain() {
            callers.push(Caller::Plain(Box::new(ends.plain().await)));
            continue;
        }
        if number % CALLS_ON_A_CONNECTION == 0 {
            connection = Some(Connection::open(ends.socket).await);
        }
        let connection = connection.clone().expect("the first caller opens one");
        callers.push(Caller::Grpc(connection, calls(ends, kind, number, count)));
    }
    callers
}

/// What one caller asks for, in turns.
fn calls(ends: &Ends<'_>, kind: Kind, number: usize, count: usize) -> Vec<Prepared> {
    let seed: [u8; 32] = std::array::from_fn(|_| fastrand::u8(..));
    let decrypt = |(ciphertext, key_id): &(Vec<u8>, String)| Prepared::decrypt(ciphertext, key_id);
    let own = || ends.ciphertexts.iter().skip(number).step_by(count);
    match kind {
        Kind::Status => vec![Prepared::status()],
        Kind::Encrypt => vec![Prepared::encrypt(&seed)],
        Kind::SameDecrypt => vec![decrypt(&ends.ciphertexts[0])],
        Kind::Mixed => {
            let pairs = own().flat_map(|one| [Prepared::encrypt(&seed), decrypt(one)]);
            pairs.chain([Prepared::status()]).collect()
        }
        _ => own().map(decrypt).collect(),
    }
}

impl Caller {
    async fn run(
        mut self,
        kind: Kind,
        counts: Arc<AtomicBool>,
        stop: Arc<AtomicBool>,
    ) -> Vec<Duration> {
        let mut taken = Vec::new();
        let mut turn = 0;
        while !stop.load(Ordering::Relaxed) {
            let begun = Instant::now();
            match &mut self {
                Self::Plain(plain) if kind == Kind::PlainEncrypt => plain.encrypt().await,
                Self::Plain(plain) => plain.decrypt().await,
                Self::Grpc(connection, calls) => {
                    connection.call(&calls[turn % calls.len()]).await;
                    turn += 1;
                }
            }
            if counts.load(Ordering::Relaxed) {
                taken.push(begun.elapsed());
            }
        }
        taken
    }
}

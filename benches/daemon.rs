//! What the plugin costs beside Vault itself: `cargo bench --bench daemon`.
//!
//! A real Vault, the daemon as it is shipped, one caller and many. All series run in turns inside
//! one process, so that what disturbs the machine disturbs them alike. Prints tables, writes the
//! chart of docs/performance.md, and judges nothing: figures of a busy machine are no failure.
//! Words after `--` choose parts: `latency`, `crowd`, `startup`, `kubernetes`, `in-flight`, and
//! `compare` with another build, whose program `BASELINE_BIN` names.

#[path = "daemon/bare.rs"]
mod bare;
#[path = "daemon/busy.rs"]
mod busy;
#[path = "daemon/chart.rs"]
mod chart;
#[path = "daemon/compare.rs"]
mod compare;
#[path = "daemon/crowd.rs"]
mod crowd;
#[path = "daemon/distance.rs"]
mod distance;
#[path = "daemon/figures.rs"]
mod figures;
#[path = "daemon/grpc.rs"]
mod grpc;
#[path = "../tests/suite/harness.rs"]
mod harness;
#[path = "daemon/in_flight.rs"]
mod in_flight;
#[path = "daemon/kubernetes.rs"]
mod kubernetes;
#[path = "daemon/many.rs"]
mod many;
#[path = "daemon/plain.rs"]
mod plain;
#[path = "daemon/startup.rs"]
mod startup;
#[path = "daemon/table.rs"]
mod table;

use std::io::{Write, stdout};
use std::time::{Duration, Instant};

use bare::Bare;
use figures::Series;
use harness::daemon::{Builder, Daemon};
use harness::kms::KmsClient;
use harness::vault::{Fixture, Vault};
use plain::PlainCaller;

const ROUNDS: usize = 20;
/// Calls of each series in a round.
const CALLS: usize = 100;
/// Calls of each series before anything is counted.
const WARM_UP: usize = 200;
/// How long the daemon is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(10);
const READY_LIMIT: Duration = Duration::from_secs(10);

/// As long as Vault takes: processors and caches have gone to sleep by then, which an Encrypt feels
/// and a Status right after another does not.
const REST: Duration = Duration::from_millis(1);

const SEED: [u8; 32] = [7; 32];

/// What is called, and how: one of each series.
struct Callers {
    plain: PlainCaller,
    bare: KmsClient,
    kms: KmsClient,
    ciphertext: Vec<u8>,
    key_id: String,
}

/// The resident memory of the daemon in KiB.
struct Memory {
    idle: u64,
    after: u64,
    idle_again: u64,
}

/// What is measured, in the order of the table.
#[derive(Clone, Copy)]
enum Call {
    PlainEncrypt,
    PlainDecrypt,
    BareEncrypt,
    Status,
    RestedStatus,
    Encrypt,
    Decrypt,
}

impl Call {
    const ALL: [Self; 7] = [
        Self::PlainEncrypt,
        Self::PlainDecrypt,
        Self::BareEncrypt,
        Self::Status,
        Self::RestedStatus,
        Self::Encrypt,
        Self::Decrypt,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::PlainEncrypt => "plain HTTP encrypt",
            Self::PlainDecrypt => "plain HTTP decrypt",
            Self::BareEncrypt => "bare gRPC encrypt",
            Self::Status => "KMS Status",
            Self::RestedStatus => "KMS Status after a rest",
            Self::Encrypt => "KMS Encrypt",
            Self::Decrypt => "KMS Decrypt",
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, rest @ ..] = arguments.as_slice()
        && first == bare::ARGUMENT
    {
        return bare::serve(rest);
    }
    // `cargo test --all-targets` starts benches too, without this.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return say("start it with: cargo bench --bench daemon");
    }
    let wanted = |part: &str| {
        let mut named = arguments
            .iter()
            .filter(|word| !word.starts_with('-'))
            .peekable();
        named.peek().is_none() || named.any(|word| word == part)
    };
    // One caller has one thread, so that no thread has to wake another.
    let mut one = tokio::runtime::Builder::new_current_thread();
    let mut two = tokio::runtime::Builder::new_multi_thread();
    let one = one.enable_all().build().expect("a runtime can be made");
    let two = two
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be made");
    if wanted("latency") {
        one.block_on(latency_of_one());
    }
    if wanted("crowd") {
        two.block_on(many::measured());
    }
    if let Some(baseline) = std::env::var_os("BASELINE_BIN") {
        two.block_on(compare::measured(baseline.into()));
    }
    if wanted("startup") {
        say(&startup::measured());
    }
    if wanted("kubernetes") {
        two.block_on(cold_start());
    }
    if wanted("in-flight") {
        say(&two.block_on(in_flight::measured()));
    }
}

async fn latency_of_one() {
    let vault = Vault::start().await;
    let fixture = vault.fixture().await;
    let daemon = daemon(&vault.address(), &fixture).await;
    tokio::time::sleep(IDLE).await;
    let idle = daemon.rss_kib();
    let bare = Bare::start(&vault, &fixture).await;
    let mut callers = Callers::prepare(&vault, &fixture, &daemon, &bare).await;
    let series = callers.measure().await;
    let after = daemon.rss_kib();
    tokio::time::sleep(IDLE).await;
    let memory = Memory {
        idle,
        after,
        idle_again: daemon.rss_kib(),
    };
    assert_eq!(daemon.stop().await, 0, "{}", daemon.log());
    say(&latency(&series));
    say(&resident(&memory));
}

async fn cold_start() {
    let vault = Vault::start().await;
    let fixture = vault.fixture().await;
    let daemon = daemon(&vault.address(), &fixture).await;
    let kms = KmsClient::connect(daemon.socket());
    kms.wait_ok(READY_LIMIT).await;
    let (ciphertext, _) = kms.encrypt(&SEED).await.expect("Encrypt works");
    let plain = PlainCaller::connect(vault.socket_address(), &fixture, &SEED, &ciphertext);
    say(&kubernetes::measured(&daemon, plain).await);
}

async fn daemon(address: &str, fixture: &Fixture) -> Daemon {
    builder(address, fixture).spawn().await
}

/// As an operator runs it; the tests' own level of the log is more talkative.
fn builder(address: &str, fixture: &Fixture) -> Builder {
    Daemon::builder()
        .release()
        .vault(address)
        .transit(&fixture.mount, &fixture.key)
        .token(&fixture.token)
        .extra("[log]\nlevel = \"info\"")
}

impl Callers {
    async fn prepare(vault: &Vault, fixture: &Fixture, daemon: &Daemon, bare: &Bare) -> Self {
        let kms = KmsClient::connect(daemon.socket());
        kms.wait_ok(READY_LIMIT).await;
        let (ciphertext, key_id) = kms.encrypt(&SEED).await.expect("Encrypt works");
        let plain = PlainCaller::connect(vault.socket_address(), fixture, &SEED, &ciphertext);
        Self {
            plain: plain.await,
            bare: bare.client(),
            kms,
            ciphertext,
            key_id,
        }
    }

    /// Round by round, every series in each.
    async fn measure(&mut self) -> [Series; 7] {
        for call in Call::ALL {
            for _ in 0..WARM_UP {
                self.call(call).await;
            }
        }
        let mut all = Call::ALL.map(|call| Series::new(call.name()));
        for _ in 0..ROUNDS {
            for (call, series) in Call::ALL.into_iter().zip(&mut all) {
                for _ in 0..CALLS {
                    if matches!(call, Call::RestedStatus) {
                        tokio::time::sleep(REST).await;
                    }
                    let start = Instant::now();
                    self.call(call).await;
                    series.add(start.elapsed());
                }
            }
        }
        all
    }

    async fn call(&mut self, call: Call) {
        match call {
            Call::PlainEncrypt => self.plain.encrypt().await,
            Call::PlainDecrypt => self.plain.decrypt().await,
            Call::BareEncrypt => drop(self.bare.encrypt(&SEED).await.expect("it works")),
            Call::Status | Call::RestedStatus => {
                drop(self.kms.status().await.expect("Status works"))
            }
            Call::Encrypt => drop(self.kms.encrypt(&SEED).await.expect("Encrypt works")),
            Call::Decrypt => {
                let answer = self.kms.decrypt(&self.ciphertext, &self.key_id).await;
                drop(answer.expect("Decrypt works"));
            }
        }
    }
}

fn latency(series: &[Series; 7]) -> String {
    let mut text = format!(
        "one caller, {} calls of each in {ROUNDS} rounds\n\n{:<24}{:>10}{:>10}\n",
        ROUNDS * CALLS,
        "",
        "p50",
        "p99"
    );
    for one in series {
        text += &one.row();
    }
    let [
        plain_encrypt,
        plain_decrypt,
        bare,
        status,
        rested,
        encrypt,
        decrypt,
    ] = series.each_ref().map(|one| one.percentile(50));
    text += "\ngoal: encrypt and decrypt at most plain + 1.2 x status\n";
    text += &added("encrypt", encrypt, plain_encrypt, status);
    text += &added("decrypt", decrypt, plain_decrypt, status);
    text += &added("bare gRPC encrypt", bare, plain_encrypt, status);
    text += "\ncounted in Status after a rest\n";
    text += &added("encrypt", encrypt, plain_encrypt, rested);
    text += &added("decrypt", decrypt, plain_decrypt, rested);
    text
}

/// What the plugin adds to Vault's time, counted in calls that it answers without Vault.
fn added(name: &str, ours: Duration, plain: Duration, status: Duration) -> String {
    let times = (ours.as_secs_f64() - plain.as_secs_f64()) / status.as_secs_f64();
    format!("{name} p50 = plain + {times:.2} x status p50\n")
}

fn resident(memory: &Memory) -> String {
    let mebibytes = |kib: u64| kib as f64 / 1024.0;
    format!(
        "resident memory\n\n{:<22}{:>6.1} MiB   (goal: at most 12)\n{:<22}{:>6.1} MiB\n{:<22}{:>6.1} MiB\n",
        "before any call",
        mebibytes(memory.idle),
        "after the last call",
        mebibytes(memory.after),
        "idle for 10 s again",
        mebibytes(memory.idle_again),
    )
}

fn say(text: &str) {
    // A reader that left is no reason to fail.
    let _ = writeln!(stdout().lock(), "{text}");
}

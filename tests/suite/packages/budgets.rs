//! The programs of a release side by side: size and memory within the budgets, and what musl costs against glibc.
//! `BASELINE_BIN` names one more program, to compare an allocator or a compiler.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::super::daemon_for;
use super::super::harness::daemon::Daemon;
use super::super::harness::kms::KmsClient;
use super::super::harness::load::Load;
use super::super::harness::vault::Vault;
use super::{LIMIT, file, unpack};

const MAX_IDLE_KIB: u64 = 12 * 1024;
const MAX_PEAK_KIB: u64 = 24 * 1024;
/// How long a daemon is left alone before its idle memory is read.
const IDLE: Duration = Duration::from_secs(5);
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(4);
const CALLERS: usize = 64;

/// A running program, and the calls of each round.
struct Series {
    name: &'static str,
    daemon: Daemon,
    idle: u64,
    per_second: Vec<f64>,
}

impl Series {
    async fn start(name: &'static str, program: PathBuf) -> Self {
        let vault = Vault::shared().await;
        let fixture = vault.fixture().await;
        let daemon = daemon_for(&vault.address(), &fixture)
            .binary(program)
            .spawn()
            .await;
        KmsClient::connect(daemon.socket()).wait_ok(LIMIT).await;
        sleep(IDLE).await;
        let idle = daemon.rss_kib();
        Self {
            name,
            daemon,
            idle,
            per_second: Vec::new(),
        }
    }

    async fn round(&mut self) {
        let clients = (0..CALLERS).map(|_| KmsClient::connect(self.daemon.socket()));
        let load = Load::start(clients.collect(), Duration::ZERO);
        load.progress(u64::try_from(CALLERS).unwrap(), LIMIT).await;
        let (start, before) = (Instant::now(), load.calls());
        sleep(ROUND).await;
        let (took, calls) = (start.elapsed(), load.calls() - before);
        load.stop().await.expect_no_failure();
        let calls = u32::try_from(calls).unwrap();
        self.per_second.push(f64::from(calls) / took.as_secs_f64());
    }

    fn best(&self) -> f64 {
        self.per_second.iter().copied().fold(0.0, f64::max)
    }
}

async fn both_builds_keep_the_budgets_of_memory() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    for (name, end) in [("glibc", "gnu"), ("musl", "musl")] {
        unpack(&file(&format!("{end}.tar.gz")), dir.path());
        let program = dir.path().join(file(end)).join("vault-kms-plugin");
        all.push(Series::start(name, program).await);
    }
    if let Some(other) = std::env::var_os("BASELINE_BIN") {
        all.push(Series::start("baseline", other.into()).await);
    }
    // In turns, so that what else this machine does disturbs them alike.
    for _ in 0..ROUNDS {
        for series in &mut all {
            series.round().await;
        }
    }
    sleep(IDLE).await;
    for series in &all {
        let (idle, peak) = (series.idle, series.daemon.peak_rss_kib());
        eprintln!(
            "{:<8} idle {idle} KiB, most {peak} KiB, after it {} KiB, {:.0} calls/s",
            series.name,
            series.daemon.rss_kib(),
            series.best()
        );
        if series.name != "baseline" {
            assert!(idle <= MAX_IDLE_KIB, "{}: {idle} KiB", series.name);
            assert!(peak <= MAX_PEAK_KIB, "{}: {peak} KiB", series.name);
        }
    }
}

tests! {
    multi both_builds_keep_the_budgets_of_memory [Vault, Packages];
}

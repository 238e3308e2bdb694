//! Chaos on a real control plane: three kube-apiservers with a plugin each, etcd, and three Vault servers, under random
//! faults and a register workload on Secrets. Nothing may be lost, nothing wrong, and each failed call has its fault.
//!
//! `CHAOS_SEED` replays a schedule, `CHAOS_MINUTES` sets its length (30).

mod faults;
mod history;
mod site;
mod workload;

use std::time::{Duration, Instant};

use fastrand::Rng;

use faults::Schedule;
use history::History;
use site::Site;

use crate::number;

const DEFAULT_MINUTES: u64 = 30;

async fn nothing_is_lost_and_each_failure_has_its_fault() {
    let seed = number("CHAOS_SEED").unwrap_or_else(|| fastrand::u64(..));
    let minutes = number("CHAOS_MINUTES").unwrap_or(DEFAULT_MINUTES);
    eprintln!("CHAOS_SEED={seed} CHAOS_MINUTES={minutes}");
    let history = History::new(Instant::now());
    let site = Site::start(&history).await;
    let load = workload::start(&site, &history, seed);
    let schedule = Schedule::new(Rng::with_seed(seed), Duration::from_secs(minutes * 60));
    let windows = schedule.run(&site, &history).await;
    site.recover().await;
    // What is written and read without any fault.
    tokio::time::sleep(Duration::from_secs(20)).await;
    load.stop().await;
    let last = history.check_registers();
    let unexplained = history.unexplained(&windows);
    history.report(&windows);
    site.read_everywhere(&last).await;
    site.audit(last.len()).await;
    assert!(unexplained.is_empty(), "without a fault: {unexplained:#?}");
}

tests! {
    [history]
    multi nothing_is_lost_and_each_failure_has_its_fault [Vault, Kubernetes, EtcdTools, Root] soak "half an hour of faults";
}

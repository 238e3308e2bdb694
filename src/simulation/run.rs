//! A run: one process of the daemon after another, until the schedule is over.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::runtime::Builder;
use tokio::task::JoinSet;

use super::apiserver;
use super::checks::Counts;
use super::network::Network;
use super::operator::{End, Schedule};
use super::world::World;
use crate::config::Source;
use crate::supervisor::Daemon;
use crate::system::{Signal, simulated};
use crate::telemetry::LogHandle;

/// How a run ended.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) seed: u64,
    pub(super) hash: u64,
    pub(super) violations: Vec<String>,
    pub(super) counts: Counts,
    pub(super) lines: usize,
}

/// How many seeds share a program, at most.
pub(super) const BLOCK: u64 = 256;
/// More than a run makes.
const RUNTIMES: u64 = 64;
/// How many random numbers of tokio's runtimes were drawn in this program.
static DRAWN: Mutex<u64> = Mutex::new(0);

/// The branches that `tokio::select!` takes depend on how many runtimes the program has made: brings that to
/// the number that belongs to the seed.
fn count_runtimes(seed: u64) {
    let mut drawn = DRAWN.lock().unwrap_or_else(PoisonError::into_inner);
    let wanted = seed % BLOCK * RUNTIMES;
    assert!(*drawn <= wanted, "seeds of a block run in their order");
    while *drawn < wanted {
        drop(Builder::new_current_thread());
        *drawn += 1;
    }
}

/// Runs a seed on a thread of its own. Needs a program in which nothing else makes a runtime.
pub(super) fn run(seed: u64, prints: bool) -> Outcome {
    count_runtimes(seed);
    let running = thread::Builder::new().spawn(move || {
        // First of all, before the thread makes a map.
        seeded_random::seed_thread(seed);
        fastrand::seed(seed);
        simulate(seed, prints)
    });
    let outcome = running.expect("a thread").join().expect("no panic");
    // One of the thread, and one of each runtime.
    *DRAWN.lock().unwrap_or_else(PoisonError::into_inner) += 1 + u64::from(outcome.counts.lives);
    outcome
}

fn simulate(seed: u64, prints: bool) -> Outcome {
    let world = Arc::new(World::new(seed, prints));
    simulated::set(Arc::new(Network(world.clone())));
    world.write_config();
    let phases = world.state().rng.u32(3..10);
    let mut schedule = Schedule { phases };
    loop {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build();
        let runtime = runtime.expect("a runtime");
        let end = runtime.block_on(process(&world, &mut schedule));
        runtime.shutdown_background();
        if end == End::Over {
            break;
        }
    }
    let state = world.state();
    Outcome {
        seed,
        hash: state.trace.hash(),
        violations: state.checks.violations.clone(),
        counts: state.checks.counts,
        lines: state.trace.lines().len(),
    }
}

/// One process of the daemon, and its clients.
async fn process(world: &Arc<World>, schedule: &mut Schedule) -> End {
    {
        let mut state = world.state();
        state.process_begins();
        state.checks.counts.lives += 1;
        state.note("process begins");
    }
    let source = Source {
        file: Some(world.path("config.toml")),
        ..Source::default()
    };
    let config = source.load().expect("a valid configuration");
    let log = LogHandle::detached();
    let daemon = Daemon::start(&config, source, log, None).await;
    let mut daemon = daemon.expect("a daemon");
    let mut clients = JoinSet::new();
    for index in 0..2 {
        clients.spawn(apiserver::run(world.clone(), format!("client{index}")));
    }
    let mut end = schedule.run(world, &mut daemon).await;
    if end == End::Stopped {
        world.state().disturb();
        daemon.signal(Signal::Stop);
        let exit = daemon.ended().await;
        world.note(&format!("stopped: {exit:?}"));
        end = End::Stopped;
    }
    let mut state = world.state();
    state.note(&format!("process ends: {end:?}"));
    let now = state.now();
    state.checks.crashed = (end == End::Killed).then_some(now).or(state.checks.crashed);
    state.process_ends();
    end
}

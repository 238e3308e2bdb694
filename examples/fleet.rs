//! Simulates ten thousand plugins during a Vault outage of ten minutes: how long until each is logged
//! in again, and whether the fleet overloads Vault or locks its roles out.
//!
//! The nodes run the daemon's own state machine; Vault is simulated (`fleet/vault.rs`) with a rate
//! limit on logins; the clock is paused, so that an hour takes seconds.
//!
//! `cargo run --release --example fleet`
#![expect(clippy::print_stdout, reason = "printing the result is its purpose")]

#[path = "fleet/vault.rs"]
mod vault;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, sleep_until};
use vault::{LOGINS_PER_SECOND, Outage, Role, VirtualVault};
use vault_kms_plugin::session::{Event, Machine, Step};

/// Control-plane nodes; three make a cluster and share a role.
const NODES: usize = 10_000;
const CLUSTER: usize = 3;
/// One of so many clusters has a wrong secret_id.
const WRONG_IN: usize = 100;
/// The fleet starts over this time.
const STARTED_OVER: Duration = Duration::from_secs(120);
/// When the outage begins, and how long it lasts: longer than the lifetime of tokens.
const OUTAGE_AT: Duration = Duration::from_secs(20 * 60);
const OUTAGE_LENGTH: Duration = Duration::from_secs(10 * 60);
/// How long the simulation continues after that.
const AFTER: Duration = Duration::from_secs(15 * 60);

/// Twice the shortest time that Vault's rate limit allows, and twice the longest backoff for a node
/// whose last delay is long by chance.
const BOUND: Duration = Duration::from_secs(2 * (NODES as u64 / LOGINS_PER_SECOND as u64) + 20);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    tokio::time::pause();
    let outage = Outage {
        begins: Instant::now() + OUTAGE_AT,
        ends: Instant::now() + OUTAGE_AT + OUTAGE_LENGTH,
    };
    println!(
        "{NODES} nodes, {LOGINS_PER_SECOND} logins a second admitted; an outage of {} min",
        OUTAGE_LENGTH.as_secs() / 60
    );
    let vault = Rc::new(RefCell::new(VirtualVault::new(outage)));
    let nodes = LocalSet::new();
    for number in 0..NODES {
        nodes.spawn_local(node(number, vault.clone()));
    }
    nodes.run_until(sleep_until(outage.ends + AFTER)).await;
    let vault = vault.borrow();
    report(&vault)
}

/// One plugin: carries out the steps of its machine, without end.
async fn node(number: usize, vault: Rc<RefCell<VirtualVault>>) {
    sleep(STARTED_OVER.mul_f64(fastrand::f64())).await;
    let cluster = number / CLUSTER;
    let role = Role {
        id: cluster,
        wrong_secret: cluster % WRONG_IN == WRONG_IN - 1,
    };
    let mut machine = Machine::start(None, None, Instant::now(), fastrand::f64());
    let mut event = Event::TimerFired;
    let mut steps = VecDeque::new();
    loop {
        let (next, begun) = machine.after(event, Instant::now(), fastrand::f64());
        machine = next;
        steps.extend(begun);
        event = match steps.pop_front() {
            Some(step) => perform(step, number, &role, &vault).await,
            None => {
                // A machine without a session always has a wake-up.
                let wake = machine.wake().unwrap_or_else(|| Instant::now() + AFTER);
                sleep_until(wake).await;
                Event::TimerFired
            }
        };
    }
}

async fn perform(step: Step, node: usize, role: &Role, vault: &RefCell<VirtualVault>) -> Event {
    // The network.
    sleep(Duration::from_millis(fastrand::u64(1..20))).await;
    let mut vault = vault.borrow_mut();
    match step {
        Step::CheckHealth => vault.health(),
        Step::Login => vault.login(node, role),
        Step::Renew => vault.renew(),
    }
}

/// Prints the result. A failure if the bound was exceeded or a role was locked out.
fn report(vault: &VirtualVault) -> ExitCode {
    let mut back = vault.back_after();
    back.sort_unstable();
    let at = |part: f64| back[((back.len() - 1) as f64 * part) as usize];
    let right = (0..NODES)
        .filter(|number| number / CLUSTER % WRONG_IN != WRONG_IN - 1)
        .count();
    println!(
        "nodes with right credentials: {right}, back: {}",
        back.len()
    );
    println!(
        "back after (s): first {:.1}, half {:.1}, 99% {:.1}, last {:.1}; bound {}",
        at(0.0).as_secs_f64(),
        at(0.5).as_secs_f64(),
        at(0.99).as_secs_f64(),
        at(1.0).as_secs_f64(),
        BOUND.as_secs()
    );
    println!(
        "login attempts in the busiest second: {}, answered 429: {}, most by one node: {}",
        vault.busiest_second(),
        vault.throttled(),
        vault.most_attempts()
    );
    println!(
        "health checks a second during the outage: {:.0} ({:.2} a node)",
        vault.checks_in_outage() as f64 / OUTAGE_LENGTH.as_secs_f64(),
        vault.checks_in_outage() as f64 / OUTAGE_LENGTH.as_secs_f64() / NODES as f64
    );
    println!(
        "roles with a wrong secret_id: rejected {} times, locked out: {}",
        vault.rejected(),
        vault.locked_out()
    );
    if back.len() < right || at(1.0) > BOUND || vault.locked_out() > 0 {
        println!("FAILED: a node was starved, or a role was locked out");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

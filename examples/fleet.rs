//! Ten thousand plugins whose one Vault goes away for ten minutes and comes back: how long until
//! each is logged in again, and does the fleet hurt Vault or itself on the way?
//!
//! The nodes run the daemon's own state machine; Vault is made up (`fleet/vault.rs`) and admits so
//! many logins a second; the clock is paused, so that an hour takes seconds.
//!
//! `cargo run --release --example fleet`
#![expect(clippy::print_stdout, reason = "what it finds is its purpose")]

#[path = "fleet/vault.rs"]
mod vault;

use std::cell::RefCell;
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
/// One cluster in so many has a wrong secret_id.
const WRONG_IN: usize = 100;
/// The fleet was started over this time, some time ago.
const STARTED_OVER: Duration = Duration::from_secs(120);
/// When Vault goes away, and for how long: longer than its tokens live.
const AWAY_AT: Duration = Duration::from_secs(20 * 60);
const AWAY_FOR: Duration = Duration::from_secs(10 * 60);
/// How long the simulation goes on after that.
const AFTER: Duration = Duration::from_secs(15 * 60);

/// Twice what Vault's limit makes the shortest, and the longest wait of the back-off twice over: a
/// node that is unlucky in its last draw.
const BOUND: Duration = Duration::from_secs(2 * (NODES as u64 / LOGINS_PER_SECOND as u64) + 20);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    tokio::time::pause();
    let outage = Outage {
        begins: Instant::now() + AWAY_AT,
        ends: Instant::now() + AWAY_AT + AWAY_FOR,
    };
    println!(
        "{NODES} nodes, {LOGINS_PER_SECOND} logins a second admitted; Vault goes away for {} min",
        AWAY_FOR.as_secs() / 60
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

/// One plugin: does what its machine orders, for ever.
async fn node(number: usize, vault: Rc<RefCell<VirtualVault>>) {
    sleep(STARTED_OVER.mul_f64(fastrand::f64())).await;
    let cluster = number / CLUSTER;
    let role = Role {
        id: cluster,
        wrong_secret: cluster % WRONG_IN == WRONG_IN - 1,
    };
    let mut machine = Machine::start(None, None, Instant::now(), fastrand::f64());
    let mut event = Event::TimerFired;
    loop {
        let (next, step) = machine.after(event, Instant::now(), fastrand::f64());
        machine = next;
        event = match step {
            Some(step) => ask(step, number, &role, &vault).await,
            None => {
                // A machine without a session always waits for a time.
                let wake = machine.wake().unwrap_or_else(|| Instant::now() + AFTER);
                sleep_until(wake).await;
                Event::TimerFired
            }
        };
    }
}

async fn ask(step: Step, node: usize, role: &Role, vault: &RefCell<VirtualVault>) -> Event {
    // There and back.
    sleep(Duration::from_millis(fastrand::u64(1..20))).await;
    let mut vault = vault.borrow_mut();
    match step {
        Step::CheckHealth => vault.health(),
        Step::Login => vault.login(node, role),
        Step::Renew => vault.renew(),
    }
}

/// Prints what came of it; a failure where the bound was passed or a role locked out.
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
        "logins tried in the busiest second: {}, answered 429: {}, most by one node: {}",
        vault.busiest_second(),
        vault.throttled(),
        vault.most_tries()
    );
    println!(
        "health asked a second during the outage: {:.0} ({:.2} a node)",
        vault.asked_while_away() as f64 / AWAY_FOR.as_secs_f64(),
        vault.asked_while_away() as f64 / AWAY_FOR.as_secs_f64() / NODES as f64
    );
    println!(
        "roles with a wrong secret_id: refused {} times, locked out: {}",
        vault.refused(),
        vault.locked_out()
    );
    if back.len() < right || at(1.0) > BOUND || vault.locked_out() > 0 {
        println!("FAILED: a node was starved, or a role locked out");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

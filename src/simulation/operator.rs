//! What people and machines do to the daemon and to Vault, in phases drawn from the seed.

use std::time::Duration;

use tokio::time::sleep;

use super::apiserver;
use super::conditions::Conditions;
use super::world::{GRACE, World};
use crate::actor::Fault;
use crate::supervisor::{Child, Daemon};
use crate::system::Signal;

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// As by SIGKILL.
    Killed,
    /// Asked to.
    Stopped,
    /// The run is over.
    Over,
}

/// The phases that are left; they outlive a process.
#[derive(Debug)]
pub(super) struct Schedule {
    pub(super) phases: u32,
}

impl Schedule {
    /// Goes on until the process is to end.
    pub(super) async fn run(&mut self, world: &World, daemon: &mut Daemon) -> End {
        while self.phases > 0 {
            self.phases -= 1;
            if let Some(end) = phase(world, daemon).await {
                return end;
            }
        }
        calm(world);
        // A key that was accepted is announced now, or never.
        sleep(GRACE).await;
        recover(world, daemon);
        sleep(GRACE + Duration::from_secs(90)).await;
        apiserver::audit(world).await;
        End::Over
    }
}

async fn phase(world: &World, daemon: &mut Daemon) -> Option<End> {
    let (length, events) = {
        let mut state = world.state();
        let is_calm = state.rng.u8(..5) < 2;
        if is_calm {
            state.conditions = [Conditions::calm(), Conditions::calm()];
        } else {
            let both = state.rng.bool();
            let drawn = Conditions::draw(&mut state.rng);
            let other = Conditions::draw(&mut state.rng);
            state.conditions = [drawn, if both { other } else { Conditions::calm() }];
            state.vault.fall_behind();
        }
        // Once an error is explained by more than the phase, it stays so.
        let is_replaced = state.vault.current != state.announced_key();
        let is_wrong = state.vault.is_sealed || state.vault.denied.is_some() || is_replaced;
        state.set_disturbed(!is_calm || is_wrong);
        let text = format!("phase {:?}", state.conditions);
        state.note(&text);
        // Longer is a restored snapshot to the plugin.
        let longest = if state.conditions.iter().any(|it| it.is_stale) {
            40
        } else {
            200
        };
        (state.rng.u64(5..longest), state.rng.u8(..4))
    };
    let wait = Duration::from_secs(length) / (u32::from(events) + 1);
    for _ in 0..events {
        sleep(wait).await;
        if let Some(end) = event(world, daemon) {
            return Some(end);
        }
    }
    sleep(wait).await;
    None
}

fn event(world: &World, daemon: &mut Daemon) -> Option<End> {
    let drawn = world.state().rng.u8(..16);
    match drawn {
        0..4 => rotate(world),
        4 => {
            let child = [Child::Session, Child::Keys, Child::Grpc][world.state().rng.usize(..3)];
            let faults = [
                Fault::Panic,
                Fault::Error,
                Fault::Hang,
                Fault::Kill,
                Fault::EndTasks,
            ];
            let fault = faults[world.state().rng.usize(..faults.len())];
            disturbed(world, &format!("{child} {fault:?}"));
            daemon.inject(child, fault);
        }
        5 => {
            disturbed(world, "tokens revoked");
            world.state().vault.revoke_tokens();
        }
        6 => seal(world),
        7 => deny(world, daemon),
        8 => replace(world, daemon),
        9 => raise_minimum(world),
        10 | 11 => reload(world, daemon),
        12 => step_clock(world),
        13 => return Some(End::Killed),
        14 => return Some(End::Stopped),
        _ => {
            disturbed(world, "reboot");
            world.state().boots += 1;
            return Some(End::Killed);
        }
    }
    None
}

fn disturbed(world: &World, what: &str) {
    let mut state = world.state();
    state.note(what);
    state.disturb();
}

fn rotate(world: &World) {
    let mut state = world.state();
    let now = state.now();
    let version = state.vault.rotate(now);
    state.note(&format!("rotated to {version}"));
}

fn seal(world: &World) {
    let mut state = world.state();
    state.vault.is_sealed = !state.vault.is_sealed;
    let sealed = state.vault.is_sealed;
    state.note(&format!("sealed: {sealed}"));
    state.set_disturbed(true);
}

fn deny(world: &World, daemon: &mut Daemon) {
    let mut state = world.state();
    let paths = [
        "transit/encrypt",
        "transit/decrypt",
        "transit/keys",
        "transit",
        "auth/approle/login",
    ];
    let path = paths[state.rng.usize(..paths.len())];
    state.vault.denied = state.vault.denied.is_none().then_some(path);
    let denied = state.vault.denied;
    state.note(&format!("denied: {denied:?}"));
    state.set_disturbed(true);
    drop(state);
    if denied.is_none() {
        // A rejected login is not repeated for minutes unless an operator says that it may be.
        daemon.signal(Signal::Reload);
    }
}

/// Deletes the key and makes another one; or, if that was done, restores it or accepts the other one.
fn replace(world: &World, daemon: &mut Daemon) {
    let mut state = world.state();
    if state.checks.announced.is_empty() {
        // A key that is replaced before its first proof is one that nobody knows.
        return;
    }
    let now = state.now();
    let named = state.checks.named.clone();
    let named = named.and_then(|key_id| Some((state.place(&key_id)?.key, key_id)));
    let current = state.vault.current;
    state.set_disturbed(true);
    if current == state.announced_key() {
        state.vault.recreate(now);
        state.note("key deleted and made again");
    } else if let Some((key, key_id)) = named.filter(|(key, _)| *key == current && state.rng.bool())
    {
        state.note(&format!("accepts {key_id}"));
        state.checks.accepted.push(key);
        state.settings.accepted = Some(key_id);
        drop(state);
        world.write_config();
        daemon.signal(Signal::Reload);
    } else {
        state.vault.current = state.announced_key();
        state.note("key restored");
    }
}

fn raise_minimum(world: &World) {
    let mut state = world.state();
    let current = state.vault.current;
    if current != state.announced_key() && state.checks.named.is_none() {
        // Above the canary before the plugin has looked at the new key it hides that there is one.
        return;
    }
    let announced = state
        .checks
        .announced
        .last()
        .map_or(1, |(_, place)| place.version);
    let latest = state.vault.keys[current].latest();
    // Above what was announced for a key that has been away it says nothing, and the verdict stays.
    let was_away = current == state.announced_key() && state.vault.keys.len() > 1;
    let minimum = if was_away { announced } else { latest };
    state.vault.keys[current].min_decryption = minimum;
    state.note(&format!("min_decryption_version {minimum}"));
    state.disturb();
}

fn reload(world: &World, daemon: &mut Daemon) {
    {
        let mut state = world.state();
        match state.rng.u8(..4) {
            0 => state.settings.max_waiting += 1,
            1 => state.settings.tolerance += 10,
            2 => state.settings.suffix += 1,
            _ => {}
        }
        let text = format!("reload {:?}", state.settings);
        state.note(&text);
        state.disturb();
    }
    world.write_config();
    daemon.signal(Signal::Reload);
}

fn step_clock(world: &World) {
    let mut state = world.state();
    let step = state.rng.i64(-7200..7200);
    state.wall_step += step;
    state.note(&format!("clock stepped by {step} s"));
}

/// All faults end but what an operator has to correct.
fn calm(world: &World) {
    let mut state = world.state();
    state.conditions = [Conditions::calm(), Conditions::calm()];
    state.vault.is_sealed = false;
    state.vault.denied = None;
    state.set_disturbed(true);
    state.note("calm");
}

/// The rest ends.
fn recover(world: &World, daemon: &mut Daemon) {
    {
        let mut state = world.state();
        state.vault.current = state.announced_key();
        // One above the version that was announced may have been set, below which the canary says nothing.
        for key in &mut state.vault.keys {
            key.min_decryption = 1;
        }
        state.set_disturbed(false);
        state.note("recovered");
    }
    // An operator who corrected something reloads.
    daemon.signal(Signal::Reload);
}

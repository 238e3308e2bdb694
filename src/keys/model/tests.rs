//! The checks: small ones at each run of the tests, larger ones on request.

use std::num::NonZeroUsize;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use super::bounds::{Bounds, Budget};
use super::check::Check;

/// Nothing happens.
const NOTHING: Bounds = Bounds {
    name: "",
    nodes: 1,
    objects: 0,
    keys: 1,
    interleaved: true,
    clock_goes_back: false,
    deletions_lag: false,
    is_started: true,
    proof_step: 300,
    polls_to_expiry: 1,
    rounds: 9,
    budget: Budget {
        rotate_commands: 0,
        rotations: 0,
        failures: 0,
        failed_encrypts: 0,
        silences: 0,
        crashes: 0,
        reboots: 0,
        losses: 0,
        panics: 0,
        deletions: 0,
        restores: 0,
        repoints: 0,
        acceptances: 0,
        restarts: 0,
        other_clients: false,
        audits: false,
    },
};

/// Two nodes rotate by the command, and audit.
const COMMANDS: Bounds = Bounds {
    name: "commands",
    nodes: 2,
    objects: 1,
    interleaved: false,
    polls_to_expiry: 2,
    rounds: 3,
    budget: Budget {
        rotate_commands: 1,
        failed_encrypts: 1,
        audits: true,
        ..NOTHING.budget
    },
    ..NOTHING
};

/// One node, and what can happen between two of its calls while Vault rotates with a clock that goes back.
const INTERLEAVED: Bounds = Bounds {
    name: "interleaved",
    clock_goes_back: true,
    budget: Budget {
        rotations: 1,
        failures: 1,
        crashes: 1,
        other_clients: true,
        ..NOTHING.budget
    },
    ..NOTHING
};

/// One node that starts while the key is rotated and other clients ask for the Status.
const CONNECTIONS: Bounds = Bounds {
    name: "connections",
    is_started: false,
    budget: Budget {
        rotations: 1,
        other_clients: true,
        ..NOTHING.budget
    },
    ..NOTHING
};

/// Objects of several versions are audited.
const VERSIONS: Bounds = Bounds {
    name: "versions",
    objects: 2,
    interleaved: false,
    budget: Budget {
        rotate_commands: 1,
        audits: true,
        ..NOTHING.budget
    },
    ..NOTHING
};

/// The key is deleted, created again, restored and accepted.
const REPLACED: Bounds = Bounds {
    name: "replaced",
    proof_step: 150,
    budget: Budget {
        deletions: 1,
        restores: 1,
        acceptances: 1,
        ..NOTHING.budget
    },
    ..NOTHING
};

/// The key is deleted and created again, and a standby that lags has the deleted one.
const REPLACED_WITH_LAG: Bounds = Bounds {
    name: "replaced, with a standby that lags",
    proof_step: 150,
    deletions_lag: true,
    budget: Budget {
        deletions: 1,
        acceptances: 1,
        ..NOTHING.budget
    },
    ..NOTHING
};

/// An operator configures another key, and goes back.
const REPOINTED: Bounds = Bounds {
    name: "repointed",
    objects: 1,
    keys: 2,
    interleaved: false,
    budget: Budget {
        rotations: 1,
        repoints: 2,
        crashes: 1,
        ..NOTHING.budget
    },
    ..NOTHING
};

/// More of everything, each up to `MODEL_TRANSITIONS`.
const LARGER: [Bounds; 6] = [
    Bounds {
        name: "commands, with crashes",
        objects: 2,
        budget: Budget {
            rotate_commands: 2,
            failures: 1,
            crashes: 1,
            restarts: 1,
            ..COMMANDS.budget
        },
        ..COMMANDS
    },
    Bounds {
        name: "commands, interleaved",
        interleaved: true,
        ..COMMANDS
    },
    Bounds {
        name: "interleaved, with everything but another key",
        proof_step: 150,
        polls_to_expiry: 2,
        is_started: false,
        budget: Budget {
            rotations: 2,
            failed_encrypts: 1,
            silences: 1,
            reboots: 1,
            losses: 1,
            panics: 1,
            restarts: 1,
            ..INTERLEAVED.budget
        },
        ..INTERLEAVED
    },
    Bounds {
        name: "replaced, with rotations and crashes",
        is_started: false,
        budget: Budget {
            rotations: 1,
            deletions: 2,
            acceptances: 2,
            crashes: 1,
            ..REPLACED.budget
        },
        ..REPLACED
    },
    Bounds {
        name: "replaced, on two nodes",
        nodes: 2,
        interleaved: false,
        budget: Budget {
            rotations: 1,
            acceptances: 2,
            ..REPLACED.budget
        },
        ..REPLACED
    },
    Bounds {
        name: "repointed, interleaved",
        interleaved: true,
        budget: Budget {
            failures: 1,
            repoints: 3,
            ..REPOINTED.budget
        },
        ..REPOINTED
    },
];

/// How many transitions of each larger one are explored, unless `MODEL_TRANSITIONS` says otherwise; 0 is all.
const TRANSITIONS: usize = 1_000_000;

/// Explores what is within the bounds, up to so many states, and prints how much that was.
fn check(bounds: Bounds, limit: usize) {
    let began = Instant::now();
    let checker = Check { bounds }.checker();
    let mut checker = checker.finish_when(HasDiscoveries::AnyFailures);
    if let Some(limit) = NonZeroUsize::new(limit) {
        checker = checker.target_state_count(limit.get());
    }
    let checker = checker.spawn_bfs().join();
    let found: Vec<_> = checker.discoveries().into_iter().collect();
    let states = checker.state_count();
    let is_cut = limit > 0 && states >= limit;
    eprintln!(
        "{}: {} after {states} transitions, {} states, depth {}, {:.1} s\n{bounds:?}",
        bounds.name,
        if is_cut { "cut off" } else { "complete" },
        checker.unique_state_count(),
        checker.max_depth(),
        began.elapsed().as_secs_f64()
    );
    for (property, path) in &found {
        eprintln!("violated: {property}");
        for action in path.clone().into_actions() {
            eprintln!("    {action:?}");
        }
    }
    let violated: Vec<_> = found.iter().map(|(property, _)| property).collect();
    assert!(violated.is_empty(), "{}: {violated:?}", bounds.name);
}

#[test]
fn a_rotation_by_the_commands_loses_nothing() {
    check(COMMANDS, 0);
}

#[test]
fn a_rotation_interleaves_with_crashes_failures_and_other_clients() {
    check(INTERLEAVED, 0);
}

#[test]
fn each_connection_has_the_version_of_its_own_status() {
    check(CONNECTIONS, 0);
}

#[test]
fn the_advice_of_an_audit_keeps_every_version_that_is_needed() {
    check(VERSIONS, 0);
}

#[test]
fn a_replaced_key_is_not_written_to() {
    check(REPLACED, 0);
}

#[test]
fn a_replaced_key_is_not_written_to_while_a_standby_has_the_deleted_one() {
    check(REPLACED_WITH_LAG, 0);
}

#[test]
fn a_key_id_that_returns_is_reported() {
    check(REPOINTED, 0);
}

/// `cargo test --lib -- --ignored --nocapture model` (docs/assurance.md).
#[test]
#[ignore = "minutes: larger bounds"]
fn larger_bounds_hold() {
    let limit = std::env::var("MODEL_TRANSITIONS");
    let limit = limit.map_or(TRANSITIONS, |it| it.parse().expect("a number"));
    for bounds in LARGER {
        check(bounds, limit);
    }
}

//! The Status policy as a table: what is known, and for how long Vault has been silent.

use super::*;
use crate::keys::tests::logged_in;
use crate::keys::view::{KeyFault, ProvenKey};
use crate::keys::{KeyId, tests};
use crate::session::LoginFault;
use crate::system::clock::Moment;

const LIMITS: HealthLimits = HealthLimits {
    tolerance: Duration::from_secs(600),
    fail_after: Duration::from_secs(3600),
};
/// Below the tolerance, at it, below the end, at it.
const CLOCK: [u64; 6] = [0, 599, 600, 3599, 3600, 100_000];

/// What a row of the table expects of every moment of the clock.
#[derive(Debug, Clone, Copy)]
enum Expected {
    /// `ok`, then `healthz` has this reason, then an error of this kind has it.
    Fades(&'static str, ErrorKind),
    /// The error at once and always.
    Closed(&'static str, ErrorKind),
    /// The caller waits, for this reason.
    Waits(&'static str, ErrorKind),
}

fn version(number: u32, created: i64) -> ProvenKey {
    tests::proven(created, number)
}

fn never_proven() -> KeyView {
    KeyView::default()
}

fn proven() -> KeyView {
    KeyView {
        announced: Some(version(1, 7)),
        proven: Some(version(1, 7)),
        ..KeyView::default()
    }
}

/// A version 2 that was proven after version 1 was announced.
fn newer_proven() -> KeyView {
    KeyView {
        proven: Some(version(2, 9)),
        ..proven()
    }
}

fn faulty(view: KeyView, kind: ErrorKind, text: &str, verdict: bool) -> KeyView {
    let error = KeyError::new(kind, text);
    KeyView {
        fault: Some(KeyFault { error, verdict }),
        ..view
    }
}

fn not_logged_in(refused: Option<bool>) -> SessionView {
    let fault = refused.map(|rejected| LoginFault {
        reason: Reason::LoginRefused,
        cause: "no login".to_owned(),
        remedy: None,
        rejected,
    });
    SessionView {
        fault,
        ..SessionView::default()
    }
}

/// A state, and what Status makes of it.
type Row = (&'static str, KeyView, SessionView, Expected);

#[rustfmt::skip] // A row a line.
fn table() -> Vec<Row> {
    use ErrorKind::{DeadlineExceeded, Denied, Precondition, Unavailable};
    use Expected::{Closed, Fades, Waits};
    let passing = |view| faulty(view, Unavailable, "away", false);
    let slow = faulty(proven(), DeadlineExceeded, "too slow", false);
    let suspected = |view| faulty(view, Denied, "denied", false);
    let verdict = |view| faulty(view, Precondition, "key gone", true);
    let no_login = |refused| not_logged_in(Some(refused));
    vec![
        ("new", never_proven(), logged_in(), Waits("not been proven", Unavailable)),
        ("new, no login yet", never_proven(), not_logged_in(None), Waits("not logged in", Unavailable)),
        ("new, login refused", never_proven(), no_login(true), Waits("no login", Denied)),
        ("new, login passing", never_proven(), no_login(false), Waits("no login", Unavailable)),
        ("new, passing fault", passing(never_proven()), logged_in(), Waits("away", Unavailable)),
        ("new, suspected", suspected(never_proven()), logged_in(), Waits("denied", Denied)),
        ("new, verdict", verdict(never_proven()), logged_in(), Closed("key gone", Precondition)),
        ("proven", proven(), logged_in(), Fades("not answered for a while", Unavailable)),
        ("passing fault", passing(proven()), logged_in(), Fades("away", Unavailable)),
        ("slow", slow, logged_in(), Fades("too slow", Unavailable)),
        ("suspected", suspected(proven()), logged_in(), Fades("denied", Denied)),
        ("verdict", verdict(proven()), logged_in(), Closed("key gone", Precondition)),
        ("verdict, no session", verdict(proven()), no_login(false), Closed("key gone", Precondition)),
        ("newer works", newer_proven(), logged_in(), Fades("not answered for a while", Unavailable)),
        ("newer works, passing fault", passing(newer_proven()), logged_in(), Fades("away", Unavailable)),
        ("newer worked, verdict", verdict(newer_proven()), logged_in(), Closed("key gone", Precondition)),
        ("no login yet", proven(), not_logged_in(None), Fades("not logged in", Unavailable)),
        ("login refused", proven(), no_login(true), Fades("no login", Denied)),
        ("login passing", proven(), no_login(false), Fades("no login", Unavailable)),
        ("login refused, passing fault", passing(proven()), no_login(true), Fades("no login", Denied)),
    ]
}

fn expect(row: &str, expected: Expected, key_id: Option<&KeyId>, silent: u64, policy: &Policy) {
    let at = format!("{row}, silent for {silent} s: {policy:?}");
    let tells =
        |error: &KeyError, text: &str, kind| error.to_string().contains(text) && error.kind == kind;
    let right = match (expected, policy) {
        (Expected::Waits(text, kind), Policy::Wait(error)) => tells(error, text, kind),
        (Expected::Closed(text, kind), Policy::Fail(error)) => tells(error, text, kind),
        (Expected::Fades(text, kind), Policy::Fail(error)) => {
            silent >= 3600 && tells(error, text, kind)
        }
        (Expected::Fades(text, _), Policy::Answer(report)) => {
            let healthz = match silent {
                0..600 => report.healthz == "ok",
                600..3600 => report.healthz.contains(text),
                _ => false,
            };
            let has_reason = report.reason.is_some() == (silent >= 600);
            healthz && has_reason && Some(&report.key.key_id) == key_id
        }
        _ => false,
    };
    assert!(right, "{at}");
}

#[test]
fn what_status_says_follows_from_what_is_known_and_the_clock() {
    for (row, view, sessions, expected) in table() {
        let key_id = view.proven.as_ref().map(|proven| &proven.key_id);
        for silent in CLOCK {
            // Nothing ever succeeded where nothing was proven.
            let silence = key_id.map(|_| Duration::from_secs(silent));
            let policy = decide(&view, silence, &reason(&view, &sessions), LIMITS);
            expect(row, expected, key_id, silent, &policy);
        }
    }
}

#[test]
fn the_error_after_the_limit_says_for_how_long() {
    let away = KeyError::new(ErrorKind::Unavailable, "vault is away");
    let policy = decide(
        &proven(),
        Some(Duration::from_millis(3_600_900)),
        &away,
        LIMITS,
    );
    let text = "no success with vault for more than 1h: vault is away";
    assert_eq!(
        policy,
        Policy::Fail(KeyError::new(ErrorKind::Unavailable, text))
    );
}

#[test]
fn what_an_earlier_process_announced_fades_like_the_rest() {
    // As the state file leaves it: no canary, no fault, the last success as long ago as it was.
    for silent in CLOCK {
        let view = KeyView {
            last_success: Some(Moment::ago(Duration::from_secs(silent))),
            ..proven()
        };
        let policy = status_now(&view, &not_logged_in(None), LIMITS);
        let expected = Expected::Fades("not logged in", ErrorKind::Unavailable);
        expect(
            "restored",
            expected,
            Some(&version(1, 7).key_id),
            silent,
            &policy,
        );
    }
}

#[test]
fn what_an_earlier_boot_announced_is_never_ok_until_vault_confirms_it() {
    let since = jiff::Timestamp::from_second(1_714_000_000).expect("a time");
    let unconfirmed = KeyView {
        unconfirmed_since: Some(since),
        last_success: Some(Moment::now()),
        ..proven()
    };
    // Nothing has failed yet: Vault is being asked.
    for sessions in [logged_in(), not_logged_in(None)] {
        let policy = status_now(&unconfirmed, &sessions, LIMITS);
        assert!(matches!(policy, Policy::Wait(_)), "{policy:?}");
    }
    let away = faulty(unconfirmed.clone(), ErrorKind::Unavailable, "away", false);
    for (view, sessions) in [
        (unconfirmed.clone(), not_logged_in(Some(false))),
        (away, logged_in()),
    ] {
        let policy = status_now(&view, &sessions, LIMITS);
        let Policy::Answer(report) = policy else {
            panic!("{policy:?}")
        };
        assert!(
            report.healthz.contains("2024-04-24T23:06:40Z"),
            "{report:?}"
        );
        assert_eq!(Some(report.key), proven().proven);
    }
    let mut confirmed = unconfirmed;
    confirmed.succeeded(Moment::now());
    let policy = status_now(&confirmed, &logged_in(), LIMITS);
    assert!(matches!(policy, Policy::Answer(report) if report.healthz == "ok"));
}

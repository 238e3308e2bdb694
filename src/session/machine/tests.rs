//! The machine by example, and the properties of every history.

use proptest::prelude::*;

use super::Event::*;
use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const MIDDLE: f64 = 0.5;

fn lease(seconds: u64, renewable: bool) -> Lease {
    Lease {
        ttl: (seconds > 0).then(|| Duration::from_secs(seconds)),
        renewable,
        num_uses: 0,
    }
}

/// A machine and its clock.
struct Scenario {
    machine: Machine,
    now: Instant,
}

impl Machine {
    fn in_progress(&self) -> Option<Step> {
        match self.phase {
            Phase::InProgress(step) => Some(step),
            Phase::Scheduled { .. } => None,
        }
    }
}

impl Scenario {
    fn new() -> Self {
        let now = Instant::now();
        let machine = Machine::start(None, None, now, MIDDLE);
        Self { machine, now }
    }

    /// A scenario with a renewable session of an hour.
    fn active() -> Self {
        let mut scenario = Self::new();
        assert_eq!(scenario.apply(TimerFired), Some(Step::CheckHealth));
        assert_eq!(scenario.apply(VaultReady), Some(Step::Login));
        assert_eq!(scenario.apply(Granted(lease(3600, true))), None);
        scenario
    }

    fn apply(&mut self, event: Event) -> Option<Step> {
        let (machine, step) = self.machine.after(event, self.now, MIDDLE);
        self.machine = machine;
        step
    }

    /// Advances the clock to the next wake-up. Returns how long that took, and the step that began.
    fn wake(&mut self) -> (Duration, Option<Step>) {
        let due = self.machine.wake().expect("a wake-up is planned");
        let waited = due.saturating_duration_since(self.now);
        self.now = self.now.max(due);
        (waited, self.apply(TimerFired))
    }
}

#[test]
fn a_session_is_renewed_at_seventy_percent_each_time() {
    let mut scenario = Scenario::active();
    for _ in 0..3 {
        assert_eq!(scenario.wake(), (HOUR.mul_f64(0.7), Some(Step::Renew)));
        assert_eq!(scenario.apply(Renewed(Some(lease(3600, true)))), None);
        assert!(scenario.machine.has_session());
    }
}

#[test]
fn a_token_that_cannot_be_renewed_is_replaced_before_it_expires() {
    for renewed in [Renewed(None), NotRenewed(Failure::Rejected)] {
        let mut scenario = Scenario::active();
        scenario.wake();
        assert_eq!(
            scenario.apply(renewed),
            Some(Step::CheckHealth),
            "{renewed:?}"
        );
        assert!(scenario.machine.has_session());
        scenario.apply(VaultReady);
        scenario.apply(Granted(lease(3600, true)));
        assert_eq!(scenario.wake(), (HOUR.mul_f64(0.7), Some(Step::Renew)));
    }
    // The lease shrinks near its max TTL.
    let mut scenario = Scenario::active();
    scenario.wake();
    assert_eq!(scenario.apply(Renewed(Some(lease(600, true)))), None);
    let expected = Duration::from_secs(420);
    assert_eq!(scenario.wake(), (expected, Some(Step::CheckHealth)));
    // A lease that shrank to zero is not a token without expiry.
    let mut scenario = Scenario::active();
    scenario.wake();
    let nothing = Renewed(Some(lease(0, true)));
    assert_eq!(scenario.apply(nothing), Some(Step::CheckHealth));
}

#[test]
fn a_renewal_that_fails_is_followed_by_a_login_after_a_wait() {
    let mut scenario = Scenario::active();
    scenario.wake();
    assert_eq!(scenario.apply(NotRenewed(Failure::Transient(None))), None);
    let (waited, step) = scenario.wake();
    assert!(waited <= Duration::from_millis(500), "{waited:?}");
    assert_eq!(step, Some(Step::CheckHealth));
    assert!(scenario.machine.has_session());
}

#[test]
fn an_expired_session_is_dropped_even_while_a_step_is_in_progress() {
    let mut scenario = Scenario::active();
    scenario.wake();
    assert_eq!(scenario.wake(), (HOUR.mul_f64(0.3), None));
    assert!(!scenario.machine.has_session());
    // The renewal is too late.
    assert_eq!(
        scenario.apply(Renewed(Some(lease(3600, true)))),
        Some(Step::CheckHealth)
    );
}

#[test]
fn the_health_of_an_unavailable_vault_is_checked_every_second_and_no_login_is_tried() {
    let mut scenario = Scenario::new();
    scenario.apply(TimerFired);
    for _ in 0..100 {
        assert_eq!(scenario.apply(VaultUnavailable), None);
        let (waited, step) = scenario.wake();
        assert!(waited <= Duration::from_secs(1) && step == Some(Step::CheckHealth));
    }
    // The login is delayed, to spread the logins of the fleet.
    assert_eq!(scenario.apply(VaultReady), None);
    let (waited, step) = scenario.wake();
    assert!(waited < Duration::from_secs(1) && step == Some(Step::Login));
}

#[test]
fn waiting_calls_bring_the_next_health_check_forward_within_a_limit() {
    let mut scenario = Scenario::new();
    scenario.apply(TimerFired);
    scenario.apply(VaultUnavailable);
    for _ in 0..3 {
        assert_eq!(scenario.apply(SessionRequested), None);
    }
    assert_eq!(
        scenario.wake(),
        (MIN_HEALTH_INTERVAL, Some(Step::CheckHealth))
    );
    // It brings nothing else forward.
    let mut scenario = Scenario::new();
    scenario.apply(TimerFired);
    scenario.apply(VaultReady);
    scenario.apply(Failed(Failure::Transient(Some(HOUR))));
    let before = scenario.machine;
    assert_eq!(scenario.apply(SessionRequested), None);
    assert_eq!(scenario.machine, before);
}

#[test]
fn retries_back_off_and_honour_retry_after() {
    let mut scenario = Scenario::new();
    scenario.apply(TimerFired);
    let mut fail = |failure| {
        scenario.apply(VaultReady);
        assert_eq!(scenario.apply(Failed(failure)), None);
        let (waited, step) = scenario.wake();
        assert_eq!(step, Some(Step::CheckHealth));
        waited.as_millis()
    };
    let waits = [(); 8].map(|()| fail(Failure::Transient(None)));
    assert_eq!(waits, [250, 500, 1000, 2000, 4000, 4500, 4500, 4500]);
    let asked = Duration::from_secs(30);
    assert_eq!(fail(Failure::Transient(Some(asked))), 30_000);
    assert_eq!(fail(Failure::Rejected), 4500);
    assert_eq!(fail(Failure::Unreachable), 850);
}

#[test]
fn logins_that_vault_counts_are_suspended_until_something_changes() {
    let mut scenario = Scenario::new();
    scenario.apply(TimerFired);
    scenario.apply(VaultReady);
    assert_eq!(scenario.apply(Failed(Failure::RejectedAndCounted)), None);
    let until = scenario.machine.suspended_until().expect("suspended");
    assert_eq!(until - scenario.now, HOUR / 2);
    for event in [SessionRequested, TimerFired, TokenInvalid] {
        assert_eq!(scenario.apply(event), None, "{event:?}");
    }
    // A restarted actor continues the suspension.
    let restarted = Machine::start(None, Some(until), scenario.now, MIDDLE);
    assert_eq!(restarted.suspended_until(), Some(until));
    assert_eq!(scenario.apply(RetryNow), Some(Step::CheckHealth));
    assert_eq!(scenario.machine.suspended_until(), None);
}

#[test]
fn a_session_outlives_rejected_credentials_and_its_expiry_does_not_end_the_suspension() {
    let mut scenario = Scenario::active();
    scenario.wake();
    scenario.apply(Renewed(None));
    scenario.apply(VaultReady);
    scenario.apply(Failed(Failure::RejectedAndCounted));
    assert!(scenario.machine.has_session());
    assert_eq!(scenario.wake(), (HOUR.mul_f64(0.3), None));
    assert!(!scenario.machine.has_session());
    let (_, step) = scenario.wake();
    assert_eq!(step, Some(Step::CheckHealth));
}

#[test]
fn an_invalid_token_causes_one_login_and_no_second_one_beside_it() {
    let mut scenario = Scenario::active();
    assert_eq!(scenario.apply(TokenInvalid), Some(Step::CheckHealth));
    assert!(!scenario.machine.has_session());
    // The outcome of a step that is not in progress is ignored.
    for event in [
        TokenInvalid,
        TimerFired,
        SessionRequested,
        RetryNow,
        Renewed(None),
    ] {
        assert_eq!(scenario.apply(event), None, "{event:?}");
    }
    assert_eq!(scenario.apply(VaultReady), Some(Step::Login));
    assert_eq!(scenario.apply(TokenInvalid), None);
}

#[test]
fn a_denial_causes_a_login_after_15_seconds_then_30_then_a_minute() {
    let mut scenario = Scenario::active();
    for wait in [15, 30, 60] {
        assert_eq!(scenario.apply(PermissionDenied), None);
        scenario.now += Duration::from_secs(wait - 1);
        assert_eq!(scenario.apply(PermissionDenied), None);
        scenario.now += Duration::from_secs(1);
        assert_eq!(scenario.apply(PermissionDenied), Some(Step::CheckHealth));
        assert!(scenario.machine.has_session());
        assert_eq!(scenario.apply(PermissionDenied), None);
        scenario.apply(VaultReady);
        scenario.apply(Granted(lease(3600, true)));
    }
}

#[test]
fn a_new_wrapping_token_is_used_at_once_unless_a_step_is_in_progress() {
    let mut scenario = Scenario::active();
    assert_eq!(scenario.apply(NewWrappingToken), Some(Step::CheckHealth));
    assert!(scenario.machine.has_session());
    assert_eq!(scenario.apply(NewWrappingToken), None);
    scenario.apply(VaultReady);
    scenario.apply(Failed(Failure::RejectedAndCounted));
    assert_eq!(scenario.apply(NewWrappingToken), None);
}

#[test]
fn a_retry_request_changes_nothing_while_the_session_is_healthy() {
    let mut scenario = Scenario::active();
    let before = scenario.machine;
    assert_eq!(scenario.apply(RetryNow), None);
    assert_eq!(scenario.machine, before);
}

fn event() -> impl Strategy<Value = Event> {
    let lease = || (1_u64..10_000, any::<bool>()).prop_map(|(ttl, free)| lease(ttl, free));
    let failure = prop_oneof![
        Just(Failure::Unreachable),
        Just(Failure::Transient(None)),
        (0_u64..1_000).prop_map(|s| Failure::Transient(Some(Duration::from_secs(s)))),
        Just(Failure::Rejected),
        Just(Failure::RejectedAndCounted),
    ];
    prop_oneof![
        4 => Just(TimerFired),
        1 => Just(SessionRequested),
        1 => Just(RetryNow),
        1 => Just(PermissionDenied),
        1 => Just(NewWrappingToken),
        1 => Just(TokenInvalid),
        2 => Just(VaultReady),
        1 => Just(VaultUnavailable),
        2 => lease().prop_map(Granted),
        2 => proptest::option::of(lease()).prop_map(Renewed),
        1 => failure.clone().prop_map(Failed),
        1 => failure.prop_map(NotRenewed),
    ]
}

proptest! {
    #[test]
    fn every_history_has_one_step_at_a_time_and_always_a_next_one(
        events in proptest::collection::vec((event(), 0.0..1.0_f64, 0_u64..5_000), 1..200)
    ) {
        let mut now = Instant::now();
        let mut machine = Machine::start(None, None, now, MIDDLE);
        let mut running = None;
        for (event, random, seconds) in events {
            now += match event {
                // As the timer does: never too early.
                TimerFired => machine.wake().map_or(Duration::ZERO, |at| at.saturating_duration_since(now)),
                _ => Duration::from_secs(seconds),
            };
            if running.is_some() && event.ends() == running {
                running = None;
            }
            let suspended = machine.suspended_until().filter(|&until| until > now);
            let (next, step) = machine.after(event, now, random);
            machine = next;
            prop_assert_eq!(machine.in_progress(), step.or(running));
            if let Some(step) = step {
                let replaced = event == TokenInvalid && running == Some(Step::Renew);
                prop_assert!(running.is_none() || replaced, "{step:?} beside {running:?}");
                prop_assert!(suspended.is_none() || event == RetryNow, "{step:?} while suspended");
                running = Some(step);
            }
            if event == TokenInvalid {
                prop_assert!(!machine.has_session());
            }
            // Without a session a step is in progress or planned.
            prop_assert!(machine.has_session() || running.is_some() || machine.wake().is_some());
            if let Some(wake) = machine.wake() {
                prop_assert!(wake > now && wake <= now + HOUR * 3);
            }
        }
    }
}

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
#[derive(Clone, Copy)]
struct Scenario {
    machine: Machine,
    now: Instant,
}

impl Machine {
    /// The step of a login, and the renewal, that are in progress.
    fn in_progress(&self) -> (Option<Step>, Option<Step>) {
        let login = match self.login {
            LoginPhase::InProgress { step, .. } => Some(step),
            LoginPhase::Idle | LoginPhase::Scheduled { .. } => None,
        };
        let renewal = match self.renewal {
            RenewalPhase::InProgress(_) => Some(Step::Renew),
            RenewalPhase::Idle | RenewalPhase::Scheduled(_) => None,
        };
        (login, renewal)
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

    /// Returns the steps that begin.
    fn apply_all(&mut self, event: Event) -> Vec<Step> {
        let (machine, steps) = self.machine.after(event, self.now, MIDDLE);
        self.machine = machine;
        steps
    }

    /// The same where no two steps begin together.
    fn apply(&mut self, event: Event) -> Option<Step> {
        let steps = self.apply_all(event);
        assert!(steps.len() < 2, "{steps:?}");
        steps.first().copied()
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
fn a_renewal_that_fails_is_repeated_and_a_login_is_planned_beside_it() {
    for failure in [Failure::Transient(None), Failure::Unreachable] {
        let mut scenario = Scenario::active();
        let granted = scenario.now;
        scenario.wake();
        assert_eq!(scenario.apply(NotRenewed(failure)), None);
        let (waited, step) = scenario.wake();
        assert!(waited <= Duration::from_millis(500), "{waited:?}");
        assert_eq!(step, Some(Step::Renew));
        // One success ends it: no login follows.
        let mut renewed = scenario;
        assert_eq!(renewed.apply(Renewed(Some(lease(3600, true)))), None);
        assert_eq!(renewed.wake(), (HOUR.mul_f64(0.7), Some(Step::Renew)));
        // Else a login is tried from 80% on, and renewals until 90%.
        let (mut logins, mut last) = (0, scenario.now);
        scenario.apply(NotRenewed(failure));
        while scenario.machine.has_session() {
            scenario.now = scenario.machine.wake().expect("a session that expires");
            for step in scenario.apply_all(TimerFired) {
                if step == Step::Renew {
                    last = scenario.now;
                    scenario.apply(NotRenewed(failure));
                } else if logins == 0 {
                    assert_eq!(scenario.now - granted, HOUR.mul_f64(0.8));
                }
                if step == Step::CheckHealth {
                    logins += 1;
                    assert_eq!(scenario.apply(VaultReady), Some(Step::Login));
                    scenario.apply(Failed(Failure::Transient(None)));
                }
            }
        }
        assert_eq!(last - granted, HOUR.mul_f64(0.9));
        assert!(logins > 10, "{logins}");
    }
}

/// Scenarios with a session whose next login is in progress, or waits for its time.
fn with_a_login_under_way() -> Vec<(&'static str, Scenario)> {
    let mut checking = Scenario::active();
    checking.wake();
    checking.apply(NotRenewed(Failure::Rejected));
    let mut unavailable = checking;
    unavailable.apply(VaultUnavailable);
    let mut logging_in = checking;
    logging_in.apply(VaultReady);
    let after = |failure| {
        let mut failed = logging_in;
        failed.apply(Failed(failure));
        failed
    };
    vec![
        ("checking", checking),
        ("unavailable", unavailable),
        ("logging in", logging_in),
        ("failed", after(Failure::Transient(None))),
        ("rejected", after(Failure::Rejected)),
        ("locked out", after(Failure::RejectedAndCounted)),
    ]
}

#[test]
fn a_denial_and_a_new_wrapping_token_hurry_no_login_that_is_under_way() {
    for (name, scenario) in with_a_login_under_way() {
        assert!(scenario.machine.has_session(), "{name}");
        for event in [PermissionDenied, NewWrappingToken] {
            let mut hurried = scenario;
            assert_eq!(hurried.apply(event), None, "{name}");
            assert_eq!(hurried.machine.wake(), scenario.machine.wake(), "{name}");
        }
    }
    for event in [PermissionDenied, NewWrappingToken] {
        let mut healthy = Scenario::active();
        healthy.now += HOUR / 2;
        assert_eq!(healthy.apply(event), Some(Step::CheckHealth));
    }
}

#[test]
fn logins_that_were_suspended_before_a_restart_stay_so_until_an_operator_retries() {
    let session = Scenario::active().machine.active_token();
    let now = Instant::now();
    let until = now + HOUR / 4;
    let machine = Machine::start(session, Some(until), now, MIDDLE);
    let suspended = Scenario { machine, now };
    assert_eq!(suspended.machine.suspended_until(), Some(until));
    for event in [PermissionDenied, NewWrappingToken] {
        let mut asked = suspended;
        asked.now += HOUR / 8;
        let wake = asked.machine.wake();
        assert_eq!(asked.apply(event), None);
        assert_eq!(asked.machine.wake(), wake, "none is planned either");
    }
    let mut retried = suspended;
    assert_eq!(retried.apply(RetryNow), Some(Step::CheckHealth));
    assert_eq!(retried.machine.suspended_until(), None);
    let mut ended = suspended;
    ended.now = until;
    assert_eq!(ended.apply(TimerFired), None);
    assert_eq!(ended.machine.suspended_until(), None);
    let machine = Machine::start(None, Some(now), now, MIDDLE);
    assert_eq!(machine.suspended_until(), None, "they ended just then");
}

#[test]
fn a_retry_of_an_operator_begins_a_login_only_where_one_is_missing() {
    let mut healthy = Scenario::active();
    let wake = healthy.machine.wake();
    assert_eq!(healthy.apply(RetryNow), None);
    assert_eq!(healthy.machine.wake(), wake);
    for (name, mut scenario) in with_a_login_under_way() {
        let begins = matches!(scenario.machine.in_progress(), (None, _));
        let step = scenario.apply(RetryNow);
        assert_eq!(step.is_some(), begins, "{name}");
    }
}

#[test]
fn a_shrinking_lease_is_replaced_and_used_up_if_no_login_succeeds() {
    let mut scenario = Scenario::active();
    scenario.wake();
    scenario.apply(Renewed(Some(lease(600, true))));
    scenario.wake();
    scenario.apply(VaultReady);
    assert_eq!(scenario.apply(Failed(Failure::RejectedAndCounted)), None);
    let to_renewal = Duration::from_secs(510 - 420);
    assert_eq!(scenario.wake(), (to_renewal, Some(Step::Renew)));
    assert_eq!(scenario.apply(Renewed(Some(lease(600, true)))), None);
    assert!(scenario.machine.has_session());
}

#[test]
fn an_expired_session_is_dropped_even_while_a_step_is_in_progress() {
    let mut scenario = Scenario::active();
    scenario.wake();
    let at_expiry = (HOUR.mul_f64(0.3), Some(Step::CheckHealth));
    assert_eq!(scenario.wake(), at_expiry);
    assert!(!scenario.machine.has_session());
    // The renewal is too late.
    assert_eq!(scenario.apply(Renewed(Some(lease(3600, true)))), None);
    assert!(!scenario.machine.has_session());
    assert_eq!(scenario.apply(VaultReady), Some(Step::Login));
}

#[test]
fn a_lease_counts_from_its_request() {
    let mut scenario = Scenario::new();
    scenario.apply(TimerFired);
    scenario.apply(VaultReady);
    let asked = scenario.now;
    scenario.now += Duration::from_secs(8);
    scenario.apply(Granted(lease(10, true)));
    let active = scenario.machine.active_token().expect("a session");
    assert_eq!(active.expires, Some(asked + Duration::from_secs(10)));
    // What is over when it arrives is no session.
    let mut scenario = Scenario::new();
    scenario.apply(TimerFired);
    scenario.apply(VaultReady);
    scenario.now += Duration::from_secs(8);
    assert_eq!(scenario.apply(Granted(lease(5, true))), None);
    assert!(!scenario.machine.has_session());
}

#[test]
fn tokens_that_die_young_cause_logins_at_growing_intervals() {
    let mut scenario = Scenario::active();
    let mut waits = Vec::new();
    for _ in 0..8 {
        scenario.now += Duration::from_millis(10);
        let mut waited = Duration::ZERO;
        if scenario.apply(TokenInvalid).is_none() {
            waited = scenario.wake().0;
        }
        waits.push(waited.as_millis());
        scenario.apply(VaultReady);
        scenario.apply(Granted(lease(3600, true)));
    }
    assert_eq!(waits, [0, 375, 750, 1500, 3000, 6000, 6750, 6750]);
    // One that has lived for long is replaced at once.
    scenario.now += HOUR / 2;
    assert_eq!(scenario.apply(TokenInvalid), Some(Step::CheckHealth));
}

#[test]
fn an_outage_does_not_delay_the_login_after_it() {
    let mut scenario = Scenario::new();
    scenario.apply(TimerFired);
    for _ in 0..600 {
        scenario.apply(VaultUnavailable);
        scenario.wake();
    }
    scenario.apply(VaultReady);
    scenario.wake();
    assert_eq!(scenario.apply(Failed(Failure::Transient(None))), None);
    let (waited, step) = scenario.wake();
    assert!(waited <= Duration::from_millis(500), "{waited:?}");
    assert_eq!(step, Some(Step::CheckHealth));
}

#[test]
fn a_retry_after_does_not_reach_beyond_the_token_in_use() {
    let asked = Failure::Transient(Some(HOUR));
    let mut scenario = Scenario::active();
    scenario.wake();
    scenario.apply(NotRenewed(asked));
    let (waited, step) = scenario.wake();
    assert_eq!(
        (waited, step),
        (Duration::from_secs(300), Some(Step::Renew))
    );
    let mut scenario = Scenario::new();
    scenario.apply(TimerFired);
    scenario.apply(VaultReady);
    scenario.apply(Granted(lease(100, false)));
    assert_eq!(scenario.wake().1, Some(Step::CheckHealth));
    scenario.apply(VaultReady);
    scenario.apply(Failed(asked));
    assert_eq!(scenario.wake().0, Duration::from_secs(15));
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

/// A machine with a session, its clock, and what will happen to it.
struct World {
    machine: Machine,
    now: Instant,
    pending: Vec<(Instant, Event)>,
    random: f64,
}

impl World {
    /// A session with a renewable lease of this length.
    fn new(ttl: Duration, random: f64) -> Self {
        let mut scenario = Scenario::new();
        scenario.apply(TimerFired);
        scenario.apply(VaultReady);
        scenario.apply(Granted(Lease {
            ttl: Some(ttl),
            renewable: true,
            num_uses: 0,
        }));
        Self {
            machine: scenario.machine,
            now: scenario.now,
            pending: Vec::new(),
            random,
        }
    }

    /// Applies what happens next, which may be the timer. Returns the steps that begin.
    fn next(&mut self) -> Vec<Step> {
        let wake = self.machine.wake().expect("a session that expires");
        let first = self.pending.iter().enumerate().min_by_key(|(_, it)| it.0);
        let event = match first.map(|(index, &(at, _))| (index, at)) {
            Some((index, at)) if at <= wake => {
                self.now = self.now.max(at);
                self.pending.swap_remove(index).1
            }
            _ => {
                self.now = self.now.max(wake);
                TimerFired
            }
        };
        let (machine, steps) = self.machine.after(event, self.now, self.random);
        self.machine = machine;
        steps
    }
}

fn failure() -> impl Strategy<Value = Failure> {
    prop_oneof![
        Just(Failure::Unreachable),
        Just(Failure::Transient(None)),
        (0_u64..1_000).prop_map(|s| Failure::Transient(Some(Duration::from_secs(s)))),
        Just(Failure::Rejected),
        Just(Failure::RejectedAndCounted),
    ]
}

/// What can ask for a login while there is a session.
fn other_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(SessionRequested),
        Just(RetryNow),
        Just(PermissionDenied),
        Just(NewWrappingToken),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let lease = || (1_u64..10_000, any::<bool>()).prop_map(|(ttl, free)| lease(ttl, free));
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
        1 => failure().prop_map(Failed),
        1 => failure().prop_map(NotRenewed),
    ]
}

proptest! {
    #[test]
    fn every_history_has_one_step_at_a_time_and_always_a_next_one(
        events in proptest::collection::vec((event(), 0.0..1.0_f64, 0_u64..5_000), 1..200)
    ) {
        let mut now = Instant::now();
        let mut machine = Machine::start(None, None, now, MIDDLE);
        let (mut login, mut renewal) = (None, None);
        for (event, random, seconds) in events {
            now += match event {
                // As the timer does: never too early.
                TimerFired => machine.wake().map_or(Duration::ZERO, |at| at.saturating_duration_since(now)),
                _ => Duration::from_secs(seconds),
            };
            if login.is_some() && event.ends() == login {
                login = None;
            }
            // A new or a lost token makes its renewal obsolete.
            let granted = matches!(event, Granted(_)) && machine.in_progress().0 == Some(Step::Login);
            if event.ends() == renewal || event == TokenInvalid || granted {
                renewal = None;
            }
            let suspended = machine.suspended_until().filter(|&until| until > now);
            let (next, steps) = machine.after(event, now, random);
            machine = next;
            if !machine.has_session() {
                renewal = None;
            }
            for step in steps {
                let lane = if step == Step::Renew { &mut renewal } else { &mut login };
                prop_assert!(lane.is_none(), "{step:?} beside {lane:?}");
                let is_login = step != Step::Renew;
                prop_assert!(
                    suspended.is_none() || event == RetryNow || !is_login,
                    "{step:?} while suspended"
                );
                *lane = Some(step);
            }
            prop_assert_eq!(machine.in_progress(), (login, renewal));
            if event == TokenInvalid {
                prop_assert!(!machine.has_session());
            }
            // Without a session a login is in progress or planned.
            prop_assert!(machine.has_session() || login.is_some() || machine.wake().is_some());
            if let Some(wake) = machine.wake() {
                prop_assert!(wake > now && wake <= now + HOUR * 3);
            }
        }
    }

    #[test]
    fn failed_logins_end_no_session_whose_renewals_succeed_but_one(
        ttl in 5_u64..100_000,
        failing in 0_usize..6,
        failure in failure(),
        logins in proptest::collection::vec((failure(), any::<bool>(), 0.0..1.0_f64), 1..60),
        events in proptest::collection::vec((other_event(), 0.0..1.0_f64), 0..20),
        random in 0.0..1.0_f64,
    ) {
        let ttl = Duration::from_secs(ttl);
        let mut world = World::new(ttl, random);
        let end = world.now + ttl * 8;
        let mut renewals = 0;
        let mut attempts = logins.iter().cycle();
        for (event, at) in events {
            world.pending.push((world.now + (ttl * 8).mul_f64(at), event));
        }
        while world.now < end {
            for step in world.next() {
                let now = world.now;
                let left = world.machine.active_token().and_then(|it| it.expires).map_or(ttl, |at| at - now);
                match step {
                    Step::Renew => {
                        // As long as the actor lets it take.
                        let (took, outcome) = if renewals == failing {
                            let longest = (left / 2).clamp(Duration::from_millis(500), Duration::from_secs(10));
                            (longest.mul_f64(random), NotRenewed(failure))
                        } else {
                            (left / 20, Renewed(Some(Lease { ttl: Some(ttl), renewable: true, num_uses: 0 })))
                        };
                        renewals += 1;
                        world.pending.push((now + took, outcome));
                    }
                    Step::CheckHealth => {
                        let (_, ready, took) = attempts.next().expect("endless");
                        let outcome = if *ready { VaultReady } else { VaultUnavailable };
                        world.pending.push((now + Duration::from_secs(2).mul_f64(*took), outcome));
                    }
                    Step::Login => {
                        let (failure, _, took) = attempts.next().expect("endless");
                        world.pending.push((now + Duration::from_secs(10).mul_f64(*took), Failed(*failure)));
                    }
                }
            }
            prop_assert!(world.machine.has_session(), "after {renewals} renewals");
        }
        prop_assert!(renewals > 8, "{renewals}");
    }
}

#[test]
fn a_renewal_that_succeeds_ends_a_fallback_login_in_progress() {
    let mut scenario = Scenario::active();
    scenario.wake();
    scenario.apply(NotRenewed(Failure::Unreachable));
    // until the fallback's health check begins
    let mut in_progress = false;
    for _ in 0..2000 {
        let due = scenario.machine.wake().expect("wake");
        scenario.now = scenario.now.max(due);
        for step in scenario.apply_all(TimerFired) {
            match step {
                Step::Renew => {
                    if in_progress {
                        break;
                    }
                    scenario.apply_all(NotRenewed(Failure::Unreachable));
                }
                Step::CheckHealth => {
                    if in_progress {
                        scenario.apply_all(VaultUnavailable);
                    }
                    in_progress = true;
                }
                Step::Login => panic!(),
            }
        }
        if scenario.machine.in_progress() == (Some(Step::CheckHealth), Some(Step::Renew)) {
            break;
        }
        if in_progress
            && scenario.machine.in_progress().1.is_none()
            && scenario.machine.in_progress().0.is_some()
        {
            // wait for the renewal retry beside it
            continue;
        }
    }
    assert_eq!(
        scenario.machine.in_progress(),
        (Some(Step::CheckHealth), Some(Step::Renew))
    );
    scenario.apply_all(Renewed(Some(lease(3600, true))));
    scenario.apply_all(VaultReady);
    // a login starts although the renewal made it unnecessary; its credentials are gone
    let mut logins = 0;
    for _ in 0..500 {
        let (login, renewal) = scenario.machine.in_progress();
        if renewal.is_some() {
            scenario.apply_all(Renewed(Some(lease(3600, true))));
            continue;
        }
        match login {
            Some(Step::Login) => {
                logins += 1;
                scenario.apply_all(Failed(Failure::Rejected));
            }
            Some(Step::CheckHealth) => {
                scenario.apply_all(VaultReady);
            }
            _ => {
                scenario.now = scenario.machine.wake().expect("w").max(scenario.now);
                scenario.apply_all(TimerFired);
            }
        }
    }
    assert_eq!(
        logins, 0,
        "unnecessary logins, in {:?}: {:?}",
        0, scenario.machine
    );
}

//! The machine by example, and what holds for every history.

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
struct Story {
    machine: Machine,
    now: Instant,
}

impl Machine {
    fn busy(&self) -> Option<Step> {
        match self.phase {
            Phase::Under(step) => Some(step),
            Phase::Waiting { .. } => None,
        }
    }
}

impl Story {
    fn begun() -> Self {
        let now = Instant::now();
        let machine = Machine::start(None, None, now, MIDDLE);
        Self { machine, now }
    }

    /// One that has a renewable session of an hour.
    fn active() -> Self {
        let mut story = Self::begun();
        assert_eq!(story.tell(Due), Some(Step::Reach));
        assert_eq!(story.tell(Reached), Some(Step::Login));
        assert_eq!(story.tell(Granted(lease(3600, true))), None);
        story
    }

    fn tell(&mut self, event: Event) -> Option<Step> {
        let (machine, step) = self.machine.after(event, self.now, MIDDLE);
        self.machine = machine;
        step
    }

    /// Lets time pass until the machine wants to be woken, and tells how long that was.
    fn wake(&mut self) -> (Duration, Option<Step>) {
        let due = self.machine.wake().expect("it waits for a time");
        let waited = due.saturating_duration_since(self.now);
        self.now = self.now.max(due);
        (waited, self.tell(Due))
    }
}

#[test]
fn a_session_is_renewed_at_seventy_percent_again_and_again() {
    let mut story = Story::active();
    for _ in 0..3 {
        assert_eq!(story.wake(), (HOUR.mul_f64(0.7), Some(Step::Renew)));
        assert_eq!(story.tell(Renewed(Some(lease(3600, true)))), None);
        assert!(story.machine.has_session());
    }
}

#[test]
fn what_cannot_be_prolonged_is_followed_by_a_login_before_it_ends() {
    for renewed in [Renewed(None), NotRenewed(Failure::Refused)] {
        let mut story = Story::active();
        story.wake();
        assert_eq!(story.tell(renewed), Some(Step::Reach), "{renewed:?}");
        assert!(story.machine.has_session());
        story.tell(Reached);
        story.tell(Granted(lease(3600, true)));
        assert_eq!(story.wake(), (HOUR.mul_f64(0.7), Some(Step::Renew)));
    }
    // One that shrinks, as near its max TTL.
    let mut story = Story::active();
    story.wake();
    assert_eq!(story.tell(Renewed(Some(lease(600, true)))), None);
    let expected = Duration::from_secs(420);
    assert_eq!(story.wake(), (expected, Some(Step::Reach)));
    // One that shrank to nothing is no token without an end.
    let mut story = Story::active();
    story.wake();
    let nothing = Renewed(Some(lease(0, true)));
    assert_eq!(story.tell(nothing), Some(Step::Reach));
}

#[test]
fn a_renewal_that_fails_is_followed_by_a_login_after_a_wait() {
    let mut story = Story::active();
    story.wake();
    assert_eq!(story.tell(NotRenewed(Failure::Transient(None))), None);
    let (waited, step) = story.wake();
    assert!(waited <= Duration::from_millis(500), "{waited:?}");
    assert_eq!(step, Some(Step::Reach));
    assert!(story.machine.has_session());
}

#[test]
fn a_session_that_ends_is_let_go_at_once_whatever_is_under_way() {
    let mut story = Story::active();
    story.wake();
    assert_eq!(story.wake(), (HOUR.mul_f64(0.3), None));
    assert!(!story.machine.has_session());
    // The renewal comes too late.
    assert_eq!(
        story.tell(Renewed(Some(lease(3600, true)))),
        Some(Step::Reach)
    );
}

#[test]
fn an_absent_vault_is_asked_every_second_and_not_logged_into() {
    let mut story = Story::begun();
    story.tell(Due);
    for _ in 0..100 {
        assert_eq!(story.tell(Away), None);
        let (waited, step) = story.wake();
        assert!(waited <= Duration::from_secs(1) && step == Some(Step::Reach));
    }
    // The login waits for its turn among the fleet's.
    assert_eq!(story.tell(Reached), None);
    let (waited, step) = story.wake();
    assert!(waited < Duration::from_secs(1) && step == Some(Step::Login));
}

#[test]
fn a_call_that_waits_has_an_absent_vault_asked_before_its_time_but_not_in_a_storm() {
    let mut story = Story::begun();
    story.tell(Due);
    story.tell(Away);
    for _ in 0..3 {
        assert_eq!(story.tell(Wanted), None);
    }
    assert_eq!(story.wake(), (ASK_SPACING, Some(Step::Reach)));
    // It hurries nothing else.
    let mut story = Story::begun();
    story.tell(Due);
    story.tell(Reached);
    story.tell(Failed(Failure::Transient(Some(HOUR))));
    let before = story.machine;
    assert_eq!(story.tell(Wanted), None);
    assert_eq!(story.machine, before);
}

#[test]
fn failed_logins_wait_longer_each_time_and_as_long_as_vault_asks() {
    let mut story = Story::begun();
    story.tell(Due);
    let mut fail = |failure| {
        story.tell(Reached);
        assert_eq!(story.tell(Failed(failure)), None);
        let (waited, step) = story.wake();
        assert_eq!(step, Some(Step::Reach));
        waited.as_millis()
    };
    let waits = [(); 8].map(|()| fail(Failure::Transient(None)));
    assert_eq!(waits, [250, 500, 1000, 2000, 4000, 4500, 4500, 4500]);
    let asked = Duration::from_secs(30);
    assert_eq!(fail(Failure::Transient(Some(asked))), 30_000);
    assert_eq!(fail(Failure::Refused), 4500);
    assert_eq!(fail(Failure::Away), 850);
}

#[test]
fn counted_refusals_are_left_alone_until_something_changes() {
    let mut story = Story::begun();
    story.tell(Due);
    story.tell(Reached);
    assert_eq!(story.tell(Failed(Failure::Counted)), None);
    let until = story.machine.suspended_until().expect("it is quiet");
    assert_eq!(until - story.now, HOUR / 2);
    for event in [Wanted, Due, Died] {
        assert_eq!(story.tell(event), None, "{event:?}");
    }
    // An actor that is started again goes on with it.
    let again = Machine::start(None, Some(until), story.now, MIDDLE);
    assert_eq!(again.suspended_until(), Some(until));
    assert_eq!(story.tell(TryAgain), Some(Step::Reach));
    assert_eq!(story.machine.suspended_until(), None);
}

#[test]
fn a_session_outlives_refused_credentials_and_its_end_is_no_reason_to_try_again() {
    let mut story = Story::active();
    story.wake();
    story.tell(Renewed(None));
    story.tell(Reached);
    story.tell(Failed(Failure::Counted));
    assert!(story.machine.has_session());
    assert_eq!(story.wake(), (HOUR.mul_f64(0.3), None));
    assert!(!story.machine.has_session());
    let (_, step) = story.wake();
    assert_eq!(step, Some(Step::Reach));
}

#[test]
fn a_dead_token_means_one_login_and_no_second_while_it_is_under_way() {
    let mut story = Story::active();
    assert_eq!(story.tell(Died), Some(Step::Reach));
    assert!(!story.machine.has_session());
    // Nor does the outcome of a step that is not under way count.
    for event in [Died, Due, Wanted, TryAgain, Renewed(None)] {
        assert_eq!(story.tell(event), None, "{event:?}");
    }
    assert_eq!(story.tell(Reached), Some(Step::Login));
    assert_eq!(story.tell(Died), None);
}

#[test]
fn a_denial_leads_to_another_login_after_15_seconds_then_30_then_a_minute() {
    let mut story = Story::active();
    for wait in [15, 30, 60] {
        assert_eq!(story.tell(Denied), None);
        story.now += Duration::from_secs(wait - 1);
        assert_eq!(story.tell(Denied), None);
        story.now += Duration::from_secs(1);
        assert_eq!(story.tell(Denied), Some(Step::Reach));
        assert!(story.machine.has_session());
        assert_eq!(story.tell(Denied), None);
        story.tell(Reached);
        story.tell(Granted(lease(3600, true)));
    }
}

#[test]
fn a_credential_that_does_not_wait_is_used_at_once_where_nothing_is_under_way() {
    let mut story = Story::active();
    assert_eq!(story.tell(News), Some(Step::Reach));
    assert!(story.machine.has_session());
    assert_eq!(story.tell(News), None);
    story.tell(Reached);
    story.tell(Failed(Failure::Counted));
    assert_eq!(story.tell(News), None);
}

#[test]
fn an_operator_changes_nothing_that_works() {
    let mut story = Story::active();
    let before = story.machine;
    assert_eq!(story.tell(TryAgain), None);
    assert_eq!(story.machine, before);
}

fn event() -> impl Strategy<Value = Event> {
    let lease = || (1_u64..10_000, any::<bool>()).prop_map(|(ttl, free)| lease(ttl, free));
    let failure = prop_oneof![
        Just(Failure::Away),
        Just(Failure::Transient(None)),
        (0_u64..1_000).prop_map(|s| Failure::Transient(Some(Duration::from_secs(s)))),
        Just(Failure::Refused),
        Just(Failure::Counted),
    ];
    prop_oneof![
        4 => Just(Due),
        1 => Just(Wanted),
        1 => Just(TryAgain),
        1 => Just(Denied),
        1 => Just(News),
        1 => Just(Died),
        2 => Just(Reached),
        1 => Just(Away),
        2 => lease().prop_map(Granted),
        2 => proptest::option::of(lease()).prop_map(Renewed),
        1 => failure.clone().prop_map(Failed),
        1 => failure.prop_map(NotRenewed),
    ]
}

proptest! {
    #[test]
    fn every_history_has_one_step_at_a_time_and_never_stands_still(
        events in proptest::collection::vec((event(), 0.0..1.0_f64, 0_u64..5_000), 1..200)
    ) {
        let mut now = Instant::now();
        let mut machine = Machine::start(None, None, now, MIDDLE);
        let mut under = None;
        for (event, random, seconds) in events {
            now += match event {
                // As the timer does: never before its time.
                Due => machine.wake().map_or(Duration::ZERO, |at| at.saturating_duration_since(now)),
                _ => Duration::from_secs(seconds),
            };
            if under.is_some() && event.ends() == under {
                under = None;
            }
            let quiet = machine.suspended_until().filter(|&until| until > now);
            let (next, step) = machine.after(event, now, random);
            machine = next;
            prop_assert_eq!(machine.busy(), step.or(under));
            if let Some(step) = step {
                let overtaken = event == Died && under == Some(Step::Renew);
                prop_assert!(under.is_none() || overtaken, "{step:?} beside {under:?}");
                prop_assert!(quiet.is_none() || event == TryAgain, "{step:?} though quiet");
                under = Some(step);
            }
            if event == Died {
                prop_assert!(!machine.has_session());
            }
            // Without a session something is under way or will be.
            prop_assert!(machine.has_session() || under.is_some() || machine.wake().is_some());
            if let Some(wake) = machine.wake() {
                prop_assert!(wake > now && wake <= now + HOUR * 3);
            }
        }
    }
}

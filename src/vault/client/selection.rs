//! Which endpoint a request is sent to: a function of what each of them answered, and when.
//!
//! An endpoint that cannot serve is never tried first while another one can.

use std::time::Duration;

use tokio::time::Instant;

/// How long an endpoint that let a call time out has the lowest priority. After that it is tried
/// before others that failed, but still after healthy ones.
const COOLDOWN: Duration = Duration::from_secs(30);

/// An endpoint that was silent so recently is not asked for a second opinion on an error: each call
/// with an error of its own would wait for it.
const RECENTLY: Duration = Duration::from_secs(5);

/// What an attempt showed of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Observation {
    /// It did what it was asked for.
    Served,
    /// Vault answered with an error that may concern the request alone.
    Answered,
    /// It refused the connection, broke it, or answered that it cannot serve.
    CannotServe,
    /// It did not answer: another attempt would cost time.
    Unresponsive,
}

/// The health of an endpoint, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    /// It served, or was not used yet.
    Healthy,
    /// It cannot serve.
    Failing(Instant),
    /// It did not answer.
    Unresponsive(Instant),
}

/// The health of all endpoints, and the one that is tried first.
#[derive(Debug)]
pub(super) struct Selection {
    endpoints: Vec<Health>,
    preferred: usize,
}

impl Selection {
    /// So many endpoints, of which nothing is known yet.
    pub(super) fn new(count: usize) -> Self {
        Self {
            endpoints: vec![Health::Healthy; count],
            preferred: 0,
        }
    }

    /// The endpoint that is tried first among healthy ones.
    pub(super) fn preferred(&self) -> usize {
        self.preferred
    }

    /// All endpoints by priority, which begins with the preferred one and other healthy ones.
    pub(super) fn order(&self, now: Instant) -> Vec<usize> {
        let count = self.endpoints.len();
        let mut order: Vec<_> = (0..count)
            .map(|step| (self.preferred + step) % count)
            .collect();
        order.sort_by_key(|&index| self.endpoints[index].priority(now));
        order
    }

    /// Whether it is not known to fail.
    pub(super) fn is_healthy(&self, index: usize) -> bool {
        self.endpoints[index] == Health::Healthy
    }

    /// Whether asking it would probably cost time: it was silent a moment ago.
    pub(super) fn was_just_silent(&self, index: usize, now: Instant) -> bool {
        matches!(self.endpoints[index], Health::Unresponsive(since) if now.duration_since(since) < RECENTLY)
    }

    /// Records what an attempt showed. Returns whether the endpoint was healthy until now and is
    /// not any more.
    pub(super) fn record(&mut self, index: usize, seen: Observation, now: Instant) -> bool {
        let before = self.endpoints[index];
        self.endpoints[index] = match (seen, before) {
            (Observation::Served, _) | (Observation::Answered, Health::Unresponsive(_)) => {
                Health::Healthy
            }
            // Its answer may be an error because it cannot serve.
            (Observation::Answered, _) => before,
            (Observation::CannotServe, _) => Health::Failing(now),
            (Observation::Unresponsive, _) => Health::Unresponsive(now),
        };
        if !self.is_healthy(self.preferred) {
            if seen == Observation::Served {
                self.preferred = index;
            } else if let Some(&first) = self.order(now).first()
                && self.is_healthy(first)
            {
                self.preferred = first;
            }
        }
        before == Health::Healthy && !self.is_healthy(index)
    }

    /// Prefers `to` if `from` was preferred.
    pub(super) fn prefer(&mut self, from: usize, to: usize) {
        if self.preferred == from {
            self.preferred = to;
        }
    }
}

impl Health {
    /// Endpoints with a lower value are tried first; among equals the one that failed longest ago.
    fn priority(self, now: Instant) -> (u8, Option<Instant>) {
        match self {
            Self::Healthy => (0, None),
            Self::Unresponsive(since) if now.duration_since(since) < COOLDOWN => (2, Some(since)),
            Self::Failing(since) | Self::Unresponsive(since) => (1, Some(since)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Observation::{Answered, CannotServe, Served, Unresponsive};
    use super::*;

    #[test]
    fn healthy_endpoints_come_first_and_recently_unresponsive_ones_last() {
        let now = Instant::now() + Duration::from_secs(100);
        let mut selection = Selection::new(5);
        let seen = [
            (0, Unresponsive, 10),
            (1, CannotServe, 5),
            (3, Unresponsive, 40),
            (4, CannotServe, 20),
        ];
        for (index, seen, seconds) in seen {
            selection.record(index, seen, now - Duration::from_secs(seconds));
        }
        assert_eq!(selection.order(now), [2, 3, 4, 1, 0]);
        assert_eq!(selection.preferred(), 2);
    }

    #[test]
    fn an_error_of_its_own_does_not_make_a_failing_endpoint_healthy() {
        let now = Instant::now();
        let mut selection = Selection::new(2);
        assert!(selection.record(0, CannotServe, now));
        assert!(!selection.record(0, CannotServe, now));
        selection.record(0, Answered, now);
        assert_eq!(selection.order(now), [1, 0]);
        selection.record(0, Served, now);
        // The one that worked meanwhile stays preferred.
        assert_eq!(selection.order(now), [1, 0]);
    }

    /// One call: each endpoint at most once, until one serves. Returns those that were asked.
    fn call(selection: &mut Selection, world: &[Observation], now: Instant) -> Vec<usize> {
        let mut asked = Vec::new();
        for index in selection.order(now) {
            if asked.iter().any(|&one: &usize| world[one] == Answered)
                && selection.was_just_silent(index, now)
            {
                continue;
            }
            asked.push(index);
            let seen = world[index];
            selection.record(index, seen, now);
            if seen == Served {
                // Another one did what they answered with an error.
                for &one in &asked {
                    if world[one] == Answered {
                        selection.record(one, CannotServe, now);
                    }
                }
                break;
            }
        }
        asked
    }

    fn world() -> impl Strategy<Value = Vec<Observation>> {
        let state = prop_oneof![
            Just(Served),
            Just(Answered),
            Just(CannotServe),
            Just(Unresponsive)
        ];
        proptest::collection::vec(state, 4)
    }

    proptest! {
        #[test]
        fn a_call_reaches_an_endpoint_that_can_serve_within_one_attempt_per_endpoint(
            count in 1_usize..=4,
            history in proptest::collection::vec((world(), 0_u64..60), 1..40),
        ) {
            let mut now = Instant::now();
            let mut selection = Selection::new(count);
            let mut silent = vec![None::<Instant>; count];
            for (world, seconds) in history {
                now += Duration::from_secs(seconds);
                let world = &world[..count];
                let asked = call(&mut selection, world, now);
                let able: Vec<_> = (0..count).filter(|&one| world[one] == Served).collect();
                let found = asked.last().copied().filter(|last| able.contains(last));
                let is_reachable = able.iter().any(|&one| {
                    silent[one].is_none_or(|since| now.duration_since(since) >= RECENTLY)
                });
                prop_assert!(asked.len() <= count);
                prop_assert!(found.is_some() || !is_reachable, "{asked:?} of {world:?}");
                if let Some(found) = found {
                    // From now on it comes first, however much time passes.
                    for later in [0, 5, 29, 31, 3600] {
                        let order = selection.order(now + Duration::from_secs(later));
                        prop_assert!(able.contains(&order[0]), "{order:?}, {found} can serve");
                    }
                }
                for one in asked {
                    silent[one] = (world[one] == Unresponsive).then_some(now);
                }
            }
        }
    }
}

//! The calls of the last minutes, for `status`: a counter covers all time, a person asks about now.

use std::time::Duration;

/// How many minutes it covers.
const MINUTES: u64 = 5;

/// A count for each of the last minutes.
#[derive(Debug, Default)]
pub struct Recent {
    slots: [Slot; MINUTES as usize],
}

/// The calls of some minutes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecentCalls {
    /// All calls.
    pub calls: u64,
    /// Those with another code than OK.
    pub failed: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// Minutes since the start.
    minute: u64,
    minutes: RecentCalls,
}

impl RecentCalls {
    /// How many minutes these cover.
    pub const COUNT: u64 = MINUTES;
}

impl Recent {
    /// Records a call that ended at this time since the start.
    pub fn record(&mut self, now: Duration, is_ok: bool) {
        let minute = minute_of(now);
        let Some(slot) = self.slots.get_mut((minute % MINUTES) as usize) else {
            return;
        };
        if slot.minute != minute {
            *slot = Slot {
                minute,
                ..Slot::default()
            };
        }
        slot.minutes.calls += 1;
        slot.minutes.failed += u64::from(!is_ok);
    }

    /// The calls of this minute and those before it.
    #[must_use]
    pub fn minutes(&self, now: Duration) -> RecentCalls {
        let minute = minute_of(now);
        let recent = self.slots.iter().filter(|it| it.minute + MINUTES > minute);
        recent.fold(RecentCalls::default(), |sum, slot| RecentCalls {
            calls: sum.calls + slot.minutes.calls,
            failed: sum.failed + slot.minutes.failed,
        })
    }
}

fn minute_of(time: Duration) -> u64 {
    time.as_secs() / 60
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_before_the_last_minutes_do_not_count() {
        let at = Duration::from_secs;
        let mut recent = Recent::default();
        recent.record(at(10), true);
        recent.record(at(70), false);
        assert_eq!(
            recent.minutes(at(290)),
            RecentCalls {
                calls: 2,
                failed: 1
            }
        );
        assert_eq!(
            recent.minutes(at(301)),
            RecentCalls {
                calls: 1,
                failed: 1
            }
        );
        recent.record(at(310), true);
        assert_eq!(
            recent.minutes(at(311)),
            RecentCalls {
                calls: 2,
                failed: 1
            }
        );
        assert_eq!(recent.minutes(at(10_000)), RecentCalls::default());
    }
}

//! Calls of the last minutes, for `status`: a counter tells of all time, a person asks about now.

use std::time::Duration;

/// How far back it goes.
const MINUTES: u64 = 5;

/// A count for each of the last minutes.
#[derive(Debug, Default)]
pub struct Recent {
    slots: [Slot; MINUTES as usize],
}

/// What some minutes brought.
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
    /// How many minutes these are at most.
    pub const COUNT: u64 = MINUTES;
}

impl Recent {
    /// A call ended so long after the start.
    pub fn note(&mut self, now: Duration, well: bool) {
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
        slot.minutes.failed += u64::from(!well);
    }

    /// What this minute and those before it brought.
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
    fn what_is_older_than_the_last_minutes_is_forgotten() {
        let at = Duration::from_secs;
        let mut recent = Recent::default();
        recent.note(at(10), true);
        recent.note(at(70), false);
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
        recent.note(at(310), true);
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

//! News or lag: what a look at the key means beside what was proven before.

use std::time::Duration;

use tokio::time::Instant;

use crate::vault::KeyMoment;

/// How long an earlier moment has to be all that is heard before it is believed: longer than any
/// standby lags, so what remains is a restored snapshot.
const BELIEVE_EARLIER_AFTER: Duration = Duration::from_secs(60);

/// What a look says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// What was proven before.
    Same,
    /// A rotation, or a key made anew (even with a lower number).
    News,
    /// Older than what was proven: a standby that lags, or a restored snapshot.
    Earlier,
}

/// Since when nothing but an earlier moment was heard.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Lag {
    since: Option<(KeyMoment, Instant)>,
}

/// Compares what was seen with what was proven.
pub(super) fn read(proven: Option<KeyMoment>, seen: KeyMoment) -> Reading {
    match proven {
        Some(proven) if seen == proven => Reading::Same,
        Some(proven) if seen < proven => Reading::Earlier,
        _ => Reading::News,
    }
}

impl Lag {
    /// Notes what a look said; `true` once an earlier moment has to be believed.
    pub(super) fn note(&mut self, reading: Reading, seen: KeyMoment, now: Instant) -> bool {
        if reading != Reading::Earlier {
            self.since = None;
            return false;
        }
        let since = match self.since {
            Some((moment, since)) if moment == seen => since,
            _ => now,
        };
        self.since = Some((seen, since));
        now.duration_since(since) >= BELIEVE_EARLIER_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::KeyVersion;

    fn moment(created: i64, version: u32) -> KeyMoment {
        KeyMoment {
            created,
            version: KeyVersion::try_new(version).expect("version"),
        }
    }

    #[test]
    fn later_is_news_even_with_a_lower_number() {
        let proven = Some(moment(100, 5));
        assert_eq!(read(proven, moment(100, 5)), Reading::Same);
        assert_eq!(read(proven, moment(100, 6)), Reading::News);
        assert_eq!(read(proven, moment(200, 1)), Reading::News);
        assert_eq!(read(proven, moment(90, 9)), Reading::Earlier);
        assert_eq!(read(proven, moment(100, 4)), Reading::Earlier);
        assert_eq!(read(None, moment(1, 1)), Reading::News);
    }

    #[test]
    fn earlier_is_believed_after_a_minute_without_contradiction() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let old = moment(90, 1);
        let mut lag = Lag::default();
        assert!(!lag.note(Reading::Earlier, old, at(0)));
        assert!(!lag.note(Reading::Earlier, old, at(59)));
        assert!(lag.note(Reading::Earlier, old, at(60)));
    }

    #[test]
    fn one_contrary_answer_starts_the_minute_anew() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let (old, older) = (moment(90, 1), moment(80, 1));
        let mut lag = Lag::default();
        assert!(!lag.note(Reading::Earlier, old, at(0)));
        assert!(!lag.note(Reading::Same, moment(100, 2), at(30)));
        assert!(!lag.note(Reading::Earlier, old, at(61)));
        assert!(!lag.note(Reading::Earlier, older, at(100)));
        assert!(!lag.note(Reading::Earlier, old, at(121)));
    }
}

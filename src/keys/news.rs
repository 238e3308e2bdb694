//! News or lag: what a look at the key means beside what was proven before.

use std::time::Duration;

use tokio::time::Instant;

use crate::vault::{KeyVersion, VersionStamp};

/// How long an earlier stamp has to be all that is heard before it is believed: longer than any
/// standby lags, so what remains is a restored snapshot.
const BELIEVE_EARLIER_AFTER: Duration = Duration::from_secs(60);

/// What a look says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// What was proven before.
    Same,
    /// A rotation, or a key recreated (even with a lower number).
    News,
    /// Older than what was proven: a standby that lags, or a restored snapshot.
    Earlier,
}

/// Since when nothing but an earlier stamp was heard.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Lag {
    since: Option<(VersionStamp, Instant)>,
}

/// Compares what was seen with what was proven.
pub(super) fn read(proven: Option<VersionStamp>, seen: VersionStamp) -> Reading {
    match proven {
        Some(proven) if seen == proven => Reading::Same,
        Some(proven) if seen < proven => Reading::Earlier,
        _ => Reading::News,
    }
}

impl Lag {
    /// Notes what a look said.
    pub(super) fn note(&mut self, reading: Reading, seen: VersionStamp, now: Instant) {
        self.since = match (reading, self.since) {
            (Reading::Earlier, Some((stamp, since))) if stamp == seen => Some((stamp, since)),
            (Reading::Earlier, _) => Some((seen, now)),
            _ => None,
        };
    }

    /// Notes that the proven key decrypted its canary: whoever spoke of an earlier one lags.
    pub(super) fn disproved(&mut self) {
        self.since = None;
    }

    /// Notes that a version encrypted. That disproves a stamp only where the number was not there
    /// yet: an earlier key of the same name may have had one of its own.
    pub(super) fn encrypted(&mut self, version: KeyVersion) {
        self.since = self.since.filter(|(stamp, _)| stamp.version >= version);
    }

    /// How long until an earlier stamp has to be believed, if one is heard.
    pub(super) fn belief_in(&self, now: Instant) -> Option<Duration> {
        let (_, since) = self.since?;
        Some(BELIEVE_EARLIER_AFTER.saturating_sub(now.duration_since(since)))
    }

    /// The earlier stamp that has to be believed by now.
    pub(super) fn believed(&self, now: Instant) -> Option<VersionStamp> {
        let due = self.belief_in(now)?.is_zero();
        self.since.filter(|_| due).map(|(stamp, _)| stamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::KeyVersion;

    fn stamp(created: i64, version: u32) -> VersionStamp {
        VersionStamp {
            created,
            version: KeyVersion::try_new(version).expect("version"),
        }
    }

    #[test]
    fn later_is_news_even_with_a_lower_number() {
        let proven = Some(stamp(100, 5));
        assert_eq!(read(proven, stamp(100, 5)), Reading::Same);
        assert_eq!(read(proven, stamp(100, 6)), Reading::News);
        assert_eq!(read(proven, stamp(200, 1)), Reading::News);
        assert_eq!(read(proven, stamp(90, 9)), Reading::Earlier);
        assert_eq!(read(proven, stamp(100, 4)), Reading::Earlier);
        assert_eq!(read(None, stamp(1, 1)), Reading::News);
    }

    const START: u64 = 1_000;

    /// Hears these moments at these seconds, where a version 2 of second 100 was proven.
    fn heard(looks: &[(u64, VersionStamp)]) -> (Lag, impl Fn(u64) -> Instant + use<>) {
        let start = Instant::now();
        let at = move |seconds| start + Duration::from_secs(START + seconds);
        let mut lag = Lag::default();
        for (second, seen) in looks {
            let reading = read(Some(stamp(100, 2)), *seen);
            lag.note(reading, *seen, at(*second));
        }
        (lag, at)
    }

    #[test]
    fn earlier_is_believed_after_a_minute_without_contradiction() {
        let (lag, at) = heard(&[(0, stamp(90, 1)), (30, stamp(90, 1))]);
        assert_eq!(lag.believed(at(59)), None);
        assert_eq!(lag.belief_in(at(59)), Some(Duration::from_secs(1)));
        assert_eq!(lag.believed(at(60)), Some(stamp(90, 1)));
    }

    #[test]
    fn one_contrary_answer_starts_the_minute_again() {
        let (old, older) = (stamp(90, 1), stamp(80, 1));
        let (lag, at) = heard(&[(0, old), (30, stamp(100, 2)), (61, old)]);
        assert_eq!(lag.belief_in(at(61)), Some(Duration::from_secs(60)));
        let (lag, at) = heard(&[(0, old), (30, stamp(200, 1))]);
        assert_eq!(lag.belief_in(at(61)), None);
        let (lag, at) = heard(&[(0, old), (50, older)]);
        assert_eq!(lag.believed(at(109)), None);
        assert_eq!(lag.believed(at(110)), Some(older));
    }

    #[test]
    fn what_the_proven_version_does_disproves_the_lag() {
        let version = |number| KeyVersion::try_new(number).expect("version");
        let (mut lag, at) = heard(&[(0, stamp(90, 1))]);
        lag.encrypted(version(1));
        assert!(lag.believed(at(60)).is_some());
        lag.encrypted(version(2));
        assert_eq!(lag.believed(at(60)), None);
        // An older key of that name, back from a backup, has its own version 2.
        let (mut lag, at) = heard(&[(0, stamp(50, 2))]);
        lag.encrypted(version(2));
        assert_eq!(lag.believed(at(60)), Some(stamp(50, 2)));
        lag.disproved();
        assert_eq!(lag.believed(at(60)), None);
    }
}

//! How a version that Vault reports relates to the proven one.

use std::cmp::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::vault::{KeyVersion, VersionStamp};

/// How long an older version has to be all that is reported before it is believed: longer than any
/// standby lags, so what remains is a restored snapshot.
const BELIEVE_OLDER_AFTER: Duration = Duration::from_secs(60);

/// What a report of the latest version means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// It is the proven version.
    Unchanged,
    /// A rotation, or a key that was recreated and rotated: whether the old canary still decrypts tells which.
    /// Versions count up whatever Vault's clock says, so a greater one is newer even with an
    /// earlier creation time.
    Newer,
    /// A standby that lags, a restored snapshot, or a key that was recreated. A smaller version is older even
    /// with a later creation time: Vault's clock may have gone back between the two. No rotation makes the same
    /// version with another creation time.
    Older,
}

impl Freshness {
    /// Compares what was seen with what was proven.
    pub(super) fn of(proven: VersionStamp, seen: VersionStamp) -> Self {
        match seen.version.cmp(&proven.version) {
            Ordering::Equal if seen.created == proven.created => Self::Unchanged,
            Ordering::Greater => Self::Newer,
            Ordering::Less | Ordering::Equal => Self::Older,
        }
    }
}

/// Since when nothing but an older version was reported.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct StaleReads(Option<(VersionStamp, Instant)>);

impl StaleReads {
    /// Notes a report.
    pub(super) fn note(&mut self, freshness: Freshness, seen: VersionStamp, now: Instant) {
        self.0 = match (freshness, self.0) {
            (Freshness::Older, Some((stamp, since))) if stamp == seen => Some((stamp, since)),
            (Freshness::Older, _) => Some((seen, now)),
            _ => None,
        };
    }

    /// Forgets the older version: the proven one works, so whoever reported the older one lags.
    pub(super) fn disprove(&mut self) {
        self.0 = None;
    }

    /// Notes that a version encrypted at that time. This disproves an older version only where the
    /// number did not exist yet: an earlier key of the same name may have one of its own.
    pub(super) fn note_encrypted(&mut self, version: KeyVersion, at: Instant) {
        self.0 = self
            .0
            .filter(|(stamp, since)| stamp.version >= version || at < *since);
    }

    /// How long until an older version has to be believed, if one is reported.
    pub(super) fn believed_in(&self, now: Instant) -> Option<Duration> {
        let (_, since) = self.0?;
        Some(BELIEVE_OLDER_AFTER.saturating_sub(now.duration_since(since)))
    }

    /// The older version and since when it is all that was reported.
    #[cfg(all(test, feature = "kmsctl"))]
    pub(super) fn since(&mut self) -> Option<&mut (VersionStamp, Instant)> {
        self.0.as_mut()
    }

    /// Whether this older version has to be believed by now.
    pub(super) fn is_believed(&self, seen: VersionStamp, now: Instant) -> bool {
        let due = self.believed_in(now).is_some_and(|wait| wait.is_zero());
        due && self.0.is_some_and(|(stamp, _)| stamp == seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::tests::{stamp, version};

    #[test]
    fn versions_are_compared_before_creation_times() {
        let proven = stamp(100, 5);
        let table = [
            (stamp(100, 5), Freshness::Unchanged),
            (stamp(100, 6), Freshness::Newer),
            // Vault's clock was ahead when version 5 was created.
            (stamp(90, 6), Freshness::Newer),
            (stamp(90, 9), Freshness::Newer),
            // Deleted and recreated.
            (stamp(200, 5), Freshness::Older),
            // The same with fewer versions; or Vault's clock went back before version 5, and a standby lags.
            (stamp(200, 1), Freshness::Older),
            (stamp(100, 4), Freshness::Older),
            (stamp(90, 4), Freshness::Older),
            (stamp(90, 5), Freshness::Older),
        ];
        for (seen, freshness) in table {
            assert_eq!(Freshness::of(proven, seen), freshness, "{seen:?}");
        }
    }

    const START: u64 = 1_000;

    /// Sees these versions at these seconds, where version 2 of second 100 was proven.
    fn seen(reads: &[(u64, VersionStamp)]) -> (StaleReads, impl Fn(u64) -> Instant + use<>) {
        let start = Instant::now();
        let at = move |seconds| start + Duration::from_secs(START + seconds);
        let mut stale = StaleReads::default();
        for (second, seen) in reads {
            let freshness = Freshness::of(stamp(100, 2), *seen);
            stale.note(freshness, *seen, at(*second));
        }
        (stale, at)
    }

    #[test]
    fn an_older_version_is_believed_after_a_minute_without_contradiction() {
        let (stale, at) = seen(&[(0, stamp(90, 1)), (30, stamp(90, 1))]);
        assert!(!stale.is_believed(stamp(90, 1), at(59)));
        assert_eq!(stale.believed_in(at(59)), Some(Duration::from_secs(1)));
        assert!(stale.is_believed(stamp(90, 1), at(60)));
        assert!(!stale.is_believed(stamp(80, 1), at(60)));
    }

    #[test]
    fn one_contrary_answer_starts_the_minute_again() {
        let (old, older) = (stamp(90, 1), stamp(80, 1));
        let (stale, at) = seen(&[(0, old), (30, stamp(100, 2)), (61, old)]);
        assert_eq!(stale.believed_in(at(61)), Some(Duration::from_secs(60)));
        let (stale, at) = seen(&[(0, old), (30, stamp(200, 3))]);
        assert_eq!(stale.believed_in(at(61)), None);
        let (stale, at) = seen(&[(0, old), (50, older)]);
        assert!(!stale.is_believed(older, at(109)));
        assert!(stale.is_believed(older, at(110)));
    }

    #[test]
    fn what_the_proven_version_does_disproves_the_older_one() {
        let (mut stale, at) = seen(&[(0, stamp(90, 1))]);
        stale.note_encrypted(version(1), at(1));
        assert!(stale.is_believed(stamp(90, 1), at(60)));
        let mut earlier = stale;
        earlier.note_encrypted(
            version(2),
            at(0).checked_sub(Duration::from_secs(1)).expect("a time"),
        );
        assert!(earlier.is_believed(stamp(90, 1), at(60)));
        stale.note_encrypted(version(2), at(1));
        assert!(!stale.is_believed(stamp(90, 1), at(60)));
        // An older key of that name, restored from a backup, has its own version 2.
        let (mut stale, at) = seen(&[(0, stamp(50, 2))]);
        stale.note_encrypted(version(2), at(1));
        assert!(stale.is_believed(stamp(50, 2), at(60)));
        stale.disprove();
        assert!(!stale.is_believed(stamp(50, 2), at(60)));
    }
}

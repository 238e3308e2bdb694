//! What is remembered of a node that failed, so that calls go to another one first.

use std::time::Duration;

use tokio::time::Instant;

/// How long a node that cost a call its time comes after all others. Then it is worth a try again,
/// but still only where nothing works.
const SHUNNED: Duration = Duration::from_secs(30);

/// How a node did the last time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// It answered, or was not asked yet.
    Works,
    /// It refused the connection, broke it, or answered that it cannot serve.
    Ailing(Instant),
    /// It said nothing: trying it again costs time.
    Hung(Instant),
}

impl Mark {
    pub(super) fn is_none(self) -> bool {
        self == Self::Works
    }

    /// Nodes with a lower rank are asked first.
    pub(super) fn rank(self, now: Instant) -> (u8, Option<Instant>) {
        match self {
            Self::Works => (0, None),
            Self::Hung(since) if now.duration_since(since) < SHUNNED => (2, Some(since)),
            Self::Ailing(since) | Self::Hung(since) => (1, Some(since)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_works_comes_first_and_what_hung_a_moment_ago_last() {
        let now = Instant::now() + Duration::from_secs(100);
        let ago = |seconds| now - Duration::from_secs(seconds);
        let mut marks = [
            Mark::Hung(ago(10)),
            Mark::Ailing(ago(5)),
            Mark::Works,
            Mark::Hung(ago(40)),
            Mark::Ailing(ago(20)),
        ];
        marks.sort_by_key(|mark| mark.rank(now));
        let expected = [
            Mark::Works,
            Mark::Hung(ago(40)),
            Mark::Ailing(ago(20)),
            Mark::Ailing(ago(5)),
            Mark::Hung(ago(10)),
        ];
        assert_eq!(marks, expected);
    }
}

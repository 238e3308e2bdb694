//! Ages that count the time in which the host was suspended, and wall-clock times for people and
//! monitoring.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// A moment whose age is the real one: `Instant` does not count the time in which the host, or the virtual
/// machine, was suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    at: Instant,
    /// How long the host had been suspended by then, since it booted.
    suspended: Duration,
}

impl Moment {
    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        Self {
            at: Instant::now(),
            suspended: suspended(),
        }
    }

    /// So long ago; now if the clock does not reach back that far.
    #[must_use]
    pub fn ago(age: Duration) -> Self {
        let now = Self::now();
        Self {
            at: now.at.checked_sub(age).unwrap_or(now.at),
            ..now
        }
    }

    /// How long ago it was.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.age(suspended())
    }

    fn age(&self, suspended: Duration) -> Duration {
        self.at.elapsed() + suspended.saturating_sub(self.suspended)
    }

    /// The wall-clock time of what was set at this moment to happen at `end`, by a clock that runs on while
    /// this host is suspended, such as a server's.
    #[must_use]
    pub fn wall_time_of(&self, end: Instant) -> Option<Timestamp> {
        self.wall_time_after(end, suspended())
    }

    fn wall_time_after(&self, end: Instant, suspended: Duration) -> Option<Timestamp> {
        let since = suspended.saturating_sub(self.suspended);
        wall_time(end.checked_sub(since).unwrap_or(self.at))
    }

    /// Its wall-clock time, as [`wall_time`].
    #[must_use]
    pub fn wall_time(&self) -> Option<Timestamp> {
        let now = Instant::now();
        wall_time(now.checked_sub(self.elapsed()).unwrap_or(self.at))
    }
}

/// The wall-clock time.
#[must_use]
pub fn now() -> SystemTime {
    #[cfg(test)]
    if let Some(outside) = super::simulated::outside() {
        return outside.wall_time();
    }
    SystemTime::now()
}

/// How long the host was suspended since it booted. In whole milliseconds: the two clocks are not read at
/// the same instant.
fn suspended() -> Duration {
    #[cfg(test)]
    if super::simulated::outside().is_some() {
        return Duration::ZERO;
    }
    let running = of_clock(ClockId::Monotonic);
    let suspended = of_clock(ClockId::Boottime).saturating_sub(running);
    Duration::from_millis(u64::try_from(suspended.as_millis()).unwrap_or(u64::MAX))
}

fn of_clock(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// How long this host has been up, with the time in which it was suspended.
#[must_use]
pub fn since_boot() -> Duration {
    of_clock(ClockId::Boottime)
}

/// The wall-clock time of a moment on the steady clock, in whole seconds. Returns `None` if it is
/// outside of what a [`Timestamp`] can hold.
#[must_use]
pub fn wall_time(moment: Instant) -> Option<Timestamp> {
    let now = Instant::now();
    let wall = self::now();
    let time = match moment.checked_duration_since(now) {
        Some(ahead) => wall.checked_add(ahead),
        None => wall.checked_sub(now.saturating_duration_since(moment)),
    };
    let time = Timestamp::try_from(time?).ok()?;
    time.round(jiff::Unit::Second).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_time_of_a_suspension_counts() {
        let moment = Moment::now();
        tokio::time::advance(Duration::from_secs(3)).await;
        let suspended = moment.suspended + Duration::from_secs(3600);
        assert_eq!(moment.age(suspended), Duration::from_secs(3603));
        assert_eq!(moment.age(moment.suspended), Duration::from_secs(3));
        let before = moment.suspended.saturating_sub(Duration::from_secs(1));
        assert_eq!(moment.age(before), Duration::from_secs(3));
    }

    #[test]
    fn an_end_that_a_server_counts_comes_nearer_during_a_suspension() {
        let moment = Moment::now();
        let end = Instant::now() + Duration::from_secs(3600);
        let at = |suspended| moment.wall_time_after(end, suspended).expect("a time");
        let awake = at(moment.suspended);
        let woken = at(moment.suspended + Duration::from_secs(1800));
        let nearer = awake.as_second() - woken.as_second();
        assert!((1799..=1801).contains(&nearer), "{nearer}");
    }

    #[test]
    fn an_age_is_that_of_the_moment() {
        let age = Moment::ago(Duration::from_secs(1)).elapsed();
        assert!(age >= Duration::from_secs(1) && age < Duration::from_secs(60));
    }
}

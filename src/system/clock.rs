//! Wall-clock times for people and monitoring.

use std::time::SystemTime;

use jiff::Timestamp;
use tokio::time::Instant;

/// The wall-clock time of a moment on the steady clock, in whole seconds. Returns `None` if it is
/// outside of what a [`Timestamp`] can hold.
#[must_use]
pub fn wall_time(moment: Instant) -> Option<Timestamp> {
    let now = Instant::now();
    let wall = SystemTime::now();
    let time = match moment.checked_duration_since(now) {
        Some(ahead) => wall.checked_add(ahead),
        None => wall.checked_sub(now.saturating_duration_since(moment)),
    };
    let time = Timestamp::try_from(time?).ok()?;
    time.round(jiff::Unit::Second).ok()
}

//! Durations and lists as text.

use std::time::Duration;

/// `3 days`: rounded to the largest unit of which there are at least two.
pub(super) fn rounded(time: Duration) -> String {
    const UNITS: [(u64, &str); 3] = [(86_400, "days"), (3600, "hours"), (60, "minutes")];
    let seconds = time.as_secs();
    let unit = UNITS
        .iter()
        .find(|(length, _)| seconds.saturating_add(length / 2) >= 2 * length);
    match unit {
        Some((length, name)) => {
            format!("{} {name}", seconds.saturating_add(length / 2) / length)
        }
        None => format!("{seconds} s"),
    }
}

/// `a`, `a and b`, `a, b and c`
pub(super) fn listed(items: &[String]) -> String {
    match items {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [others @ .., last] => format!("{} and {last}", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_to_the_largest_useful_unit() {
        let text = |seconds| rounded(Duration::from_secs(seconds));
        assert_eq!(text(3599), "60 minutes");
        assert_eq!(text(7200), "2 hours");
        assert_eq!(text(86_400 * 32), "32 days");
        assert_eq!(text(45), "45 s");
        assert_eq!(text(u64::MAX), "213503982334601 days");
    }
}

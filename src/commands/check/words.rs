//! Numbers as an operator says them.

use std::time::Duration;

/// `3 days`: rounded to the largest unit of which there are two at least.
pub(super) fn about(time: Duration) -> String {
    const UNITS: [(u64, &str); 3] = [(86_400, "days"), (3600, "hours"), (60, "minutes")];
    let seconds = time.as_secs();
    let unit = UNITS
        .iter()
        .find(|(length, _)| seconds + length / 2 >= 2 * length);
    match unit {
        Some((length, name)) => format!("{} {name}", (seconds + length / 2) / length),
        None => format!("{seconds} s"),
    }
}

/// `a`, `a and b`, `a, b and c`
pub(super) fn listed(words: &[String]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [before @ .., last] => format!("{} and {last}", before.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_to_what_matters() {
        let said = |seconds| about(Duration::from_secs(seconds));
        assert_eq!(said(3599), "60 minutes");
        assert_eq!(said(7200), "2 hours");
        assert_eq!(said(86_400 * 32), "32 days");
        assert_eq!(said(45), "45 s");
    }
}

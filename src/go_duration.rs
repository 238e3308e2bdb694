//! Durations as Go writes them.

use std::time::Duration;

/// The longest duration, in nanoseconds: Go counts in a signed number.
const LONGEST: u64 = i64::MAX as u64;

/// Parses `1m30s`, `2.5s`, `500ms`, as Go's `ParseDuration` does, but nothing negative.
pub(crate) fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut nanoseconds: u64 = 0;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(unit_at);
        let next = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(next);
        nanoseconds = nanoseconds.checked_add(scaled(number, nanoseconds_of(unit)?)?)?;
        rest = after;
    }
    let is_go_s = nanoseconds <= LONGEST && !text.is_empty() && text != "+";
    is_go_s.then(|| Duration::from_nanos(nanoseconds))
}

fn nanoseconds_of(unit: &str) -> Option<u64> {
    Some(match unit {
        "h" => 3_600_000_000_000,
        "m" => 60_000_000_000,
        "s" => 1_000_000_000,
        "ms" => 1_000_000,
        // With the micro sign and with the Greek letter.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1000,
        "ns" => 1,
        _ => return None,
    })
}

/// The number times the unit. What follows its point is computed in floating point, as Go does.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && part.is_empty()) || part.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let (mut fraction, mut scale) = (0_u64, 1_f64);
    for digit in part.bytes() {
        // Digits after those that a signed number can hold do not count.
        if fraction > LONGEST / 10 {
            break;
        }
        let longer = fraction * 10 + u64::from(digit - b'0');
        if longer > LONGEST + 1 {
            break;
        }
        (fraction, scale) = (longer, scale * 10.0);
    }
    let part = (fraction as f64 * (unit as f64 / scale)) as u64;
    whole.checked_mul(unit)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_parsed_as_go_writes_them() {
        assert_eq!(go_duration("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(go_duration("2.5s"), Some(Duration::from_millis(2500)));
        assert_eq!(go_duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(go_duration("+.5s"), Some(Duration::from_millis(500)));
        assert_eq!(go_duration("1.s"), Some(Duration::from_secs(1)));
        assert_eq!(go_duration("0.1ns"), Some(Duration::ZERO));
        // What follows a point, as Go's own arithmetic gives it.
        for (text, nanoseconds) in [
            ("0.0000000000012h", 4),
            ("0.00000000019m", 11),
            ("0.3333333333333333333h", 1_200_000_000_000),
            ("9007199254.740993ms", 9_007_199_254_740_993),
            ("35h47977.07594321625809800282009h", 172_843_473_395_578_529),
        ] {
            assert_eq!(
                go_duration(text),
                Some(Duration::from_nanos(nanoseconds)),
                "{text}"
            );
        }
        for wrong in [
            "", "3", "-3s", "3 s", "s", "3x", ".s", "1.2.3s", "+", "9999999h",
        ] {
            assert_eq!(go_duration(wrong), None, "{wrong:?}");
        }
    }
}

//! Any text as a duration of Go, compared with a second reading that has nothing in common with the first: its form by
//! an automaton, its length by exact arithmetic.

use std::time::Duration;

/// How much Go's own arithmetic, which is in floating point, may differ from the exact one, in nanoseconds for each
/// number of the text.
const ROUNDING: u128 = 1;

/// The longest that Go counts to, in nanoseconds.
const LONGEST: u128 = i64::MAX as u128;

/// Any bytes as the text.
///
/// # Panics
/// If the readings differ.
pub fn go_duration(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let found = crate::go_duration::go_duration(text);
    let Some(numbers) = numbers(text) else {
        assert_eq!(found, None, "{text:?}");
        return;
    };
    let exact = numbers.iter().try_fold(0_u128, |sum, (number, unit)| {
        sum.checked_add(exact(number, *unit)?)
    });
    let rounding = ROUNDING * numbers.len() as u128;
    match (found, exact) {
        (Some(found), Some(exact)) => {
            let found = found.as_nanos();
            assert!(
                found <= LONGEST && found.abs_diff(exact) <= rounding,
                "{text:?}"
            );
            // Written as Go does, it is the same.
            let again = crate::go_duration::go_duration(&format!("{found}ns"));
            assert_eq!(again.map(|again| again.as_nanos()), Some(found));
        }
        (None, Some(exact)) => assert!(exact + rounding > LONGEST, "{text:?}"),
        (Some(_), None) => panic!("{text:?} is too long"),
        (None, None) => {}
    }
}

/// Where in a number the automaton is.
enum At {
    /// Before a number.
    Start,
    /// In its digits; whether there was one, and a point.
    Number { digits: usize, point: bool },
    /// In its unit.
    Unit,
}

/// The numbers of a text that has the form `[+]?([0-9]*(\.[0-9]*)?[a-zµμ]+)+`, with their units in nanoseconds.
fn numbers(text: &str) -> Option<Vec<(&str, u64)>> {
    let text = match text.as_bytes().first()? {
        b'+' => &text[1..],
        _ => text,
    };
    if text == "0" {
        return Some(Vec::new());
    }
    let (mut numbers, mut at, mut number_from, mut unit_from) = (Vec::new(), At::Start, 0, 0);
    for (index, byte) in text.bytes().enumerate() {
        let is_number = byte == b'.' || byte.is_ascii_digit();
        at = match at {
            At::Unit if is_number => {
                numbers.push((
                    &text[number_from..unit_from],
                    unit(&text[unit_from..index])?,
                ));
                number_from = index;
                step(byte, 0, false)?
            }
            At::Start => {
                number_from = index;
                step(byte, 0, false)?
            }
            At::Number { digits, point } if is_number => step(byte, digits, point)?,
            At::Number { digits: 0, .. } => return None,
            At::Number { .. } => {
                unit_from = index;
                At::Unit
            }
            At::Unit => At::Unit,
        };
    }
    let At::Unit = at else {
        return None;
    };
    numbers.push((&text[number_from..unit_from], unit(&text[unit_from..])?));
    Some(numbers)
}

fn step(byte: u8, digits: usize, point: bool) -> Option<At> {
    match byte {
        b'.' if point => None,
        b'.' => Some(At::Number {
            digits,
            point: true,
        }),
        b'0'..=b'9' => Some(At::Number {
            digits: digits + 1,
            point,
        }),
        _ => None,
    }
}

fn unit(name: &str) -> Option<u64> {
    let second = Duration::from_secs(1).as_nanos() as u64;
    let units = [
        ("ns", 1),
        ("us", second / 1_000_000),
        ("\u{b5}s", second / 1_000_000),
        ("\u{3bc}s", second / 1_000_000),
        ("ms", second / 1000),
        ("s", second),
        ("m", 60 * second),
        ("h", 3600 * second),
    ];
    units
        .into_iter()
        .find(|(known, _)| *known == name)
        .map(|(_, length)| length)
}

/// The number times the unit, rounded down; `None` if it is far too long.
fn exact(number: &str, unit: u64) -> Option<u128> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.bytes().try_fold(0_u128, |sum, digit| {
        let sum = sum * 10 + u128::from(digit - b'0');
        (sum <= LONGEST + 1).then_some(sum)
    })?;
    // From the last digit on: what is rounded down twice is rounded down once.
    let part = part.bytes().rev().fold(0, |sum, digit| {
        (sum + u128::from(digit - b'0') * u128::from(unit)) / 10
    });
    Some(whole * u128::from(unit) + part)
}

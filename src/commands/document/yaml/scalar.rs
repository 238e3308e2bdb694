//! Scalars as go-yaml v2 resolves them: YAML 1.1 with `yes` and `off`, octal numbers that begin
//! with 0, and numbers with underscores. A time is a string.

use super::super::base64;
use super::super::value::Value;

const PREFIX: &str = "tag:yaml.org,2002:";

/// A scalar of the text.
pub(super) struct Scalar {
    pub(super) text: String,
    pub(super) tag: Option<String>,
    /// Neither quoted nor tagged.
    pub(super) is_plain: bool,
}

impl Scalar {
    /// Its value; an error if its tag demands another type, without the text.
    pub(super) fn resolve(&self) -> Result<Value, &'static str> {
        let text = || Value::Text(self.text.clone());
        let Some(tag) = self.tag.as_deref() else {
            return Ok(if self.is_plain {
                plain(&self.text)
            } else {
                text()
            });
        };
        match tag.strip_prefix(PREFIX) {
            Some("str") => Ok(text()),
            Some("binary") => binary(&self.text),
            Some(wanted @ ("bool" | "int" | "float" | "null" | "timestamp")) => {
                tagged(wanted, &self.text)
            }
            _ => Ok(text()),
        }
    }
}

fn binary(text: &str) -> Result<Value, &'static str> {
    let bytes = base64::decode(text).ok_or("a !!binary value is not base64")?;
    Ok(Value::Text(String::from_utf8_lossy(&bytes).into_owned()))
}

fn tagged(wanted: &str, text: &str) -> Result<Value, &'static str> {
    let value = plain(text);
    let fits = match (&value, wanted) {
        (Value::Bool(_), "bool") | (Value::Null, "null") | (Value::Number(_), "float") => true,
        (Value::Number(_), "int") => integer(&text.replace('_', "")).is_some(),
        (Value::Text(_), "timestamp") => is_date(text),
        _ => false,
    };
    fits.then_some(value).ok_or("a value does not fit its tag")
}

/// The value of a scalar that is not quoted.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Value::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    number(text).unwrap_or_else(|| Value::Text(text.to_owned()))
}

fn number(text: &str) -> Option<Value> {
    let first = text.bytes().next()?;
    let magnitude = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(magnitude, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Some(Value::Number(None));
    }
    match first {
        b'.' => return text.parse().ok().and_then(float),
        b'0'..=b'9' | b'+' | b'-' => {}
        _ => return None,
    }
    let plain = text.replace('_', "");
    if let Some(number) = integer(&plain) {
        return Some(Value::Number(i64::try_from(number).ok()));
    }
    is_float(&plain).then(|| plain.parse().ok().and_then(float))?
}

/// As Go's JSON writes it: an integer without a fraction.
fn float(number: f64) -> Option<Value> {
    /// Beyond what a field for an integer takes.
    const LARGEST: f64 = 1e18;
    if number.is_infinite() {
        return None;
    }
    let is_integer = number.fract() == 0.0 && number.abs() < LARGEST;
    let text = format!("{number:.0}");
    Some(Value::Number(
        is_integer.then(|| text.parse().ok()).flatten(),
    ))
}

/// Go's `ParseInt` with base 0, of up to 64 bits with or without a sign.
fn integer(text: &str) -> Option<i128> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, &lower[..]),
    };
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let number = sign * i128::from_str_radix(digits, radix).ok()?;
    // Only without a sign it may be larger than a signed one.
    let largest = if text.starts_with(['+', '-']) {
        i128::from(i64::MAX)
    } else {
        i128::from(u64::MAX)
    };
    (i128::from(i64::MIN)..=largest)
        .contains(&number)
        .then_some(number)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let is_exponent = |text: &str| {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        !digits.is_empty() && are_digits(digits)
    };
    let is_mantissa = match mantissa.split_once('.') {
        Some((whole, part)) => {
            are_digits(whole) && are_digits(part) && !(whole.is_empty() && part.is_empty())
        }
        None => !mantissa.is_empty() && are_digits(mantissa),
    };
    is_mantissa && exponent.is_none_or(is_exponent)
}

/// Whether it begins as a date does.
fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let mut is_number = |max: usize| {
        parts.next().is_some_and(|part| {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            (1..=max).contains(&digits)
        })
    };
    is_number(4) && is_number(2) && is_number(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_are_those_of_yaml_1_1() {
        let shown = |text: &str| match plain(text) {
            Value::Text(_) => "text".to_owned(),
            Value::Number(Some(number)) => number.to_string(),
            other => other.kind().to_owned(),
        };
        for (text, value) in [
            ("yes", "a boolean"),
            ("off", "a boolean"),
            ("~", "null"),
            ("010", "8"),
            ("0o17", "15"),
            ("08", "8"),
            ("0x1F", "31"),
            ("1_000", "1000"),
            ("+5", "5"),
            ("1e3", "1000"),
            ("1.5", "a number"),
            (".inf", "a number"),
            ("3s", "text"),
            ("2020-01-01", "text"),
            ("-", "text"),
            ("Yess", "text"),
        ] {
            assert_eq!(shown(text), value, "{text}");
        }
    }
}

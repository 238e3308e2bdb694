//! The caller's deadline: `grpc-timeout`, and how much of it we use.

use std::time::Duration;

use http::{Extensions, HeaderMap};
use tokio::time::Instant;
use tonic::Status;

/// kube-apiserver's own default (`apis/apiserver/v1/defaults.go`).
const DEFAULT: Duration = Duration::from_secs(3);
/// The limit, whatever a client asks for.
pub(super) const MAX_DEADLINE: Duration = Duration::from_secs(300);
/// An answer with its reason has to leave this long before the caller gives up …
const MARGIN: Duration = Duration::from_millis(100);
/// … or this part of a short deadline.
const MARGIN_PART: u32 = 10;

/// When an answer has to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deadline {
    /// The operation has to have its result, or its reason, by then.
    pub(super) work: Instant,
    /// The forwarder answers by then even if nothing came back.
    pub(super) answer: Instant,
}

impl Deadline {
    /// Reads the deadline of a call whose headers arrived now: its caller counts from there, however
    /// long the message takes.
    pub(super) fn of_headers(headers: &HeaderMap) -> Self {
        let asked = headers
            .get("grpc-timeout")
            .and_then(|value| value.to_str().ok())
            .and_then(parse);
        Self::within(asked.unwrap_or(DEFAULT).min(MAX_DEADLINE), Instant::now())
    }

    /// The deadline of the call that a request belongs to.
    pub(super) fn of(extensions: &Extensions) -> Result<Self, Status> {
        let deadline = extensions.get::<Self>().copied();
        deadline.ok_or_else(|| Status::internal("the plugin lost a call's deadline"))
    }

    fn within(timeout: Duration, now: Instant) -> Self {
        let margin = MARGIN.min(timeout / MARGIN_PART);
        Self {
            work: now + timeout - margin,
            answer: now + timeout - margin / 2,
        }
    }
}

/// gRPC's `TimeoutValue TimeoutUnit`: at most 8 digits and a letter.
fn parse(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let digits = &text[..text.len() - unit.len_utf8()];
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(value * 3600)),
        'M' => Some(Duration::from_secs(value * 60)),
        'S' => Some(Duration::from_secs(value)),
        'm' => Some(Duration::from_millis(value)),
        'u' => Some(Duration::from_micros(value)),
        'n' => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_of_grpc_is_read() {
        assert_eq!(parse("1999649u"), Some(Duration::from_micros(1_999_649)));
        assert_eq!(parse("3S"), Some(Duration::from_secs(3)));
        assert_eq!(parse("2M"), Some(Duration::from_secs(120)));
        assert_eq!(parse("1H"), Some(Duration::from_secs(3600)));
        assert_eq!(parse("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse("99999999n"), Some(Duration::from_nanos(99_999_999)));
        for wrong in ["", "S", "3", "-3S", "123456789S", "3é", "3.5S"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_reason_leaves_before_the_caller_gives_up() {
        let now = Instant::now();
        let long = Deadline::within(Duration::from_secs(3), now);
        assert_eq!(long.work, now + Duration::from_millis(2900));
        assert_eq!(long.answer, now + Duration::from_millis(2950));
        let short = Deadline::within(Duration::from_millis(100), now);
        assert_eq!(short.work, now + Duration::from_millis(90));
    }
}

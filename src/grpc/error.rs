//! The one place where a failure becomes a gRPC status.

use std::sync::Arc;

use tonic::{Code, Status};

use crate::keys::{ErrorKind, KeyError};
use crate::reason::Reason;
use crate::system::bounded;

/// kube-apiserver keeps this much of an error in a condition, and the log needs no more of what a client
/// or a proxy sent.
pub(super) const MAX_TEXT: usize = 1024;
/// What is left of a cause whose remedy is long.
const MIN_CAUSE: usize = 200;

/// The status of a failed operation.
pub(super) fn of_error(error: &KeyError) -> Status {
    let code = match error.kind {
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::DeadlineExceeded => Code::DeadlineExceeded,
        ErrorKind::Throttled => Code::ResourceExhausted,
        ErrorKind::Denied => Code::PermissionDenied,
        ErrorKind::Precondition => Code::FailedPrecondition,
        ErrorKind::Invalid => Code::InvalidArgument,
        ErrorKind::Internal => Code::Internal,
    };
    let mut text = error.to_string();
    if text.len() > MAX_TEXT {
        // The remedy comes last, and is what has to remain.
        let remedy = error.remedy.as_ref().map_or(0, String::len);
        let cause = bounded(
            &error.cause,
            MAX_TEXT.saturating_sub(remedy + 2).max(MIN_CAUSE),
        );
        let mut error = error.clone();
        error.cause = cause;
        text = bounded(&error.to_string(), MAX_TEXT);
    }
    let mut status = Status::new(code, text);
    // For the log; it is not sent.
    status.set_source(Arc::new(error.clone()));
    status
}

/// A code's name in the gRPC specification.
pub(super) fn name_of(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// The API path of Vault that failed, for the log.
pub(super) fn vault_path(status: &Status) -> Option<&str> {
    let source = std::error::Error::source(status)?;
    source.downcast_ref::<KeyError>()?.path.as_deref()
}

/// The code of a failure of the plugin's own making.
pub(super) fn reason(status: &Status) -> Option<Reason> {
    let source = std::error::Error::source(status)?;
    let of_key = source.downcast_ref::<KeyError>().map(|it| it.reason);
    of_key.or_else(|| source.downcast_ref::<Reason>().copied())
}

/// A status with its code, for the log.
fn because(reason: Reason, mut status: Status) -> Status {
    status.set_source(Arc::new(reason));
    status
}

/// The request holds something that cannot be used.
pub(super) fn invalid(error: &impl ToString) -> Status {
    because(
        Reason::RequestInvalid,
        Status::invalid_argument(error.to_string()),
    )
}

/// Too many calls wait already.
pub(super) fn too_many_waiting() -> Status {
    let text =
        "too many calls wait for vault: it is slower than kube-apiserver asks (limits.max_waiting)";
    because(Reason::TooManyCalls, Status::resource_exhausted(text))
}

/// The memory for calls, or the connection's part of it, is used up.
pub(super) fn out_of_memory() -> Status {
    let text = "too many or too large calls at once for the plugin's memory";
    because(Reason::TooManyCalls, Status::resource_exhausted(text))
}

/// The headers came, but no whole message.
pub(super) fn message_too_slow() -> Status {
    let text = "the plugin did not get the whole message in time";
    because(Reason::DeadlineExceeded, Status::deadline_exceeded(text))
}

/// The KeyManager failed each time that it had this call.
pub(super) fn lost() -> Status {
    let text = "the plugin's KeyManager failed repeatedly during this call: see its log";
    because(Reason::InternalError, Status::internal(text))
}

/// Nothing was returned in time, not even a reason.
pub(super) fn no_answer() -> Status {
    let text = "the plugin found no answer within the caller's deadline";
    because(Reason::DeadlineExceeded, Status::deadline_exceeded(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_named_as_the_specification_names_it() {
        for number in 0..=16 {
            let code = Code::from(number);
            let mut name = String::new();
            for character in format!("{code:?}").chars() {
                if character.is_ascii_uppercase() && !name.is_empty() {
                    name.push('_');
                }
                name.push(character.to_ascii_uppercase());
            }
            assert_eq!(name_of(code), name);
        }
    }

    #[test]
    fn the_log_knows_the_path_and_the_reason_of_a_status() {
        let mut error = KeyError::of_sealed_seed();
        error.kind = ErrorKind::Denied;
        error.path = Some("transit/encrypt/kms".to_owned());
        let status = of_error(&error);
        assert_eq!(status.code(), Code::PermissionDenied);
        assert_eq!(vault_path(&status), Some("transit/encrypt/kms"));
        assert_eq!(reason(&status), Some(Reason::CiphertextUnreadable));
        let table = [
            (
                invalid(&"no uid"),
                Code::InvalidArgument,
                Reason::RequestInvalid,
            ),
            (
                too_many_waiting(),
                Code::ResourceExhausted,
                Reason::TooManyCalls,
            ),
            (
                out_of_memory(),
                Code::ResourceExhausted,
                Reason::TooManyCalls,
            ),
            (
                message_too_slow(),
                Code::DeadlineExceeded,
                Reason::DeadlineExceeded,
            ),
            (lost(), Code::Internal, Reason::InternalError),
            (
                no_answer(),
                Code::DeadlineExceeded,
                Reason::DeadlineExceeded,
            ),
        ];
        for (status, code, expected) in table {
            assert_eq!(
                (status.code(), reason(&status)),
                (code, Some(expected)),
                "{status}"
            );
            assert_eq!(vault_path(&status), None, "{status}");
        }
        assert_eq!(reason(&Status::ok("")), None);
    }

    #[test]
    fn of_a_long_error_the_remedy_and_a_part_of_the_cause_remain() {
        for (cause, remedy) in [(2_000, 100), (2_000, 900), (10, 100), (2_000, 0)] {
            let remedy = format!("{}!", "r".repeat(remedy));
            let mut error = KeyError::of_sealed_seed();
            error.cause = "c".repeat(cause);
            error.remedy = Some(remedy.clone());
            let status = of_error(&error);
            let text = status.message();
            assert!(text.len() <= MAX_TEXT + 8, "{}", text.len());
            let causes = text.chars().filter(|character| *character == 'c').count();
            assert!(
                causes >= MIN_CAUSE.min(cause) - 3,
                "{cause} {}: {causes}",
                remedy.len()
            );
            if remedy.len() + 2 + MIN_CAUSE <= MAX_TEXT {
                assert!(text.ends_with(&remedy), "{text}");
            }
        }
    }
}

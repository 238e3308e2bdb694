//! The one place where a failure becomes a gRPC status.

use tonic::{Code, Status};

use crate::keys::{ErrorKind, KeyError};

/// What the caller sees of a failed operation.
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
    Status::new(code, error.text.clone())
}

/// Too many calls wait already.
pub(super) fn too_many_waiting() -> Status {
    Status::resource_exhausted(
        "too many calls wait for vault: it is slower than kube-apiserver asks (limits.max_waiting)",
    )
}

/// Nothing came back in time, not even a reason.
pub(super) fn no_answer() -> Status {
    Status::deadline_exceeded("the plugin found no answer within the caller's deadline")
}

//! Tests of `keys/operations.rs`.

use super::*;
use crate::keys::tests::key;
use crate::vault::CallError;

fn failed(kind: ApiErrorKind) -> KeyError {
    let key = key();
    let error = CallError::Api {
        path: key.path("decrypt"),
        status: 400,
        message: String::new(),
        kind,
        retry_after: None,
    };
    KeyError::of_call(&key, &error)
}

#[test]
fn of_several_keys_the_failure_that_says_most_is_reported() {
    use ApiErrorKind::{BadCiphertext, PolicyDenied, Transient, VersionTooNew};
    let table = [
        (None, BadCiphertext, BadCiphertext),
        (Some(PolicyDenied), BadCiphertext, PolicyDenied),
        (Some(BadCiphertext), PolicyDenied, PolicyDenied),
        (Some(VersionTooNew), Transient, VersionTooNew),
        (Some(Transient), VersionTooNew, VersionTooNew),
    ];
    for (before, now, reported) in table {
        let error = graver(before.map(failed), failed(now));
        assert_eq!(error.api_error, Some(reported), "{before:?} {now:?}");
    }
}

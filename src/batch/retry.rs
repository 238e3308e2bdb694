//! What follows a failed call: a retry, a check of the token, or the failure as the answer.
//! Decisions are functions of the error, the times and a random number.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::request::{Error, RetryPolicy};
use crate::session::{Session, Sessions, TokenStatus};
use crate::vault::{ApiErrorKind, CallError};

/// The first backoff of a transient failure; doubled by each failure that follows.
const MIN_BACKOFF: Duration = Duration::from_millis(25);
/// The same for a standby that does not know a key version yet; most catch up within it.
const MIN_LAG_BACKOFF: Duration = Duration::from_millis(100);
/// The longest backoff.
const MAX_BACKOFF: Duration = Duration::from_secs(1);
/// What a last attempt needs: with less left before the deadline the failure is the answer.
const LAST_ATTEMPT: Duration = Duration::from_millis(50);

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetryDecision {
    /// The failure is the answer.
    Fail,
    /// Try again after a backoff.
    Backoff,
    /// The token may be invalid, or may be denied the path: ask Vault which.
    CheckToken,
}

/// Decides on an error of a call that was made with the token of a session `obtained` at that time.
/// `first_rejected`: when the same call first had its token rejected.
pub(super) fn decide(
    error: &CallError,
    policy: RetryPolicy,
    first_rejected: Option<Instant>,
    obtained: Instant,
) -> RetryDecision {
    match error.api_error() {
        Some(ApiErrorKind::TokenRefused) => {
            // A token that is younger than the rejection is valid: the path is denied.
            if first_rejected.is_some_and(|since| obtained > since) {
                RetryDecision::Fail
            } else {
                RetryDecision::CheckToken
            }
        }
        Some(ApiErrorKind::VersionTooNew) if policy == RetryPolicy::TransientOrLagging => {
            RetryDecision::Backoff
        }
        _ if error.is_transient() && policy != RetryPolicy::Once => RetryDecision::Backoff,
        _ => RetryDecision::Fail,
    }
}

/// How long to wait after the `failures`-th failure in a row, without regard to the deadline.
/// `random` is between 0 and 1.
pub(super) fn backoff(error: &CallError, failures: u32, random: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(8);
    if error.api_error() == Some(ApiErrorKind::VersionTooNew) {
        return MIN_LAG_BACKOFF
            .saturating_mul(1 << doublings)
            .min(MAX_BACKOFF);
    }
    let longest = MIN_BACKOFF.saturating_mul(1 << doublings).min(MAX_BACKOFF);
    longest.mul_f64(0.5 + 0.5 * random)
}

/// How long to wait before a retry that still fits the deadline; the last one comes just in time.
/// `retry_after` is what the server asked for. Returns `None` if no retry fits.
pub(crate) fn backoff_within(
    backoff: Duration,
    retry_after: Option<Duration>,
    now: Instant,
    deadline: Instant,
) -> Option<Duration> {
    let left = deadline.saturating_duration_since(now);
    let longest = left.checked_sub(LAST_ATTEMPT)?;
    match retry_after {
        Some(asked) if asked > longest => None,
        Some(asked) => Some(backoff.max(asked).min(longest)),
        None => Some(backoff.min(longest)),
    }
}

/// Of the errors of two attempts in a row, the one to answer with: the later one, unless that only
/// says that the deadline came before a response, and the earlier one gives a reason.
pub(super) fn more_telling(earlier: Option<CallError>, later: CallError) -> CallError {
    let is_reason = |error: &CallError| error.api_error() != Some(ApiErrorKind::TokenRefused);
    match (earlier, &later) {
        // A rejected token was replaced, or is valid: the later attempt was made with another one.
        (Some(earlier), CallError::TimedOut { .. }) if is_reason(&earlier) => earlier,
        _ => later,
    }
}

/// Makes a call outside of any batch until it succeeds, is rejected for good, or `deadline` comes.
///
/// # Errors
/// The last failure that gives a reason.
pub(crate) async fn call_with_retries<T, C>(
    sessions: &Sessions,
    deadline: Instant,
    call: impl Fn(Arc<Session>) -> C,
) -> Result<T, Error>
where
    C: Future<Output = Result<T, CallError>>,
{
    let mut first_rejected = None;
    let mut failures = 0;
    let mut last_error = None;
    loop {
        let session = sessions.wait(deadline).await.map_err(Error::NoSession)?;
        let error = match call(session.clone()).await {
            Ok(done) => return Ok(done),
            Err(error) => more_telling(last_error.take(), error),
        };
        failures += 1;
        last_error = Some(error.clone());
        let policy = RetryPolicy::Transient;
        let last = match decide(&error, policy, first_rejected, session.obtained) {
            RetryDecision::Fail => return Err(Error::Call(error)),
            RetryDecision::Backoff => Error::Call(error.clone()),
            RetryDecision::CheckToken => {
                first_rejected.get_or_insert_with(Instant::now);
                match sessions.check_token(session.generation, deadline).await {
                    TokenStatus::Valid => return Err(Error::Call(error)),
                    TokenStatus::Invalid => continue,
                    TokenStatus::Unknown => Error::TokenUnverified(error.clone()),
                }
            }
        };
        let wait = backoff(&error, failures, fastrand::f64());
        match backoff_within(wait, error.retry_after(), Instant::now(), deadline) {
            Some(wait) => sleep(wait).await,
            None => return Err(last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(kind: ApiErrorKind) -> CallError {
        CallError::Api {
            path: "transit/encrypt/kms".to_owned(),
            status: 400,
            message: String::new(),
            kind,
            retry_after: None,
        }
    }

    #[test]
    fn only_what_may_pass_is_retried_and_a_rejected_token_is_checked_once() {
        use RetryDecision::{Backoff, CheckToken, Fail};
        use RetryPolicy::{Once, Transient, TransientOrLagging};
        let now = Instant::now();
        let earlier = now.checked_sub(Duration::from_secs(1));
        let table = [
            (ApiErrorKind::Transient, TransientOrLagging, None, Backoff),
            (ApiErrorKind::Transient, Transient, None, Backoff),
            (ApiErrorKind::Throttled, Transient, None, Backoff),
            (ApiErrorKind::Transient, Once, None, Fail),
            (
                ApiErrorKind::VersionTooNew,
                TransientOrLagging,
                None,
                Backoff,
            ),
            (ApiErrorKind::VersionTooNew, Transient, None, Fail),
            (ApiErrorKind::VersionTooNew, Once, None, Fail),
            (ApiErrorKind::BadCiphertext, TransientOrLagging, None, Fail),
            (ApiErrorKind::PolicyDenied, TransientOrLagging, None, Fail),
            (ApiErrorKind::TokenRefused, Once, None, CheckToken),
            (ApiErrorKind::TokenRefused, Transient, Some(now), CheckToken),
            (ApiErrorKind::TokenRefused, Transient, earlier, Fail),
        ];
        for (kind, policy, first_rejected, decision) in table {
            let made = decide(&api(kind), policy, first_rejected, now);
            assert_eq!(made, decision, "{kind:?} {policy:?} {first_rejected:?}");
        }
    }

    #[test]
    fn a_retry_fits_the_deadline_and_the_last_one_comes_just_in_time() {
        let now = Instant::now();
        let millis = Duration::from_millis;
        let within = |wait, asked: Option<u64>, left| {
            let wait = backoff_within(millis(wait), asked.map(millis), now, now + millis(left));
            wait.map(|wait| wait.as_millis())
        };
        assert_eq!(within(100, None, 1_000), Some(100));
        assert_eq!(within(100, None, 120), Some(70));
        assert_eq!(within(100, None, 49), None);
        assert_eq!(within(100, Some(300), 1_000), Some(300));
        assert_eq!(within(100, Some(300), 340), None);
    }

    #[test]
    fn the_end_of_the_deadline_hides_no_reason_but_that_of_another_token() {
        let timed_out = CallError::TimedOut {
            path: "transit/encrypt/kms".to_owned(),
            address: "http://127.0.0.1:8200".to_owned(),
        };
        let [transient, lag, token] = [
            ApiErrorKind::Transient,
            ApiErrorKind::VersionTooNew,
            ApiErrorKind::TokenRefused,
        ]
        .map(api);
        let table = [
            (None, &timed_out, &timed_out),
            (Some(&transient), &timed_out, &transient),
            (Some(&lag), &timed_out, &lag),
            (Some(&token), &timed_out, &timed_out),
            (Some(&timed_out), &transient, &transient),
            (Some(&lag), &transient, &transient),
        ];
        for (earlier, later, expected) in table {
            let kept = more_telling(earlier.cloned(), later.clone());
            assert_eq!(kept, *expected, "{earlier:?}, then {later:?}");
        }
    }

    #[test]
    fn the_backoff_doubles_up_to_a_second() {
        let transient = api(ApiErrorKind::Transient);
        let waits = [1, 2, 3, 20].map(|failures| backoff(&transient, failures, 1.0).as_millis());
        assert_eq!(waits, [25, 50, 100, 1_000]);
        assert_eq!(backoff(&transient, 1, 0.0), Duration::from_micros(12_500));
        let lagging = api(ApiErrorKind::VersionTooNew);
        let waits = [1, 2, 3, 20].map(|failures| backoff(&lagging, failures, 0.0).as_millis());
        assert_eq!(waits, [100, 200, 400, 1_000]);
    }
}

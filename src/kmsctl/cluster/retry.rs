//! Which failed requests are repeated, when, and for how long.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::call::{Answer, Call, CallError};
use super::connection::Cluster;
use super::status::Status;
use crate::diagnosis::Diagnosis;

/// The first delay; each further one is twice as long.
const FIRST_DELAY: Duration = Duration::from_millis(250);
/// The longest.
const MAX_DELAY: Duration = Duration::from_secs(10);
/// The longest that a server may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// For how long a kube-apiserver may be away or overloaded: longer than one takes to start again.
const PATIENCE: Duration = Duration::from_secs(150);
/// How often an internal error is met before it is taken for lasting: some are of one moment (etcd elects
/// a leader, a plugin restarts, and then every object is one that cannot be read).
const MAX_INTERNAL_ERRORS: u32 = 6;

/// Why a request failed for good.
#[derive(Debug)]
pub enum Failure {
    /// kube-apiserver refuses this request.
    Refused(Box<Status>),
    /// It cannot read what the request is about, or has another lasting internal error.
    Internal(Box<Status>),
    /// It is away, or whoever asks is unknown: no other request would fare better.
    Unavailable(Diagnosis),
    /// One was asked to stop.
    Stopped,
}

/// Sends requests, and repeats them where that may help.
#[derive(Debug, Clone)]
pub struct Retries {
    /// Where to.
    pub cluster: Cluster,
    /// No request is begun or repeated once this is cancelled.
    pub stop: CancellationToken,
}

enum Next {
    Again(Duration),
    Never(Failure),
}

impl Retries {
    /// Sends a request that may be repeated, until it succeeds or fails for good.
    ///
    /// # Errors
    /// As [`Failure`].
    pub async fn send(&self, call: &Call) -> Result<Answer, Failure> {
        let (began, mut internal) = (Instant::now(), 0);
        for attempt in 0.. {
            if self.stop.is_cancelled() {
                return Err(Failure::Stopped);
            }
            let error = match self.cluster.send(call).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            match self.next(error, attempt, began.elapsed(), &mut internal) {
                Next::Never(failure) => return Err(failure),
                Next::Again(delay) => tokio::select! {
                    () = sleep(delay) => {}
                    () = self.stop.cancelled() => return Err(Failure::Stopped),
                },
            }
        }
        Err(Failure::Stopped)
    }

    fn next(&self, error: CallError, attempt: u32, elapsed: Duration, internal: &mut u32) -> Next {
        let again = |after: Option<Duration>| {
            Next::Again(after.map_or_else(|| delay(attempt), |after| after.min(MAX_RETRY_AFTER)))
        };
        match error {
            CallError::Refused(status, after) => match status.code {
                500 => {
                    *internal += 1;
                    if *internal >= MAX_INTERNAL_ERRORS {
                        return Next::Never(Failure::Internal(status));
                    }
                    again(after)
                }
                408 | 429 | 502..=504 if elapsed < PATIENCE => again(after),
                401 | 408 | 429 | 502..=504 => {
                    let error = CallError::Refused(status, None);
                    Next::Never(Failure::Unavailable(self.diagnosis(&error)))
                }
                501 | 505.. => Next::Never(Failure::Internal(status)),
                _ => Next::Never(Failure::Refused(status)),
            },
            CallError::Unreachable(_) if elapsed < PATIENCE => again(None),
            error => Next::Never(Failure::Unavailable(self.diagnosis(&error))),
        }
    }

    fn diagnosis(&self, error: &CallError) -> Diagnosis {
        error.diagnosis(&self.cluster.address())
    }
}

impl Failure {
    /// The message for an operator; `None` if one was asked to stop.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        match self {
            Self::Refused(status) | Self::Internal(status) => Some(status.message.clone()),
            Self::Unavailable(diagnosis) => Some(diagnosis.to_string()),
            Self::Stopped => None,
        }
    }
}

/// With jitter, so that the workers do not come back at one time.
fn delay(attempt: u32) -> Duration {
    let longest = FIRST_DELAY
        .saturating_mul(1 << attempt.min(10))
        .min(MAX_DELAY);
    longest.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_up_to_a_limit() {
        assert!(delay(0) <= FIRST_DELAY && delay(0) >= FIRST_DELAY / 2);
        assert!(delay(40) <= MAX_DELAY && delay(40) >= MAX_DELAY / 2);
    }
}

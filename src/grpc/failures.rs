//! Log lines about failed calls: the first of each kind at once, then fewer and fewer with a count,
//! and one when calls have recovered. Nothing that kube-apiserver repeats fills the log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tonic::{Code, Status};

use super::error::{MAX_TEXT, name_of, reason, vault_path};
use crate::reason::Reason;
use crate::system::bounded;
use crate::telemetry::events;
use crate::telemetry::{FailureStreak, LogThrottle, StreakSummary};

/// Calls of an operation have recovered once one succeeded and none failed for this long.
const RECOVERED_AFTER: Duration = Duration::from_secs(5);
/// While the same failures go on, the next line comes after this time, the one after it after twice
/// the time …
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// … and so on, up to this.
const MAX_LINE_INTERVAL: Duration = Duration::from_secs(600);
/// After so long without a failure, the next one gets a line at once, whatever there was before.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(1800);
/// Reasons that get a line of their own at once. A client can make up any number.
const MAX_REASONS: usize = 8;

/// Where all services report how calls ended. A clone is another handle on the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Failures(Arc<[Mutex<OperationLog>; 3]>);

/// What can fail; each has outages of its own.
#[derive(Debug, Clone, Copy)]
pub(super) enum Operation {
    Status,
    Encrypt,
    Decrypt,
}

/// A call, as the log describes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallInfo<'a> {
    pub(super) operation: Operation,
    /// `v1` or `v2`, as in the metrics.
    pub(super) kms: &'static str,
    /// kube-apiserver logs it too.
    pub(super) uid: Option<&'a str>,
    pub(super) key_id: Option<&'a str>,
}

/// What is known of the failures of an operation.
#[derive(Debug, Default)]
struct OperationLog {
    outage: Option<Outage>,
    /// The lines about earlier outages: calls that fail now and then, between others that succeed, get
    /// no more lines than calls that fail all the time.
    lines: Option<Lines>,
}

/// Which failures get a line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lines {
    reasons: Vec<(Code, String)>,
    throttle: LogThrottle,
    last_failed: Instant,
}

/// A time in which calls of an operation fail.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Outage {
    streak: FailureStreak,
    last_failed: Instant,
    /// The first call that succeeded after that.
    succeeded: Option<Instant>,
    /// Whether a task waits for its end.
    is_watched: bool,
    /// Whether it had a line, so that its end gets one too.
    is_logged: bool,
}

/// Whether an outage is over.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    /// It is.
    Recovered(StreakSummary),
    /// It will be at this time if no call fails before.
    NotBefore(Instant),
    /// No call has succeeded since the last failure; the next that does is watched again.
    Failing,
}

impl Failures {
    /// Records how a call ended.
    pub(super) fn record<T>(&self, call: CallInfo<'_>, outcome: &Result<T, Status>) {
        match outcome {
            Ok(_) => self.succeeded(call.operation),
            Err(status) => self.failed(call, status),
        }
    }

    fn failed(&self, call: CallInfo<'_>, status: &Status) {
        let code = status.code();
        let error = status.message();
        let now = Instant::now();
        let line = { self.of(call.operation).failed(code, error, now) };
        if let Some(suppressed) = line {
            events::CallFailed {
                operation: call.operation.as_str(),
                kms: call.kms,
                uid: call.uid.map(|it| bounded(it, MAX_TEXT)),
                key_id: call.key_id.map(|it| bounded(it, MAX_TEXT)),
                code: name_of(code),
                reason_code: reason(status).map(Reason::code),
                error: bounded(error, MAX_TEXT),
                vault_path: vault_path(status).map(str::to_owned),
                suppressed,
            }
            .emit();
        }
    }

    fn succeeded(&self, operation: Operation) {
        let mut log = self.of(operation);
        if log.outage.as_mut().is_some_and(Outage::succeeded) {
            tokio::spawn(self.clone().await_recovery(operation));
        }
    }

    /// Logs the end of an outage, unless calls fail again before it is certain.
    async fn await_recovery(self, operation: Operation) {
        let mut due = Instant::now() + RECOVERED_AFTER;
        loop {
            sleep_until(due).await;
            let mut log = self.of(operation);
            match log.outage.as_mut().map(|it| it.progress(Instant::now())) {
                Some(Progress::NotBefore(then)) => due = then,
                Some(Progress::Recovered(summary)) => {
                    let is_logged = log.outage.take().is_some_and(|outage| outage.is_logged);
                    drop(log);
                    if !is_logged {
                        return;
                    }
                    events::CallsRecovered {
                        operation: operation.as_str(),
                        failed: summary.failed,
                        lasted: summary.lasted(),
                    }
                    .emit();
                    return;
                }
                Some(Progress::Failing) | None => return,
            }
        }
    }

    fn of(&self, operation: Operation) -> MutexGuard<'_, OperationLog> {
        let Self(logs) = self;
        logs[operation as usize]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
        }
    }
}

impl OperationLog {
    /// Records a failure. Returns how many got no line since the last, or `None` if this one gets
    /// none either.
    fn failed(&mut self, code: Code, error: &str, now: Instant) -> Option<u64> {
        let outage = self.outage.get_or_insert_with(|| Outage::new(now));
        outage.failed(now);
        let is_old =
            |lines: &Lines| now.saturating_duration_since(lines.last_failed) > FORGOTTEN_AFTER;
        if self.lines.as_ref().is_some_and(is_old) {
            self.lines = None;
        }
        let lines = self.lines.get_or_insert_with(|| Lines::new(now));
        lines.last_failed = now;
        let line = lines.of(code, error, now);
        outage.is_logged |= line.is_some();
        line
    }
}

impl Lines {
    fn new(now: Instant) -> Self {
        Self {
            reasons: Vec::new(),
            throttle: LogThrottle::growing(LINE_INTERVAL, MAX_LINE_INTERVAL),
            last_failed: now,
        }
    }

    fn of(&mut self, code: Code, error: &str, now: Instant) -> Option<u64> {
        let is_known = |(a, b): &(Code, String)| (*a, b.as_str()) == (code, error);
        let is_new = self.reasons.len() < MAX_REASONS && !self.reasons.iter().any(is_known);
        if is_new {
            self.reasons.push((code, error.to_owned()));
        }
        self.throttle.allow(is_new, now)
    }
}

impl Outage {
    /// Without failures so far.
    fn new(now: Instant) -> Self {
        Self {
            streak: FailureStreak::default(),
            last_failed: now,
            succeeded: None,
            is_watched: false,
            is_logged: false,
        }
    }

    fn failed(&mut self, now: Instant) {
        self.last_failed = now;
        self.succeeded = None;
        self.streak.failed(now);
    }

    /// Records a success. Returns whether a task has to wait for the end from now on.
    fn succeeded(&mut self) -> bool {
        self.succeeded.get_or_insert_with(Instant::now);
        !std::mem::replace(&mut self.is_watched, true)
    }

    fn progress(&mut self, now: Instant) -> Progress {
        let Some(succeeded) = self.succeeded else {
            self.is_watched = false;
            return Progress::Failing;
        };
        let recovered = self.last_failed + RECOVERED_AFTER;
        if now < recovered {
            return Progress::NotBefore(recovered);
        }
        // There is a streak: an outage begins with a failure.
        // Nobody knows whether calls would have failed for as long as none came.
        let streak = self.streak.end(succeeded.min(recovered));
        streak.map_or(Progress::Failing, Progress::Recovered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: (Code, &str) = (Code::Unavailable, "vault is unreachable");
    const B: (Code, &str) = (Code::PermissionDenied, "vault says no");

    /// What each failure brings, at its moment in seconds.
    fn lines(failures: &[(u64, (Code, &str))]) -> Vec<Option<u64>> {
        let start = Instant::now();
        let (code, error) = failures[0].1;
        let mut log = OperationLog::default();
        log.failed(code, error, start);
        let later = failures[1..].iter().map(|&(second, (code, error))| {
            log.failed(code, error, start + Duration::from_secs(second))
        });
        later.collect()
    }

    #[test]
    fn while_the_same_goes_on_lines_are_fewer_and_fewer_and_count() {
        let each_second: Vec<_> = (0..100).map(|second| (second, A)).collect();
        let lines = lines(&each_second);
        let written: Vec<_> = (1..).zip(&lines).filter(|(_, it)| it.is_some()).collect();
        assert_eq!(written, [(10, &Some(9)), (30, &Some(19)), (70, &Some(39))]);
    }

    #[test]
    fn lines_never_stay_away_for_longer_than_the_limit() {
        let each_minute: Vec<_> = (0..100).map(|minute| (60 * minute, A)).collect();
        let last = lines(&each_minute).into_iter().flatten().last();
        assert_eq!(last, Some(9));
    }

    #[test]
    fn another_reason_has_its_line_at_once_but_not_any_number_of_them() {
        assert_eq!(
            lines(&[(0, A), (1, A), (2, B), (3, A), (4, B)]),
            [None, Some(1), None, None]
        );
        let texts: Vec<_> = (0..50).map(|number| number.to_string()).collect();
        let made_up: Vec<_> = texts
            .iter()
            .map(|text| (0, (Code::InvalidArgument, text.as_str())))
            .collect();
        assert_eq!(lines(&made_up).iter().flatten().count(), MAX_REASONS - 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_outage_is_over_once_a_call_succeeded_and_says_how_long_until_then() {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let mut outage = Outage::new(start);
        outage.failed(start);
        outage.failed(start + 3 * second);
        assert_eq!(outage.progress(start + 20 * second), Progress::Failing);
        tokio::time::advance(4 * second).await;
        assert!(outage.succeeded());
        assert!(!outage.succeeded(), "it is watched already");
        let recovered = start + 3 * second + RECOVERED_AFTER;
        assert_eq!(
            outage.progress(start + 5 * second),
            Progress::NotBefore(recovered)
        );
        let Progress::Recovered(ended) = outage.clone().progress(recovered) else {
            panic!("{outage:?}");
        };
        assert_eq!((ended.failed, ended.lasted().as_str()), (2, "4s"));
        outage.failed(recovered);
        assert_eq!(outage.progress(recovered + 20 * second), Progress::Failing);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_fail_now_and_then_are_one_outage() {
        let failures = Failures::default();
        let call = CallInfo {
            operation: Operation::Encrypt,
            kms: "v2",
            uid: None,
            key_id: None,
        };
        for _ in 0..100 {
            failures.record::<()>(call, &Err(Status::new(A.0, A.1)));
            failures.record(call, &Ok(()));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let failed = |log: &OperationLog| log.outage.as_ref().map(|it| it.streak.count());
        assert_eq!(failed(&failures.of(Operation::Encrypt)), Some(100));
        assert_eq!(failed(&failures.of(Operation::Decrypt)), None);
        tokio::time::sleep(2 * RECOVERED_AFTER).await;
        assert_eq!(failed(&failures.of(Operation::Encrypt)), None);
    }

    /// What the log says of one unreadable object, read once a minute between others, in a day.
    #[tokio::test(start_paused = true)]
    async fn one_call_that_fails_again_and_again_between_others_does_not_fill_the_log() {
        let mut log = OperationLog::default();
        let mut lines = 0;
        for _ in 0..24 * 60 {
            lines += usize::from(log.failed(A.0, A.1, Instant::now()).is_some());
            tokio::time::advance(Duration::from_secs(60)).await;
            let outage = log.outage.as_mut().expect("an outage");
            outage.succeeded();
            assert!(matches!(
                outage.progress(Instant::now()),
                Progress::Recovered(_)
            ));
            log.outage = None;
        }
        assert!((100..200).contains(&lines), "{lines}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_does_not_last_while_nobody_calls() {
        let mut outage = Outage::new(Instant::now());
        outage.failed(Instant::now());
        tokio::time::advance(Duration::from_secs(30 * 24 * 3600)).await;
        outage.succeeded();
        let Progress::Recovered(ended) = outage.progress(Instant::now()) else {
            panic!("{outage:?}");
        };
        assert_eq!(ended.lasted(), "5s");
    }
}

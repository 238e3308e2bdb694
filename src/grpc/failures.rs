//! What the log says of calls that fail: the first of each kind at once, then fewer and fewer lines
//! with a count, and one when calls recovered. Nothing that kube-apiserver repeats fills the log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tonic::{Code, Status};

use super::status::{name_of, vault_path};
use crate::telemetry::events;
use crate::telemetry::{FailureStreak, StreakSummary};

/// Calls of an operation work again once one has and none failed for so long.
const QUIET: Duration = Duration::from_secs(5);
/// While the same goes on there is a line after this time, the next after twice the time …
const LINE_FIRST: Duration = Duration::from_secs(10);
/// … and none is longer in coming.
const LINE_MOST: Duration = Duration::from_secs(600);
/// Reasons that get a line of their own at once; a client can make up any number.
const REASONS: usize = 8;

/// What all services tell their failures to. A clone is another handle on the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Failures(Arc<[Mutex<Option<Spell>>; 3]>);

/// What can fail; each by itself.
#[derive(Debug, Clone, Copy)]
pub(super) enum Operation {
    Status,
    Encrypt,
    Decrypt,
}

/// A call, as the log tells it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) operation: Operation,
    /// `v1` or `v2`, as in the metrics.
    pub(super) kms: &'static str,
    /// It is in kube-apiserver's log too.
    pub(super) uid: Option<&'a str>,
    pub(super) key_id: Option<&'a str>,
}

/// A time in which calls of an operation fail.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Spell {
    row: FailureStreak,
    last_failed: Instant,
    /// The first call that worked after that.
    worked: Option<Instant>,
    /// Whether somebody waits for its end.
    watched: bool,
    reasons: Vec<(Code, String)>,
    without_line: u64,
    next_line: Instant,
    pause: Duration,
}

/// What becomes of a spell.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// It is over, and was like this.
    Over(StreakSummary),
    /// That will be sure then, if no call fails.
    Later(Instant),
    /// No call has worked since the last that failed; the next one that does is watched again.
    Failing,
}

impl Failures {
    /// Takes note of how a call ended.
    pub(super) fn note<T>(&self, asked: Asked<'_>, outcome: &Result<T, Status>) {
        match outcome {
            Ok(_) => self.worked(asked.operation),
            Err(status) => self.failed(asked, status),
        }
    }

    fn failed(&self, asked: Asked<'_>, status: &Status) {
        let (code, error) = (status.code(), status.message());
        let line = match &mut *self.spell(asked.operation) {
            Some(spell) => spell.failed(code, error, Instant::now()),
            none => {
                *none = Some(Spell::new(code, error, Instant::now()));
                Some(0)
            }
        };
        if let Some(suppressed) = line {
            events::CallFailed {
                operation: asked.operation.as_str(),
                kms: asked.kms,
                uid: asked.uid.map(str::to_owned),
                key_id: asked.key_id.map(str::to_owned),
                code: name_of(code),
                error: error.to_owned(),
                vault_path: vault_path(status).map(str::to_owned),
                suppressed,
            }
            .emit();
        }
    }

    fn worked(&self, operation: Operation) {
        let is_first = self.spell(operation).as_mut().is_some_and(Spell::worked);
        if is_first {
            tokio::spawn(self.clone().watch(operation));
        }
    }

    /// Tells the end of a spell, unless calls fail again before it is sure.
    async fn watch(self, operation: Operation) {
        let mut due = Instant::now() + QUIET;
        loop {
            sleep_until(due).await;
            let mut spell = self.spell(operation);
            match spell.as_mut().map(|it| it.look(Instant::now())) {
                Some(Look::Later(then)) => due = then,
                Some(Look::Over(ended)) => {
                    *spell = None;
                    events::CallsRecovered {
                        operation: operation.as_str(),
                        failed: ended.failed,
                        lasted: ended.lasted(),
                    }
                    .emit();
                    return;
                }
                Some(Look::Failing) | None => return,
            }
        }
    }

    fn spell(&self, operation: Operation) -> MutexGuard<'_, Option<Spell>> {
        let Self(spells) = self;
        spells[operation as usize]
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

impl Spell {
    /// It begins, with a line.
    fn new(code: Code, error: &str, now: Instant) -> Self {
        let mut row = FailureStreak::default();
        row.failed(now);
        Self {
            row,
            last_failed: now,
            worked: None,
            watched: false,
            reasons: vec![(code, error.to_owned())],
            without_line: 0,
            next_line: now + LINE_FIRST,
            pause: LINE_FIRST,
        }
    }

    /// Another call failed: whether it gets a line, and how many went without one since the last.
    fn failed(&mut self, code: Code, error: &str, now: Instant) -> Option<u64> {
        (self.last_failed, self.worked) = (now, None);
        self.row.failed(now);
        let is_due = now >= self.next_line;
        if is_due {
            self.pause = (self.pause * 2).min(LINE_MOST);
            self.next_line = now + self.pause;
        }
        if !(self.is_new(code, error) || is_due) {
            self.without_line += 1;
            return None;
        }
        Some(std::mem::take(&mut self.without_line))
    }

    fn is_new(&mut self, code: Code, error: &str) -> bool {
        let known = |(a, b): &(Code, String)| (*a, b.as_str()) == (code, error);
        let is_new = self.reasons.len() < REASONS && !self.reasons.iter().any(known);
        if is_new {
            self.reasons.push((code, error.to_owned()));
        }
        is_new
    }

    /// A call worked: whether somebody should watch for the end from now on.
    fn worked(&mut self) -> bool {
        self.worked.get_or_insert_with(Instant::now);
        !std::mem::replace(&mut self.watched, true)
    }

    fn look(&mut self, now: Instant) -> Look {
        let Some(worked) = self.worked else {
            self.watched = false;
            return Look::Failing;
        };
        let quiet = self.last_failed + QUIET;
        if now < quiet {
            return Look::Later(quiet);
        }
        // There is a row: a spell begins with a failure.
        self.row.end(worked).map_or(Look::Failing, Look::Over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: (Code, &str) = (Code::Unavailable, "vault is away");
    const B: (Code, &str) = (Code::PermissionDenied, "vault says no");

    /// What each failure brings, at its moment in seconds.
    fn lines(failures: &[(u64, (Code, &str))]) -> Vec<Option<u64>> {
        let start = Instant::now();
        let (code, error) = failures[0].1;
        let mut spell = Spell::new(code, error, start);
        let later = failures[1..].iter().map(|&(second, (code, error))| {
            spell.failed(code, error, start + Duration::from_secs(second))
        });
        later.collect()
    }

    #[test]
    fn while_the_same_goes_on_lines_are_fewer_and_fewer_and_count() {
        let each_second: Vec<_> = (0..100).map(|second| (second, A)).collect();
        let lines = lines(&each_second);
        let told: Vec<_> = (1..).zip(&lines).filter(|(_, it)| it.is_some()).collect();
        assert_eq!(told, [(10, &Some(9)), (30, &Some(19)), (70, &Some(39))]);
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
        assert_eq!(lines(&made_up).iter().flatten().count(), REASONS - 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_spell_is_over_once_a_call_worked_and_tells_how_long_until_then() {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let mut spell = Spell::new(A.0, A.1, start);
        spell.failed(A.0, A.1, start + 3 * second);
        assert_eq!(spell.look(start + 20 * second), Look::Failing);
        tokio::time::advance(4 * second).await;
        assert!(spell.worked());
        assert!(!spell.worked(), "it is watched already");
        let quiet = start + 3 * second + QUIET;
        assert_eq!(spell.look(start + 5 * second), Look::Later(quiet));
        let Look::Over(ended) = spell.clone().look(quiet) else {
            panic!("{spell:?}");
        };
        assert_eq!((ended.failed, ended.lasted().as_str()), (2, "4s"));
        spell.failed(A.0, A.1, quiet);
        assert_eq!(spell.look(quiet + 20 * second), Look::Failing);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_fail_now_and_then_are_one_spell() {
        let failures = Failures::default();
        let asked = Asked {
            operation: Operation::Encrypt,
            kms: "v2",
            uid: None,
            key_id: None,
        };
        for _ in 0..100 {
            failures.note::<()>(asked, &Err(Status::new(A.0, A.1)));
            failures.note(asked, &Ok(()));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let failed = |it: &Option<Spell>| it.as_ref().map(|it| it.row.count());
        assert_eq!(failed(&failures.spell(Operation::Encrypt)), Some(100));
        assert_eq!(failed(&failures.spell(Operation::Decrypt)), None);
        tokio::time::sleep(2 * QUIET).await;
        assert_eq!(failed(&failures.spell(Operation::Encrypt)), None);
    }
}

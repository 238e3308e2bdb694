//! The queue against a model: whatever happens in whatever order, a batch holds items of one key and
//! leaves with one token, and every caller who still waits gets one outcome, that of its own call.

use proptest::prelude::*;
use tokio::sync::oneshot;

use super::entry::MAX_BYTES;
use super::*;
use crate::batch::RetryPolicy;
use crate::system::clock::Moment;
use crate::telemetry::spans::Parent;
use crate::vault::{Client, KeyName, Lease, MountPath, Namespace, Token};

/// A number whose outcome is ten times as large, plus that of its key.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Number {
    value: u32,
    /// Which key it was asked for.
    key: usize,
    size: usize,
}

impl Operation for Number {
    const NAME: &'static str = "decrypt";
    const IS_SHARED: bool = true;
    type Output = u32;

    fn size(&self) -> usize {
        self.size
    }

    fn is_same(&self, other: &Self) -> bool {
        // Equal whatever the key: only the queue may tell keys apart.
        self.value == other.value && self.value < 4
    }

    fn copy(output: &u32) -> u32 {
        *output
    }

    async fn send(
        _: &Client,
        _: &TransitKey,
        _: &[Self],
        _: &Token,
        _: Instant,
    ) -> Result<Outcomes<u32>, CallError> {
        unreachable!("the model sends")
    }
}

/// What can happen, in any order.
#[derive(Debug, Clone)]
enum Step {
    /// A call comes: its number, its deadline in milliseconds, and whether it may be retried.
    Call(Number, u64, bool),
    /// A caller gives up.
    GiveUp(usize),
    /// Time passes.
    Wait(u64),
    /// Another session takes the place of the present one.
    Login,
    /// What may leave leaves.
    Send,
    /// A batch returns; the items whose bit is set failed, or all of it.
    Return(usize, u128, Failure),
    /// Vault says whether a rejected token is still valid.
    CheckToken(TokenStatus),
}

#[derive(Debug, Clone, Copy)]
enum Failure {
    /// Of items, for what they are.
    OfItems,
    /// Of items, in a way that says more of one that is alone.
    Unclear,
    /// Of the whole batch, transiently.
    Transient,
    /// Of the whole batch, for its form.
    OfForm,
    /// Of the whole batch, because its token was rejected.
    OfToken,
}

struct Caller {
    expected: u32,
    deadline: Instant,
    outcome: Option<oneshot::Receiver<Result<u32, Error>>>,
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![Just(32usize), Just(200 * 1024)];
    let number = (0..8u32, 0..2usize, size);
    let number = number.prop_map(|(value, key, size)| Number { value, key, size });
    let failure = prop_oneof![
        Just(Failure::OfItems),
        Just(Failure::Unclear),
        Just(Failure::Transient),
        Just(Failure::OfForm),
        Just(Failure::OfToken),
    ];
    let status = prop_oneof![
        Just(TokenStatus::Valid),
        Just(TokenStatus::Invalid),
        Just(TokenStatus::Unknown),
    ];
    prop_oneof![
        8 => (number, 1..3_000u64, any::<bool>()).prop_map(|(n, d, r)| Step::Call(n, d, r)),
        1 => any::<usize>().prop_map(Step::GiveUp),
        2 => (1..300u64).prop_map(Step::Wait),
        1 => Just(Step::Login),
        4 => Just(Step::Send),
        4 => (any::<usize>(), prop_oneof![Just(0), any::<u128>()], failure)
            .prop_map(|(which, bits, failure)| Step::Return(which, bits, failure)),
        1 => status.prop_map(Step::CheckToken),
    ]
}

fn key(name: &str) -> Arc<TransitKey> {
    Arc::new(TransitKey {
        namespace: Namespace::default(),
        mount: MountPath::try_new("transit").expect("a mount"),
        name: KeyName::try_new(name).expect("a name"),
    })
}

fn session(generation: u64, obtained: Instant) -> Arc<Session> {
    Arc::new(Session {
        token: Arc::new(Token::try_new("token").expect("a token")),
        generation,
        obtained,
        lease: Lease {
            ttl: None,
            renewable: false,
            num_uses: 0,
        },
        expires: None,
        leased: Moment::now(),
    })
}

fn api(kind: ApiErrorKind, status: u16) -> CallError {
    CallError::Api {
        path: "transit/decrypt/kms".to_owned(),
        status,
        message: String::new(),
        kind,
        retry_after: None,
    }
}

/// What the server makes of a batch.
fn outcome(
    batch: &Batch<Number>,
    keys: &[Arc<TransitKey>],
    bits: u128,
    failure: Failure,
) -> Result<Outcomes<u32>, CallError> {
    let key = keys.iter().position(|key| Arc::ptr_eq(key, &batch.key));
    let key = u32::try_from(key.expect("a key of the model")).expect("a small number");
    let has_company = batch.items.len() > 1;
    let item_error = match failure {
        Failure::Transient if bits != 0 => return Err(api(ApiErrorKind::Transient, 500)),
        Failure::OfToken if bits != 0 => return Err(api(ApiErrorKind::TokenRefused, 403)),
        Failure::OfForm if bits != 0 && has_company => return Err(api(ApiErrorKind::Other, 400)),
        Failure::Unclear if has_company => api(ApiErrorKind::Other, 400),
        _ => api(ApiErrorKind::BadCiphertext, 400),
    };
    let outputs = batch.items.iter().enumerate().map(|(index, item)| {
        if bits >> (index % 128) & 1 == 1 {
            return Err(item_error.clone());
        }
        Ok(item.value * 10 + key)
    });
    Ok(outputs.collect())
}

struct Model {
    queue: Queue<Number>,
    /// How many of its batches may count.
    most_in_flight: usize,
    in_flight: Vec<Batch<Number>>,
    callers: Vec<Caller>,
    keys: Vec<Arc<TransitKey>>,
    session: Arc<Session>,
    checks: Vec<TokenCheck>,
    now: Instant,
}

const MAX_IN_FLIGHT: usize = 3;

impl Model {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            queue: Queue::new(Some(MAX_IN_FLIGHT), "http://127.0.0.1:8200".to_owned()),
            most_in_flight: MAX_IN_FLIGHT,
            in_flight: Vec::new(),
            callers: Vec::new(),
            keys: vec![key("kms"), key("old")],
            session: session(0, now),
            checks: Vec::new(),
            now,
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Call(number, within, retried) => self.call(number, within, retried),
            Step::GiveUp(which) if !self.callers.is_empty() => {
                let which = which % self.callers.len();
                self.callers[which].outcome = None;
            }
            Step::Wait(millis) => self.wait(millis),
            Step::Login => {
                self.session = session(self.session.generation + 1, self.now);
            }
            Step::Send => while self.send() {},
            Step::Return(which, bits, failure) if !self.in_flight.is_empty() => {
                let which = which % self.in_flight.len();
                self.return_batch(which, bits, failure);
            }
            Step::CheckToken(status) if !self.checks.is_empty() => {
                let check = self.checks.swap_remove(0);
                let generation = check.generation;
                self.queue.token_checked(generation, status, self.now, 0.5);
            }
            _ => {}
        }
    }

    fn call(&mut self, number: Number, within: u64, retried: bool) {
        let (reply, outcome) = oneshot::channel();
        let deadline = self.now + Duration::from_millis(within);
        self.queue.push(Request {
            operation: number,
            key: self.keys[number.key].clone(),
            deadline,
            policy: if retried {
                RetryPolicy::Transient
            } else {
                RetryPolicy::Once
            },
            parent: Parent::NOBODY,
            completion: Box::new(reply),
        });
        self.callers.push(Caller {
            expected: number.value * 10 + u32::try_from(number.key).expect("a small number"),
            deadline,
            outcome: Some(outcome),
        });
    }

    /// Time passes; the queue is woken whenever it asked for that.
    fn wait(&mut self, millis: u64) {
        let until = self.now + Duration::from_millis(millis);
        while let Some(wake) = self.queue.wake().filter(|wake| *wake <= until) {
            self.now = self.now.max(wake);
            self.queue.expire(self.now, || None);
            let next = self.queue.wake();
            assert!(next.is_none_or(|next| next > self.now), "a busy loop");
        }
        self.now = until;
    }

    fn send(&mut self) -> bool {
        let Some(batch) = self.queue.next(&self.session, self.now) else {
            return false;
        };
        assert!(batch.items.len() <= MAX_ITEMS);
        let bytes: usize = batch.items.iter().map(Operation::size).sum();
        assert!(batch.items.len() == 1 || bytes <= MAX_BYTES, "{bytes}");
        assert!(batch.deadline > self.now, "nobody waits for it any more");
        assert_eq!(batch.session.generation, self.session.generation);
        for (index, item) in batch.items.iter().enumerate() {
            let key = &self.keys[item.key];
            assert!(Arc::ptr_eq(key, &batch.key), "sent to another key");
            let others = &batch.items[index + 1..];
            let is_twice = others.iter().any(|other| item.is_same(other));
            assert!(!is_twice, "sent twice");
        }
        self.in_flight.push(batch);
        assert!(self.queue.counted <= self.most_in_flight);
        true
    }

    fn return_batch(&mut self, which: usize, bits: u128, failure: Failure) {
        let batch = self.in_flight.swap_remove(which);
        let outcome = outcome(&batch, &self.keys, bits, failure);
        let check = self.queue.returned(batch.id, outcome, self.now, 0.5);
        if let Some(check) = check
            && !self
                .checks
                .iter()
                .any(|it| it.generation == check.generation)
        {
            self.checks.push(check);
        }
    }

    /// From here on Vault answers everything.
    fn finish(&mut self) {
        for check in std::mem::take(&mut self.checks) {
            let status = TokenStatus::Invalid;
            let generation = check.generation;
            self.queue.token_checked(generation, status, self.now, 0.5);
        }
        for _ in 0..1_000 {
            while self.send() {}
            while !self.in_flight.is_empty() {
                self.return_batch(0, 0, Failure::OfItems);
                while self.send() {}
            }
            if self.queue.failed.delayed.is_empty() {
                break;
            }
            self.wait(10);
        }
        assert!(self.queue.waiting.is_empty() && self.queue.failed.delayed.is_empty());
        assert!(self.queue.in_flight.is_empty() && self.queue.failed.unverified.is_empty());
        assert_eq!(self.queue.counted, 0);
    }
}

proptest! {
    #[test]
    fn every_caller_who_waits_gets_the_outcome_of_its_own_call_once(
        steps in proptest::collection::vec(step(), 1..200)
    ) {
        let mut model = Model::new();
        for step in steps {
            model.take(step);
        }
        model.finish();
        model.queue.expire(model.now, || None);
        let now = model.now;
        for caller in model.callers {
            let Some(mut outcome) = caller.outcome else { continue };
            match outcome.try_recv() {
                Ok(Ok(output)) => prop_assert_eq!(output, caller.expected),
                Ok(Err(Error::Call(error))) => {
                    let kind = error.api_error();
                    prop_assert!(kind != Some(ApiErrorKind::Other), "{} of its company", error);
                }
                Ok(Err(_)) => {}
                // What expired before it was sent is dropped, or answered by the next expiry.
                Err(_) => prop_assert!(caller.deadline <= now, "forgotten"),
            }
        }
    }
}

fn number(value: u32) -> Number {
    Number {
        value,
        key: 0,
        size: 32,
    }
}

/// A model with one batch in flight that holds `count` calls.
fn one_batch_of(count: u32) -> Model {
    let mut model = Model::new();
    for value in 0..count {
        model.call(number(10 + value), 3_000, true);
    }
    assert!(model.send());
    assert_eq!(model.in_flight[0].items.len(), count as usize);
    model
}

#[test]
fn one_caller_alone_waits_for_nobody_and_company_leaves_together() {
    let mut model = Model::new();
    for value in 0..MAX_IN_FLIGHT {
        model.call(number(10 + value as u32), 100, true);
        assert!(model.send());
        assert_eq!(model.in_flight[value].items.len(), 1);
    }
    for value in 0..200 {
        model.call(number(100 + value), 100, true);
        assert!(!model.send());
    }
    model.return_batch(0, 0, Failure::OfItems);
    assert!(model.send());
    assert_eq!(model.in_flight[2].items.len(), MAX_ITEMS);
}

#[test]
fn without_a_fixed_number_more_leave_while_the_server_is_far_rather_than_busy() {
    let mut model = Model::new();
    model.queue = Queue::new(None, "http://127.0.0.1:8200".to_owned());
    model.most_in_flight = 8;
    let mut value = 10;
    let mut most = 1;
    for round in 0..60 {
        model.call(number(value), 3_000, true);
        while model.send() && round > 0 {
            value += 1;
            model.call(number(value), 3_000, true);
        }
        value += 1;
        most = most.max(model.in_flight.len());
        model.wait(10);
        while !model.in_flight.is_empty() {
            model.return_batch(0, 0, Failure::OfItems);
        }
        assert!(round > 8 || most <= 2, "{most} after {round} rounds");
    }
    assert_eq!(most, 8);
}

#[test]
fn a_batch_that_hangs_does_not_hold_up_the_next() {
    let mut model = Model::new();
    for value in 0..10 {
        model.call(number(10 + value), 3_000, true);
        while model.send() {}
        model.wait(101);
    }
    assert_eq!(model.in_flight.len(), 10);
}

#[test]
fn a_batch_that_failed_transiently_is_retried_as_one_batch_behind_what_came_meanwhile() {
    let mut model = one_batch_of(100);
    model.return_batch(0, u128::MAX, Failure::Transient);
    assert!(!model.send(), "sent again without a backoff");
    for value in 0..MAX_IN_FLIGHT {
        model.call(number(1_000 + value as u32), 3_000, true);
        assert!(model.send());
    }
    model.call(number(2_000), 3_000, true);
    model.wait(30);
    model.return_batch(0, 0, Failure::OfItems);
    assert!(model.send());
    let batch = &model.in_flight[model.in_flight.len() - 1];
    assert_eq!(batch.items[0].value, 2_000, "a retry jumped the queue");
    assert_eq!(batch.items.len(), 101, "the batch was split");
}

#[test]
fn a_batch_that_failed_for_its_form_is_halved_until_the_bad_item_is_alone() {
    let mut model = one_batch_of(128);
    let bad = 10 + 77;
    let mut requests = 1;
    while !model.in_flight.is_empty() {
        let batch = model.in_flight.swap_remove(0);
        let is_bad = batch.items.iter().any(|item| item.value == bad);
        let outcome = if is_bad {
            Err(api(ApiErrorKind::Other, 400))
        } else {
            outcome(&batch, &model.keys, 0, Failure::OfItems)
        };
        model.queue.returned(batch.id, outcome, model.now, 0.5);
        while model.send() {
            requests += 1;
        }
    }
    // Two halves for each of the seven times that 128 can be halved.
    assert!(requests <= 1 + 2 * 7, "{requests}");
    for caller in model.callers {
        let outcome = caller.outcome.expect("waits").try_recv().expect("answered");
        assert_eq!(outcome.is_err(), caller.expected == bad * 10);
    }
}

#[test]
fn an_equal_decrypt_of_another_key_is_not_shared() {
    let mut model = Model::new();
    for key in [0, 1, 0] {
        let number = Number {
            value: 1,
            key,
            size: 32,
        };
        model.call(number, 3_000, true);
    }
    while model.send() {}
    assert_eq!(model.in_flight.len(), 2);
    while !model.in_flight.is_empty() {
        model.return_batch(0, 0, Failure::OfItems);
    }
    let outcomes = model.callers.into_iter().map(|caller| {
        let mut outcome = caller.outcome.expect("waits");
        outcome.try_recv().expect("answered").expect("a number")
    });
    assert_eq!(outcomes.collect::<Vec<_>>(), [10, 11, 10]);
}

/// The outcome of the only caller of a model whose token was rejected and checked so, if at all.
fn outcome_of_a_rejected_token(within: u64, checked: Option<TokenStatus>) -> Result<u32, Error> {
    let mut model = Model::new();
    model.call(number(10), within, true);
    assert!(model.send());
    model.return_batch(0, 1, Failure::OfToken);
    assert_eq!(model.checks.len(), 1);
    if let Some(status) = checked {
        model.take(Step::CheckToken(status));
    }
    model.wait(within);
    let outcome = model.callers.remove(0).outcome;
    outcome.expect("waits").try_recv().expect("answered")
}

#[test]
fn a_token_that_was_not_checked_in_time_says_nothing_of_the_key() {
    for (within, checked) in [
        // The check is still under way at the deadline.
        (3_000, None),
        // It ended without a result, and no session was found to try again with.
        (3_000, Some(TokenStatus::Unknown)),
        // The same, with no time for another attempt.
        (20, Some(TokenStatus::Unknown)),
        // The token was invalid, and no new session came in time.
        (3_000, Some(TokenStatus::Invalid)),
    ] {
        let outcome = outcome_of_a_rejected_token(within, checked);
        let is_unverified = matches!(outcome, Err(Error::TokenUnverified(_)));
        assert!(is_unverified, "{within} {checked:?}: {outcome:?}");
    }
    let outcome = outcome_of_a_rejected_token(3_000, Some(TokenStatus::Valid));
    assert!(matches!(outcome, Err(Error::Call(_))), "{outcome:?}");
}

#[test]
fn a_last_attempt_without_an_answer_does_not_hide_the_reason_of_the_one_before() {
    for returns in [false, true] {
        let mut model = Model::new();
        model.call(number(10), 3_000, true);
        assert!(model.send());
        model.return_batch(0, 1, Failure::Transient);
        model.wait(50);
        assert!(model.send());
        if returns {
            model.wait(2_949);
            let id = model.in_flight.swap_remove(0).id;
            let timed_out = CallError::TimedOut {
                path: "transit/decrypt/kms".to_owned(),
                address: "http://127.0.0.1:8200".to_owned(),
            };
            model.queue.returned(id, Err(timed_out), model.now, 0.5);
        } else {
            model.wait(2_950);
        }
        let outcome = model.callers.remove(0).outcome.expect("waits").try_recv();
        let Ok(Err(Error::Call(error))) = outcome else {
            panic!("returns: {returns}: {outcome:?}")
        };
        let kind = error.api_error();
        assert_eq!(kind, Some(ApiErrorKind::Transient), "{returns}: {error}");
    }
}

impl Model {
    /// The outcome of a caller, if it has one.
    fn outcome_of(&mut self, caller: usize) -> Option<Result<u32, Error>> {
        let outcome = self.callers[caller].outcome.as_mut().expect("it waits");
        outcome.try_recv().ok()
    }
}

#[test]
fn a_call_whose_caller_has_gone_is_not_sent() {
    let mut model = Model::new();
    model.call(number(5), 1_000, true);
    model.callers[0].outcome = None;
    assert!(!model.send());
}

#[test]
fn an_item_is_sent_again_alone_only_if_its_error_says_too_little_in_company() {
    for (failure, is_sent_again) in [(Failure::Unclear, true), (Failure::OfItems, false)] {
        let mut model = Model::new();
        model.call(number(5), 1_000, true);
        model.call(number(6), 1_000, true);
        assert!(model.send());
        model.return_batch(0, 0b01, failure);
        assert_eq!(model.outcome_of(0).is_none(), is_sent_again, "{failure:?}");
        assert!(matches!(model.outcome_of(1), Some(Ok(60))), "{failure:?}");
        assert_eq!(model.send(), is_sent_again, "{failure:?}");
    }
    // What is alone has its answer.
    let mut model = Model::new();
    model.call(number(5), 1_000, true);
    assert!(model.send());
    let batch = model.in_flight.remove(0);
    let unclear = api(ApiErrorKind::Other, 400);
    let outcome = Ok(vec![Err(unclear)]);
    assert!(
        model
            .queue
            .returned(batch.id, outcome, model.now, 0.5)
            .is_none()
    );
    assert!(matches!(model.outcome_of(0), Some(Err(Error::Call(_)))));
    assert!(!model.send());
}

#[test]
fn after_a_failure_that_may_pass_who_may_retry_waits_for_the_backoff_and_the_others_are_answered() {
    for status in [TokenStatus::Valid, TokenStatus::Invalid] {
        let mut model = Model::new();
        model.call(number(5), 1_000, true);
        model.call(number(6), 1_000, false);
        assert!(model.send());
        let (bits, failed) = match status {
            TokenStatus::Valid => (1, Failure::Transient),
            _ => (1, Failure::OfToken),
        };
        model.return_batch(0, bits, failed);
        assert_eq!(model.outcome_of(1).is_some(), status == TokenStatus::Valid);
        assert!(model.outcome_of(0).is_none());
        assert!(
            !model.send(),
            "before the backoff, or the check of the token, has ended"
        );
        if status == TokenStatus::Valid {
            let wake = model.queue.wake().expect("the end of the backoff");
            assert!(wake > model.now);
            model.queue.expire(model.now, || None);
            assert!(!model.send());
            model.wait(u64::try_from((wake - model.now).as_millis()).expect("soon") + 1);
            assert!(model.send());
        }
    }
}

#[test]
fn a_batch_counts_until_it_is_slow() {
    let mut model = Model::new();
    model.call(number(5), 60_000, true);
    assert!(model.send());
    assert_eq!(model.queue.wake(), Some(model.now + SLOW_AFTER));
    let millis = u64::try_from(SLOW_AFTER.as_millis()).expect("short");
    model.wait(millis - 1);
    model.queue.expire(model.now, || None);
    assert_eq!(model.queue.counted, 1);
    model.wait(1);
    assert_eq!(model.queue.counted, 0);
}

#[test]
fn a_batch_takes_as_many_items_as_fit() {
    let mut model = Model::new();
    for value in 4..10 {
        let size = MAX_BYTES / 4;
        model.call(
            Number {
                value,
                key: 0,
                size,
            },
            1_000,
            true,
        );
    }
    while model.send() {}
    let sizes: Vec<_> = model.in_flight.iter().map(|it| it.items.len()).collect();
    assert_eq!(sizes, [4, 2]);
}

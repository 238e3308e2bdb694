//! A lane against a model: whatever happens in whatever order, every caller who is still there gets
//! one outcome, and it is that of what it asked for.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::session::Session;
use crate::vault::{KeyName, Lease, MountPath, Namespace, Token};

/// A number to be given back, ten times as large.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Number {
    value: u32,
    shared: bool,
    size: usize,
}

impl Load for Number {
    type Made = u32;

    fn size(&self) -> usize {
        self.size
    }

    fn is_same(&self, other: &Self) -> bool {
        self.shared && self == other
    }

    fn copy(made: &u32) -> u32 {
        *made
    }
}

/// What can happen, in any order.
#[derive(Debug, Clone)]
enum Step {
    /// A call comes: its number, its deadline in milliseconds, and which session it has.
    Ask(Number, u64, u64),
    /// A caller gives up.
    Leave(usize),
    /// Time goes by.
    Wait(u64),
    /// What may leave leaves.
    Send,
    /// A batch takes long.
    Late(usize),
    /// A batch comes back; the items whose bit is set failed, or all of it.
    Return(usize, u128, Failure),
}

#[derive(Debug, Clone, Copy)]
enum Failure {
    /// Of items, for what they are.
    OfItems,
    /// Of items, perhaps for their company.
    PerhapsOfCompany,
    /// Of the whole batch, which will pass.
    Passing,
    /// Of the whole batch, for its form.
    OfForm,
}

struct Caller {
    value: u32,
    deadline: Instant,
    outcome: Option<oneshot::Receiver<Result<u32, CallError>>>,
}

fn step() -> impl Strategy<Value = Step> {
    let number = (
        0..8u32,
        any::<bool>(),
        prop_oneof![Just(32usize), Just(200 * 1024)],
    );
    let number = number.prop_map(|(value, shared, size)| Number {
        value,
        shared,
        size,
    });
    let failure = prop_oneof![
        Just(Failure::OfItems),
        Just(Failure::PerhapsOfCompany),
        Just(Failure::Passing),
        Just(Failure::OfForm)
    ];
    prop_oneof![
        8 => (number, 1..500u64, 0..2u64).prop_map(|(n, d, s)| Step::Ask(n, d, s)),
        1 => any::<usize>().prop_map(Step::Leave),
        1 => (1..100u64).prop_map(Step::Wait),
        4 => Just(Step::Send),
        1 => any::<usize>().prop_map(Step::Late),
        4 => (any::<usize>(), prop_oneof![Just(0), any::<u128>()], failure)
            .prop_map(|(which, bits, failure)| Step::Return(which, bits, failure)),
    ]
}

fn routes() -> Vec<Route> {
    let key = Arc::new(TransitKey {
        namespace: Namespace::default(),
        mount: MountPath::try_new("transit").expect("a mount"),
        name: KeyName::try_new("kms").expect("a name"),
    });
    let session = |generation| {
        Arc::new(Session {
            token: Arc::new(Token::try_new("token").expect("a token")),
            generation,
            obtained: Instant::now(),
            lease: Lease {
                ttl: None,
                renewable: false,
                num_uses: 0,
            },
            expires: None,
        })
    };
    let route = |generation| Route {
        key: key.clone(),
        session: session(generation),
    };
    vec![route(0), route(1)]
}

fn refused(kind: ApiErrorKind, status: u16) -> CallError {
    CallError::Api {
        path: "transit/encrypt/kms".to_owned(),
        status,
        message: String::new(),
        kind,
        retry_after: None,
    }
}

/// What the server makes of a batch.
fn outcome(
    batch: &Batch<Number>,
    bits: u128,
    failure: Failure,
) -> Result<Outcomes<u32>, CallError> {
    let failed = |index: usize| bits >> (index % 128) & 1 == 1;
    let item_error = match failure {
        Failure::Passing if bits != 0 => return Err(refused(ApiErrorKind::Transient, 503)),
        Failure::OfForm if bits != 0 && batch.loads.len() > 1 => {
            return Err(refused(ApiErrorKind::Other, 400));
        }
        Failure::PerhapsOfCompany if batch.loads.len() > 1 => refused(ApiErrorKind::Other, 400),
        _ => refused(ApiErrorKind::BadCiphertext, 400),
    };
    let made = batch.loads.iter().enumerate().map(|(index, load)| {
        if failed(index) {
            return Err(item_error.clone());
        }
        Ok(load.value * 10)
    });
    Ok(made.collect())
}

struct Model {
    lane: Lane<Number>,
    out: Vec<Batch<Number>>,
    late: Vec<BatchId>,
    callers: Vec<Caller>,
    routes: Vec<Route>,
    now: Instant,
}

const MOST_OUT: usize = 3;

impl Model {
    fn new() -> Self {
        Self {
            lane: Lane::new(MOST_OUT),
            out: Vec::new(),
            late: Vec::new(),
            callers: Vec::new(),
            routes: routes(),
            now: Instant::now(),
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Ask(load, within, session) => self.ask(load, within, session as usize),
            Step::Leave(which) if !self.callers.is_empty() => {
                let which = which % self.callers.len();
                self.callers[which].outcome = None;
            }
            Step::Wait(time) => self.now += Duration::from_millis(time),
            Step::Send => while self.send() {},
            Step::Late(which) if !self.out.is_empty() => {
                let id = self.out[which % self.out.len()].id;
                self.lane.late(id);
                self.late.push(id);
            }
            Step::Return(which, bits, failure) if !self.out.is_empty() => {
                let batch = self.out.swap_remove(which % self.out.len());
                let outcome = outcome(&batch, bits, failure);
                self.lane.returned(batch.id, outcome);
            }
            _ => {}
        }
    }

    fn ask(&mut self, load: Number, within: u64, session: usize) {
        let (reply, outcome) = oneshot::channel();
        let deadline = self.now + Duration::from_millis(within);
        let waiter = Waiter {
            deadline,
            parent: Parent::NOBODY,
            reply,
        };
        let route = self.routes[session].clone();
        self.lane.push(Ask {
            load,
            route,
            waiter,
        });
        self.callers.push(Caller {
            value: load.value,
            deadline,
            outcome: Some(outcome),
        });
    }

    fn send(&mut self) -> bool {
        let Some(batch) = self.lane.next(self.now) else {
            return false;
        };
        assert!(batch.loads.len() <= MOST_ITEMS);
        let bytes: usize = batch.loads.iter().map(Load::size).sum();
        assert!(batch.loads.len() == 1 || bytes <= MOST_BYTES, "{bytes}");
        assert!(batch.deadline > self.now, "nobody waits for it any more");
        for (index, load) in batch.loads.iter().enumerate() {
            let others = &batch.loads[index + 1..];
            assert!(
                !others.iter().any(|other| load.is_same(other)),
                "sent twice"
            );
        }
        self.out.push(batch);
        let counted = self
            .out
            .iter()
            .filter(|batch| !self.late.contains(&batch.id));
        assert!(counted.count() <= MOST_OUT);
        true
    }

    /// From here on Vault answers everything.
    fn finish(&mut self) {
        while self.send() || !self.out.is_empty() {
            if let Some(batch) = self.out.pop() {
                let outcome = outcome(&batch, 0, Failure::OfItems);
                self.lane.returned(batch.id, outcome);
            }
        }
        assert!(self.lane.waiting.is_empty() && self.lane.out.is_empty());
        assert_eq!(self.lane.counted, 0);
    }
}

proptest! {
    #[test]
    fn every_caller_who_is_there_gets_its_own_outcome_once(
        steps in proptest::collection::vec(step(), 1..200)
    ) {
        let mut model = Model::new();
        for step in steps {
            model.take(step);
        }
        model.finish();
        let now = model.now;
        for caller in model.callers {
            let Some(mut outcome) = caller.outcome else { continue };
            match outcome.try_recv() {
                Ok(Ok(made)) => prop_assert_eq!(made, caller.value * 10),
                Ok(Err(error)) => {
                    let told = matches!(
                        error.api_error(),
                        Some(ApiErrorKind::BadCiphertext | ApiErrorKind::Transient)
                    );
                    prop_assert!(told, "{} stands for its company", error);
                }
                // What expired is dropped, and its caller knows by its own clock.
                Err(_) => prop_assert!(caller.deadline <= now, "forgotten"),
            }
        }
    }
}

#[test]
fn one_caller_alone_waits_for_nobody_and_company_leaves_together() {
    let mut model = Model::new();
    let number = |value| Number {
        value,
        shared: false,
        size: 32,
    };
    for value in 0..MOST_OUT as u32 {
        model.ask(number(value), 100, 0);
        assert!(model.send());
        assert_eq!(model.out[value as usize].loads.len(), 1);
    }
    for value in 0..200 {
        model.ask(number(value), 100, 0);
        assert!(!model.send());
    }
    let first = model.out.remove(0);
    model
        .lane
        .returned(first.id, outcome(&first, 0, Failure::OfItems));
    assert!(model.send());
    assert_eq!(model.out[2].loads.len(), MOST_ITEMS);
}

#[test]
fn a_batch_that_hangs_does_not_hold_up_the_next() {
    let mut model = Model::new();
    for value in 0..10 {
        let number = Number {
            value,
            shared: false,
            size: 32,
        };
        model.ask(number, 100, 0);
        while model.send() {}
        let ids: Vec<_> = model.out.iter().map(|batch| batch.id).collect();
        for id in ids {
            model.lane.late(id);
            model.late.push(id);
        }
    }
    assert_eq!(model.out.len(), 10);
}

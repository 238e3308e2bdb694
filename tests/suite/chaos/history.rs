//! What was called and answered, and whether that is what registers would do.
//!
//! Each write has a value of its own and names the revision that it replaces, so that the revisions of etcd order all
//! operations on a Secret: whatever began after another one ended must not see an earlier revision.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long after its end a fault explains failures: a Status is a minute old at most, and a refresh waits for 30 s.
const GRACE: Duration = Duration::from_secs(100);

/// A Secret, by number.
pub(super) type Register = usize;

/// What came of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It read this value at this revision.
    Read { value: String, revision: i64 },
    /// It replaced `base`, and is `revision`.
    Written {
        value: String,
        base: i64,
        revision: i64,
    },
    /// The plugin answered as it should.
    Answered,
    /// Another write came first.
    Conflict,
    /// It failed; a write may have happened all the same.
    Failed {
        value: Option<String>,
        error: String,
    },
}

/// An operation.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    pub(super) node: usize,
    pub(super) what: &'static str,
    /// `None` if it is of the plugin's socket.
    pub(super) register: Option<Register>,
    pub(super) began: Duration,
    pub(super) ended: Duration,
    pub(super) outcome: Outcome,
}

/// A fault, and what it explains.
#[derive(Debug, Clone)]
pub(super) struct Window {
    pub(super) name: String,
    /// `None` is all.
    pub(super) node: Option<usize>,
    pub(super) began: Duration,
    pub(super) ended: Duration,
}

/// All operations so far.
#[derive(Debug, Clone)]
pub(super) struct History {
    origin: Instant,
    operations: Arc<Mutex<Vec<Operation>>>,
}

impl History {
    pub(super) fn new(origin: Instant) -> Self {
        Self {
            origin,
            operations: Arc::default(),
        }
    }

    /// Since its beginning.
    pub(super) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    pub(super) fn add(&self, operation: Operation) {
        self.operations.lock().unwrap().push(operation);
    }

    fn all(&self) -> Vec<Operation> {
        self.operations.lock().unwrap().clone()
    }

    /// Checks each register. Returns the last value of each, or several where a failed write may have been the last.
    pub(super) fn check_registers(&self) -> BTreeMap<Register, Vec<String>> {
        let mut registers: BTreeMap<Register, Vec<Operation>> = BTreeMap::new();
        for operation in self.all() {
            if let Some(register) = operation.register {
                registers.entry(register).or_default().push(operation);
            }
        }
        let checked = registers.into_iter();
        checked
            .map(|(register, operations)| (register, check(register, operations)))
            .collect()
    }

    /// Failures that no fault explains.
    pub(super) fn unexplained(&self, windows: &[Window]) -> Vec<Operation> {
        let failed = self.all().into_iter().filter(|operation| {
            matches!(operation.outcome, Outcome::Failed { .. })
                && !windows.iter().any(|window| window.explains(operation))
        });
        failed.collect()
    }

    /// Prints what was done, and which faults explain which failures.
    pub(super) fn report(&self, windows: &[Window]) {
        let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        let mut explained: BTreeMap<String, u64> = BTreeMap::new();
        for operation in self.all() {
            let outcome = match &operation.outcome {
                Outcome::Read { .. } | Outcome::Written { .. } | Outcome::Answered => "ok",
                Outcome::Conflict => "conflict",
                Outcome::Failed { .. } => "failed",
            };
            *counts.entry((operation.what, outcome)).or_default() += 1;
            if outcome == "failed" {
                // The latest fault is the likeliest.
                let by = windows.iter().rev().find(|it| it.explains(&operation));
                let name = by.map_or("nothing".to_owned(), |window| window.name.clone());
                *explained.entry(name).or_default() += 1;
            }
        }
        eprintln!("{} faults; operations: {counts:?}", windows.len());
        eprintln!("failed calls by their latest fault: {explained:?}");
    }
}

impl Window {
    fn explains(&self, operation: &Operation) -> bool {
        self.node.is_none_or(|node| node == operation.node)
            && operation.ended >= self.began
            && operation.began <= self.ended + GRACE
    }
}

fn check(register: Register, mut operations: Vec<Operation>) -> Vec<String> {
    let values = values_by_revision(register, &operations);
    let mut maybe = Vec::new();
    for operation in &operations {
        if let Outcome::Failed {
            value: Some(value), ..
        } = &operation.outcome
        {
            maybe.push(value.clone());
        }
        // A write replaces exactly what it names.
        if let Outcome::Written { base, revision, .. } = &operation.outcome {
            let between = values.range(base + 1..*revision).next();
            assert_eq!(between, None, "register {register}: lost by {operation:?}");
        }
    }
    assert_no_step_back(register, &mut operations);
    let (_, last) = values.last_key_value().expect("written once");
    let mut possible = vec![last.clone()];
    possible.extend(maybe);
    possible
}

/// The value of each revision that was seen; each write that was seen was made.
fn values_by_revision(register: Register, operations: &[Operation]) -> BTreeMap<i64, String> {
    let mut values = BTreeMap::new();
    let mut made: HashMap<&String, ()> = HashMap::new();
    for operation in operations {
        match &operation.outcome {
            Outcome::Written { value, .. } => drop(made.insert(value, ())),
            Outcome::Failed {
                value: Some(value), ..
            } => drop(made.insert(value, ())),
            _ => {}
        }
        let (Outcome::Read { value, revision }
        | Outcome::Written {
            value, revision, ..
        }) = &operation.outcome
        else {
            continue;
        };
        let known = values.entry(*revision).or_insert_with(|| value.clone());
        assert_eq!(known, value, "register {register}: {operation:?}");
    }
    for (revision, value) in &values {
        let is_made = made.contains_key(value);
        assert!(
            is_made,
            "register {register}: {value} at {revision} was never written"
        );
    }
    values
}

/// Whatever began after another operation ended sees its revision or a later one.
fn assert_no_step_back(register: Register, operations: &mut [Operation]) {
    let seen = |operation: &Operation| match operation.outcome {
        Outcome::Read { revision, .. } | Outcome::Written { revision, .. } => Some(revision),
        _ => None,
    };
    let mut ends: Vec<_> = operations
        .iter()
        .filter_map(|operation| Some((operation.ended, seen(operation)?)))
        .collect();
    ends.sort_unstable();
    operations.sort_by_key(|operation| operation.began);
    let mut ended = ends.into_iter().peekable();
    let mut latest = 0;
    for operation in operations.iter() {
        while let Some((_, revision)) = ended.next_if(|(end, _)| *end < operation.began) {
            latest = latest.max(revision);
        }
        if let Some(revision) = seen(operation) {
            assert!(
                revision >= latest,
                "register {register}: {latest} was seen before {operation:?}"
            );
        }
    }
}

fn operation(began: u64, ended: u64, outcome: Outcome) -> Operation {
    Operation {
        node: 0,
        what: "test",
        register: Some(0),
        began: Duration::from_secs(began),
        ended: Duration::from_secs(ended),
        outcome,
    }
}

fn written(began: u64, ended: u64, value: &str, base: i64, revision: i64) -> Operation {
    let value = value.to_owned();
    let outcome = Outcome::Written {
        value,
        base,
        revision,
    };
    operation(began, ended, outcome)
}

fn read(began: u64, ended: u64, value: &str, revision: i64) -> Operation {
    let value = value.to_owned();
    operation(began, ended, Outcome::Read { value, revision })
}

/// The checker finds each kind of fault, and nothing where there is none.
fn the_checker_finds_what_is_wrong() {
    let refused = |operations: Vec<Operation>| {
        let checked = std::panic::catch_unwind(|| check(0, operations));
        checked.is_err()
    };
    let one = || written(0, 1, "a", 0, 5);
    assert!(!refused(vec![
        one(),
        read(2, 3, "a", 5),
        written(4, 5, "b", 5, 9)
    ]));
    assert!(!refused(vec![
        one(),
        written(2, 6, "b", 5, 9),
        read(3, 4, "a", 5)
    ]));
    assert!(
        refused(vec![one(), read(2, 3, "never written", 6)]),
        "a value from nowhere"
    );
    assert!(
        refused(vec![one(), read(2, 3, "b", 5), written(4, 5, "b", 5, 9)]),
        "another value"
    );
    assert!(
        refused(vec![one(), written(2, 3, "b", 5, 9), read(4, 5, "a", 5)]),
        "a stale read"
    );
    let lost = vec![one(), written(2, 3, "b", 5, 9), written(4, 5, "c", 5, 12)];
    assert!(refused(lost), "a lost write");
}

fn a_failure_long_after_its_fault_or_on_another_node_is_not_explained() {
    let window = Window {
        name: "fault".to_owned(),
        node: Some(0),
        began: Duration::from_secs(100),
        ended: Duration::from_secs(110),
    };
    let error = String::new();
    let failed = |began: u64| {
        operation(
            began,
            began + 1,
            Outcome::Failed {
                value: None,
                error: error.clone(),
            },
        )
    };
    assert!(window.explains(&failed(105)));
    assert!(window.explains(&failed(150)));
    assert!(!window.explains(&failed(98)));
    assert!(!window.explains(&failed(111 + GRACE.as_secs())));
    let elsewhere = Operation {
        node: 1,
        ..failed(105)
    };
    assert!(!window.explains(&elsewhere));
}

tests! {
    plain the_checker_finds_what_is_wrong;
    plain a_failure_long_after_its_fault_or_on_another_node_is_not_explained;
}

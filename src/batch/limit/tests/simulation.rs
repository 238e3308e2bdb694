//! The limit against a model of callers, a batcher and Vault: how many calls are answered in a second.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::super::{Limit, Sample};

/// How long it simulates, in microseconds: the first second does not count.
const END: u64 = 6_000_000;
const COUNTED_FROM: u64 = 1_000_000;
const MAX_ITEMS: usize = 128;
/// What one call costs the plugin and its caller, one after the other, until the caller calls again.
const CALL: u64 = 20;

/// Times are in microseconds.
#[derive(Clone, Copy, Debug)]
struct Server {
    round_trip: u64,
    /// What it costs one of its cores.
    request: u64,
    item: u64,
    cores: usize,
}

/// Vault, the plugin and the callers on the same cores.
const NEARBY: Server = Server {
    round_trip: 50,
    request: 700,
    item: 50,
    cores: 1,
};
const NEARBY_ON_TWO_CORES: Server = Server { cores: 2, ..NEARBY };
const FAR: Server = Server {
    round_trip: 5_000,
    request: 600,
    item: 20,
    cores: 4,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Call,
    /// Of the batch with this number.
    Response(usize),
}

struct Batch {
    sent: u64,
    items: usize,
    is_alone: bool,
    was_at_limit: bool,
}

struct Simulation {
    server: Server,
    limit: Limit,
    /// When each core is free.
    cores: Vec<u64>,
    waiting: usize,
    /// What happens next, and when.
    events: BinaryHeap<Reverse<(u64, Event)>>,
    batches: Vec<Batch>,
    in_flight: Vec<usize>,
    answered: usize,
}

impl Simulation {
    fn new(server: Server, limit: Limit) -> Self {
        Self {
            server,
            limit,
            cores: vec![0; server.cores],
            waiting: 0,
            events: BinaryHeap::new(),
            batches: Vec::new(),
            in_flight: Vec::new(),
            answered: 0,
        }
    }

    fn send(&mut self, now: u64) {
        while self.waiting > 0 && self.in_flight.len() < self.limit.current() {
            let items = self.waiting.min(MAX_ITEMS);
            self.waiting -= items;
            let is_alone = self.in_flight.is_empty();
            for id in &self.in_flight {
                self.batches[*id].is_alone = false;
            }
            let id = self.batches.len();
            let back = self.server_answers(now, items);
            self.events.push(Reverse((back, Event::Response(id))));
            self.in_flight.push(id);
            self.batches.push(Batch {
                sent: now,
                items,
                is_alone,
                was_at_limit: self.in_flight.len() >= self.limit.current(),
            });
        }
    }

    /// When a batch that leaves now comes back.
    fn server_answers(&mut self, now: u64, items: usize) -> u64 {
        let arrives = now + self.server.round_trip / 2;
        let core = self.cores.iter_mut().min().expect("it has cores");
        *core = arrives.max(*core) + self.server.request + self.server.item * items as u64;
        *core + self.server.round_trip / 2
    }

    fn returned(&mut self, now: u64, id: usize) {
        self.in_flight.retain(|it| *it != id);
        let batch = &self.batches[id];
        self.limit.record(Sample {
            took: Duration::from_micros(now - batch.sent),
            was_alone: batch.is_alone,
            was_at_limit: batch.was_at_limit,
            has_failed: false,
        });
        if now > COUNTED_FROM {
            self.answered += batch.items;
        }
        self.calls(now, batch.items);
    }

    fn calls(&mut self, now: u64, count: usize) {
        let times = (1..=count as u64).map(|place| now + place * CALL);
        self.events
            .extend(times.map(|at| Reverse((at, Event::Call))));
    }

    /// Each caller calls again as soon as it is answered; at first there is one, later all.
    fn run(mut self, callers: usize) -> Self {
        self.calls(0, 1);
        let mut are_all_there = false;
        while let Some(Reverse((now, event))) = self.events.pop() {
            if now > END {
                break;
            }
            match event {
                Event::Call => self.waiting += 1,
                Event::Response(id) => self.returned(now, id),
            }
            if now > COUNTED_FROM / 2 && !are_all_there {
                are_all_there = true;
                self.calls(now, callers - 1);
            }
            self.send(now);
        }
        self
    }
}

fn rate(server: Server, callers: usize, fixed: Option<usize>) -> f64 {
    let ended = Simulation::new(server, Limit::new(fixed)).run(callers);
    ended.answered as f64
}

#[test]
fn it_is_as_good_as_two_nearby_and_better_far_away() {
    for callers in [4, 16, 64, 256] {
        for (server, at_least) in [(NEARBY, 0.98), (NEARBY_ON_TWO_CORES, 0.98), (FAR, 1.4)] {
            let ratio = rate(server, callers, None) / rate(server, callers, Some(2));
            assert!(ratio >= at_least, "{server:?}, {callers} callers: {ratio}");
        }
    }
}

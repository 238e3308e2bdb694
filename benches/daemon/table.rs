//! The table of many callers, what it has to reach, and its chart.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::crowd::{Kind, Seen};
use super::figures::millis;

/// One place in the table.
pub(super) struct Cell {
    pub(super) kind: Kind,
    pub(super) callers: usize,
    pub(super) round_trip: Duration,
    /// One for each round.
    pub(super) seen: Vec<Seen>,
}

/// A ratio of two kinds with the same callers and distance, and what it has to be.
struct Goal {
    of: Kind,
    to: Kind,
    callers: usize,
    least: f64,
}

const GOALS: [Goal; 5] = [
    Goal::new(Kind::Encrypt, Kind::PlainEncrypt, 64, 2.5),
    Goal::new(Kind::Decrypt, Kind::PlainDecrypt, 64, 2.5),
    Goal::new(Kind::Encrypt, Kind::PlainEncrypt, 256, 3.0),
    Goal::new(Kind::Decrypt, Kind::PlainDecrypt, 256, 3.0),
    Goal::new(Kind::SameDecrypt, Kind::PlainDecrypt, 64, 4.0),
];

impl Goal {
    const fn new(of: Kind, to: Kind, callers: usize, least: f64) -> Self {
        Self {
            of,
            to,
            callers,
            least,
        }
    }
}

impl Cell {
    /// Calls in a second, in the middle round.
    fn rate(&self) -> f64 {
        median(self.seen.iter().map(|seen| seen.rate))
    }

    fn percentile(&self, percent: usize) -> Duration {
        let times = self.seen.iter().map(|seen| seen.taken.percentile(percent));
        Duration::from_secs_f64(median(times.map(|time| time.as_secs_f64())))
    }

    fn is(&self, kind: Kind, callers: usize, round_trip: Duration) -> bool {
        (self.kind, self.callers, self.round_trip) == (kind, callers, round_trip)
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn find(cells: &[Cell], kind: Kind, callers: usize, round_trip: Duration) -> &Cell {
    let mut found = cells
        .iter()
        .filter(|cell| cell.is(kind, callers, round_trip));
    found.next().expect("every kind is measured")
}

/// All cells, a line each.
pub(super) fn table(cells: &[Cell]) -> String {
    let mut text = format!(
        "{:<6}{:>8}  {:<22}{:>10}{:>12}{:>12}{:>12}{:>10}\n",
        "RTT", "callers", "", "calls/s", "p50", "p99", "requests", "CPU us"
    );
    for cell in cells {
        let requests = median(cell.seen.iter().map(|seen| seen.requests));
        let cpu = median(cell.seen.iter().map(|seen| seen.cpu));
        let (requests, cpu) = match cell.kind.is_plain() {
            true => ("1".to_owned(), String::new()),
            false => (format!("{requests:.3}"), format!("{cpu:.0}")),
        };
        text += &format!(
            "{:<6}{:>8}  {:<22}{:>10.0}{:>12}{:>12}{requests:>12}{cpu:>10}\n",
            format!("{} ms", cell.round_trip.as_millis()),
            cell.callers,
            cell.kind.name(),
            cell.rate(),
            millis(cell.percentile(50)),
            millis(cell.percentile(99)),
        );
    }
    text
}

/// What has to be reached, and what was.
pub(super) fn goals(cells: &[Cell], far: Duration) -> String {
    let mut text = "goals\n\n".to_owned();
    for goal in GOALS {
        let rate = |kind| find(cells, kind, goal.callers, Duration::ZERO).rate();
        let ratio = rate(goal.of) / rate(goal.to);
        let name = format!("{}, {} callers", goal.of.name(), goal.callers);
        text += &format!(
            "{name:<36}{ratio:>6.2} x plain HTTP   (goal: at least {})\n",
            goal.least
        );
    }
    let requests = &find(cells, Kind::Encrypt, 64, Duration::ZERO).seen;
    let requests = median(requests.iter().map(|seen| seen.requests));
    text += &format!(
        "{:<36}{requests:>6.3} per Encrypt    (goal: at most 0.1)\n",
        "requests to Vault, 64 callers"
    );
    for (ours, plain) in [
        (Kind::Encrypt, Kind::PlainEncrypt),
        (Kind::Decrypt, Kind::PlainDecrypt),
    ] {
        let p50 = |kind, callers| find(cells, kind, callers, far).percentile(50).as_secs_f64();
        let ratio = p50(ours, 64) / p50(plain, 1);
        let name = format!(
            "{} p50, 64 callers, {} ms away",
            ours.name(),
            far.as_millis()
        );
        text += &format!("{name:<36}{ratio:>6.2} x a plain call  (goal: at most 2.2)\n");
    }
    text
}

/// Calls in a second beside plain HTTP, as bars.
pub(super) fn chart(cells: &[Cell], path: &Path) {
    let svg = super::chart::bars(&series(cells));
    fs::write(path, svg).expect("the chart can be written");
}

/// For every number of callers: a name and a rate each.
fn series(cells: &[Cell]) -> Vec<(usize, Vec<(&'static str, f64)>)> {
    let near = cells.iter().filter(|cell| cell.round_trip.is_zero());
    let mut groups: Vec<(usize, Vec<(&'static str, f64)>)> = Vec::new();
    for cell in near.filter(|cell| cell.kind != Kind::Status) {
        let bar = (cell.kind.name(), cell.rate());
        match groups.last_mut() {
            Some((callers, bars)) if *callers == cell.callers => bars.push(bar),
            _ => groups.push((cell.callers, vec![bar])),
        }
    }
    groups
}

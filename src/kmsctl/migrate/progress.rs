//! Shows how far a run is: a bar on a terminal, otherwise a line every ten seconds.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

const LINE_INTERVAL: Duration = Duration::from_secs(10);
const BAR: &str = "{prefix}: {bar:30} {pos}/{len} {per_sec} ETA {eta}";

/// The progress of one resource after the other.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    is_terminal: bool,
    last_line: Mutex<Instant>,
}

impl Progress {
    pub(super) fn new() -> Self {
        let is_terminal = io::stderr().is_terminal();
        let target = if is_terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        if let Ok(style) = ProgressStyle::with_template(BAR) {
            bar.set_style(style);
        }
        Self {
            bar,
            is_terminal,
            last_line: Mutex::new(Instant::now()),
        }
    }

    /// Begins a resource.
    pub(super) fn begin(&self, resource: &str) {
        self.bar.set_prefix(resource.to_owned());
        self.bar.reset();
        self.bar.set_length(0);
    }

    /// How many objects the resource has, as far as that is known.
    pub(super) fn total(&self, total: u64) {
        self.bar.set_length(total);
    }

    /// So many objects are dealt with.
    pub(super) fn advance(&self, count: u64) {
        self.bar.inc(count);
        if !self.is_terminal && self.is_due() {
            self.note(&self.line());
        }
    }

    /// A line for the operator.
    pub(super) fn note(&self, text: &str) {
        self.bar.suspend(|| {
            // Nobody is left to read that stderr is closed.
            let _ = writeln!(io::stderr().lock(), "{text}");
        });
    }

    /// Removes the bar.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }

    fn is_due(&self) -> bool {
        let mut last = self
            .last_line
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_due = last.elapsed() >= LINE_INTERVAL;
        if is_due {
            *last = Instant::now();
        }
        is_due
    }

    fn line(&self) -> String {
        let (done, total) = (self.bar.position(), self.bar.length().unwrap_or_default());
        let (rate, left) = (self.bar.per_sec(), self.bar.eta());
        let prefix = self.bar.prefix();
        format!(
            "{prefix}: {done} of {total} objects, {rate:.0}/s, {} s left",
            left.as_secs()
        )
    }
}

//! How many batches of an operation may be in flight: a fixed number, or one that follows the
//! distance to Vault. Pure decisions: times are parameters.
//!
//! The signal is that of Vegas and of the gradient limits of Netflix' concurrency-limits: how long a
//! response takes under load, against one that had Vault for itself. While both are alike, Vault is
//! far away rather than busy, and a further request shortens the wait of the next calls. Once
//! responses take longer, requests compete, and a further one only splits batches.

use std::time::Duration;

/// While Vault works on one batch, another one can be on its way.
const MIN_LIMIT: usize = 2;
/// More would split batches, and send Vault more requests for the same items.
const MAX_LIMIT: usize = 8;
/// So many responses are judged together.
const WINDOW: u32 = 8;
/// Responses that take longer than so many times the undisturbed one show that requests compete.
const MAX_RATIO: f64 = 1.5;
/// So many windows at most pass between a raise that was taken back and the next one.
const MAX_PAUSE: u32 = 64;
/// The weight of an undisturbed response that is slower than those before it.
const SLOWER_WEIGHT: f64 = 1.0 / 16.0;

/// What a returned batch says of Vault.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// From its departure to its response.
    pub(super) took: Duration,
    /// Whether no other batch of its operation was in flight meanwhile.
    pub(super) was_alone: bool,
    /// Whether no further batch could have been sent when it had left.
    pub(super) was_at_limit: bool,
    /// Whether Vault could not answer.
    pub(super) has_failed: bool,
}

/// The number.
#[derive(Debug)]
pub(super) struct Limit {
    current: usize,
    adaptive: Option<Adaptive>,
}

#[derive(Debug, Default)]
struct Adaptive {
    /// What a response takes that nothing competes with, in seconds, once there was one.
    undisturbed: Option<f64>,
    /// The sum of the times of the present window, in seconds.
    sum: f64,
    count: u32,
    /// How many windows to wait before the next raise.
    pause: u32,
    /// How many to wait after the next raise that is taken back.
    next_pause: u32,
}

impl Limit {
    /// A fixed number, or one that adapts.
    pub(super) fn new(fixed: Option<usize>) -> Self {
        Self {
            current: fixed.unwrap_or(MIN_LIMIT),
            adaptive: fixed.is_none().then(Adaptive::default),
        }
    }

    /// The number now.
    pub(super) fn current(&self) -> usize {
        self.current
    }

    /// A batch came back.
    pub(super) fn record(&mut self, sample: Sample) {
        let Some(adaptive) = &mut self.adaptive else {
            return;
        };
        if sample.has_failed {
            self.current = MIN_LIMIT;
            adaptive.restart_window();
            return;
        }
        let took = sample.took.as_secs_f64();
        adaptive.learn_undisturbed(took, sample.was_alone);
        if !sample.was_at_limit {
            return;
        }
        if let Some(ratio) = adaptive.end_of_window(took) {
            self.current = adaptive.decide(ratio, self.current);
        }
    }
}

impl Adaptive {
    fn learn_undisturbed(&mut self, took: f64, was_alone: bool) {
        match self.undisturbed {
            // One under load may have waited for others.
            None if was_alone => self.undisturbed = Some(took),
            Some(known) if took < known => self.undisturbed = Some(took),
            Some(known) if was_alone => {
                self.undisturbed = Some(known + (took - known) * SLOWER_WEIGHT);
            }
            _ => {}
        }
    }

    /// Adds to the window. Returns how its responses compare with an undisturbed one, if it is full.
    fn end_of_window(&mut self, took: f64) -> Option<f64> {
        self.sum += took;
        self.count += 1;
        if self.count < WINDOW {
            return None;
        }
        let mean = self.sum / f64::from(self.count);
        self.restart_window();
        self.undisturbed.map(|undisturbed| mean / undisturbed)
    }

    fn restart_window(&mut self) {
        self.sum = 0.0;
        self.count = 0;
    }

    fn decide(&mut self, ratio: f64, current: usize) -> usize {
        self.pause = self.pause.saturating_sub(1);
        if ratio > MAX_RATIO {
            if current == MIN_LIMIT {
                return current;
            }
            self.next_pause = (self.next_pause * 2).clamp(1, MAX_PAUSE);
            self.pause = self.next_pause;
            return current - 1;
        }
        if self.pause > 0 || current == MAX_LIMIT {
            return current;
        }
        current + 1
    }
}

#[cfg(test)]
mod tests;

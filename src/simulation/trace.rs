//! What happened in a run, a line an event, and the hash of it all.

use std::time::Duration;

/// The lines so far, and their hash.
#[derive(Debug)]
pub(super) struct Trace {
    lines: Vec<String>,
    hash: u64,
    prints: bool,
}

impl Trace {
    pub(super) fn new(prints: bool) -> Self {
        Self {
            lines: Vec::new(),
            hash: 0xcbf2_9ce4_8422_2325,
            prints,
        }
    }

    /// Adds an event.
    #[expect(clippy::print_stdout, reason = "a run that is replayed is for reading")]
    pub(super) fn add(&mut self, now: Duration, event: &str) {
        let line = format!("{:>9.3} {event}", now.as_secs_f64());
        // FNV-1a.
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.prints {
            println!("{line}");
        }
        self.lines.push(line);
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn lines(&self) -> &[String] {
        &self.lines
    }
}

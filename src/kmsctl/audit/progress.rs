//! How far an audit is, on a terminal only.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::etcd::scan::{Record, Scan};

/// A line on stderr while the audit runs.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// For this scan. indicatif draws nothing where stderr is no terminal.
    pub(super) fn new(scan: &Scan) -> Self {
        let (bar, template) = match scan.count {
            Some(count) => (
                ProgressBar::new(count),
                "{prefix} {bar:30} {human_pos}/{human_len} objects, {per_sec}, {eta} left",
            ),
            None => (
                ProgressBar::no_length(),
                "{prefix} {spinner} {human_pos} values, {per_sec}",
            ),
        };
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(scan.origin.clone());
        Self(bar)
    }

    /// A page was read.
    pub(super) fn add(&self, page: &[Record]) {
        let counted = match self.0.length() {
            Some(_) => page.iter().filter(|record| record.is_current).count(),
            None => page.len(),
        };
        self.0.inc(counted as u64);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

//! Log lines on stderr, written by tracing's own `fmt` layer: text or JSON.

use std::cell::Cell;
use std::fmt;
use std::io::stderr;

use jiff::Timestamp;
use tracing::Subscriber;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;

use super::output::Output;
use super::record::Record;

thread_local! {
    /// When the event that this thread writes happened.
    static TIME: Cell<Timestamp> = const { Cell::new(Timestamp::UNIX_EPOCH) };
}

/// Lines on stderr. The subscriber receives events directly and is never registered: it must not
/// influence which callsites of the process are enabled.
pub(super) struct Lines(Box<dyn Subscriber + Send + Sync>);

/// Writes when the event happened, not when it is written.
struct EventTime;

impl Lines {
    /// Text for people; `with_color` as far as `NO_COLOR` allows it.
    pub(super) fn text(with_color: bool) -> Self {
        let layer = tracing_subscriber::fmt::layer()
            .with_timer(EventTime)
            .with_writer(stderr);
        let layer = if with_color {
            layer
        } else {
            layer.with_ansi(false)
        };
        Self(Box::new(tracing_subscriber::registry().with(layer)))
    }

    /// One JSON object per line.
    pub(super) fn json() -> Self {
        let layer = tracing_subscriber::fmt::layer()
            .with_timer(EventTime)
            .with_writer(stderr)
            .json()
            .flatten_event(true);
        Self(Box::new(tracing_subscriber::registry().with(layer)))
    }
}

impl Output for Lines {
    fn is_ready(&mut self) -> bool {
        true
    }

    fn write(&mut self, record: &Record) {
        TIME.set(record.time());
        record.replay(|event| self.0.event(event));
    }
}

impl FormatTime for EventTime {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        write!(w, "{}", TIME.get().strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))
    }
}

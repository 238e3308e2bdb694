//! The journal as a place for log lines: each event with its fields, so that `journalctl` can filter
//! by them. A line is made on the thread that logs; a thread of its own hands it over.
//!
//! tracing-journald would do, if it did not send on the thread that logs: its socket blocks, and a
//! journal that is slow or stopped would hold up the calls of kube-apiserver. It cannot be told to
//! send elsewhere, nor to render only, and it says nothing of lines that were lost.

mod record;
mod writer;

use std::io::stderr;
use std::path::Path;

use rustix::fs::fstat;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use writer::Queue;
pub(super) use writer::Writer;

/// Where every journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";
/// systemd's word for which stream it connected to the journal: `device:inode`.
const STREAM: &str = "JOURNAL_STREAM";

/// The layer.
pub(super) struct Journal(Queue);

/// The layer, and what has to be kept until the last line was logged.
pub(super) fn start() -> std::io::Result<(Journal, Writer)> {
    if !Path::new(SOCKET).exists() {
        eprintln!("vault-kms-plugin: log.format: no journal listens on {SOCKET} yet");
    }
    let (queue, writer) = writer::start(Path::new(SOCKET))?;
    Ok((Journal(queue), writer))
}

/// Whether what is written to stderr goes to the journal; then it can have the fields as well.
pub(super) fn is_stderr() -> bool {
    let Some(stream) = std::env::var(STREAM).ok() else {
        return false;
    };
    // A variable that was inherited says nothing of a stderr that was replaced.
    fstat(stderr()).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.0.push(record::of_event(event));
    }
}

//! The log pipeline: a layer copies each event into a bounded queue, and one thread writes what is
//! queued. A stalled reader blocks only that thread.

mod journal;
mod lines;
mod output;
mod queue;
mod record;

use std::io::{self, IsTerminal, stderr};

use super::settings::Format;
use lines::Lines;
use output::Output;
pub(super) use queue::{Formats, QueueLayer, Writer};

/// Starts the thread that writes the log.
///
/// # Errors
/// If the system does not start a thread.
pub(super) fn start(format: Format) -> io::Result<(QueueLayer, Formats, Writer)> {
    let (layer, formats, writer, worker) = queue::new(format, Box::new(open));
    queue::spawn(worker)?;
    Ok((layer, formats, writer))
}

/// The formats of no log.
#[cfg(test)]
pub(super) fn detached() -> Formats {
    let (_, formats, writer, _) = queue::new(Format::Json, Box::new(open));
    // When dropped it would wait for the thread, and there is none.
    std::mem::forget(writer);
    formats
}

/// The output for this format.
fn open(format: Format) -> Box<dyn Output> {
    let is_terminal = stderr().is_terminal();
    match format {
        Format::Journald => Box::new(journal::Journal::new()),
        Format::Auto if !is_terminal && journal::is_stderr() => Box::new(journal::Journal::new()),
        Format::Text => Box::new(Lines::text(is_terminal)),
        Format::Auto if is_terminal => Box::new(Lines::text(is_terminal)),
        Format::Auto | Format::Json => Box::new(Lines::json()),
    }
}

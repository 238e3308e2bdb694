//! Logging: text on a terminal, the journal where stderr is the journal, JSON lines elsewhere;
//! written by a thread of its own so that a reader that stalls holds nobody up.

pub mod events;
mod failure_streak;
mod journald;
mod log_throttle;
pub mod metrics;
pub mod spans;

use std::fmt;
use std::io::{IsTerminal, stderr};
use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

pub(crate) use failure_streak::{FailureStreak, StreakSummary};
pub(crate) use log_throttle::LogThrottle;

/// Lines that may wait for a stalled reader; the next ones are dropped.
const QUEUE: usize = 4096;

/// What is logged, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The least serious level that is shown.
    pub level: LevelFilter,
    /// The form of the lines.
    pub format: Format,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, the journal where stderr is the journal, JSON elsewhere.
    Auto,
    /// To the journal, each field by itself.
    Journald,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Why logging could not be set up or changed.
#[derive(Debug, Error)]
#[error("logging: {0}")]
pub struct LogError(String);

/// The running log. When dropped, what waits is written.
#[derive(Debug)]
pub struct Telemetry(LogHandle);

/// Changes what is shown, and how, while the process runs.
#[derive(Clone)]
pub struct LogHandle {
    filter: reload::Handle<Targets, Registry>,
    lines: reload::Handle<Lines, Filtered>,
    /// The form that is in force, and the thread that writes it.
    writer: Arc<Mutex<(Format, Writer)>>,
}

/// What the lines are made of: events that the filter let pass.
type Filtered = Layered<reload::Layer<Targets, Registry>, Registry>;
type Lines = Box<dyn Layer<Filtered> + Send + Sync>;

/// The thread that writes; it is only held.
#[derive(Debug)]
#[expect(dead_code, reason = "what each holds counts when it is dropped")]
enum Writer {
    Stderr(WorkerGuard),
    Journal(journald::Writer),
}

impl fmt::Debug for LogHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogHandle")
    }
}

impl Telemetry {
    /// Sets logging up for the whole process.
    ///
    /// # Errors
    /// When it has been set up before.
    pub fn start(settings: Settings) -> Result<Self, LogError> {
        let (filter, filter_handle) = reload::Layer::new(filter(settings.level));
        let (lines, writer) = lines(settings.format).map_err(|e| LogError(e.to_string()))?;
        let (lines, lines_handle) = reload::Layer::new(lines);
        tracing_subscriber::registry()
            .with(filter)
            .with(lines)
            .try_init()
            .map_err(|error| LogError(error.to_string()))?;
        Ok(Self(LogHandle {
            filter: filter_handle,
            lines: lines_handle,
            writer: Arc::new(Mutex::new((settings.format, writer))),
        }))
    }

    /// A handle that changes it.
    #[must_use]
    pub fn handle(&self) -> LogHandle {
        self.0.clone()
    }
}

impl LogHandle {
    /// Logs like this from now on.
    ///
    /// # Errors
    /// When logging has ended, or the journal cannot be had.
    pub fn set(&self, settings: Settings) -> Result<(), LogError> {
        let refuse = |error: &dyn std::fmt::Display| LogError(error.to_string());
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.0 != settings.format {
            let (fresh, thread) = lines(settings.format).map_err(|e| refuse(&e))?;
            self.lines.reload(fresh).map_err(|e| refuse(&e))?;
            // What waits in the queue of the one before is written when it is dropped here.
            *writer = (settings.format, thread);
        }
        self.filter
            .reload(filter(settings.level))
            .map_err(|e| refuse(&e))
    }
}

/// What makes lines of events, and what writes them.
fn lines(format: Format) -> std::io::Result<(Lines, Writer)> {
    let terminal = stderr().is_terminal();
    let to_journal = format == Format::Auto && !terminal && journald::is_stderr();
    if format == Format::Journald || to_journal {
        let (journal, writer) = journald::start()?;
        return Ok((journal.boxed(), Writer::Journal(writer)));
    }
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(QUEUE)
        .thread_name("log")
        .finish(stderr());
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match format {
        Format::Text => lines.with_ansi(terminal).boxed(),
        Format::Auto if terminal => lines.boxed(),
        _ => lines.json().flatten_event(true).boxed(),
    };
    Ok((lines, Writer::Stderr(guard)))
}

/// The level is for what this program says. Libraries speak from WARN up and no lower: what they
/// trace holds the bytes on the wire, secrets among them.
fn filter(level: LevelFilter) -> Targets {
    Targets::new()
        .with_target("vault_kms_plugin", level)
        .with_default(level.min(LevelFilter::WARN))
}

//! Logging: text on a terminal, the journal where stderr is the journal, JSON lines elsewhere;
//! written by a thread of its own so that a reader that stalls holds nobody up.

mod journald;

use std::io::{IsTerminal, stderr};

use thiserror::Error;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

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
pub struct Telemetry {
    level: LogLevel,
    _writer: Writer,
}

/// The thread that writes; it is only held.
#[derive(Debug)]
#[expect(dead_code, reason = "what each holds counts when it is dropped")]
enum Writer {
    Stderr(WorkerGuard),
    Journal(journald::Writer),
}

/// Changes what is shown while the process runs.
#[derive(Debug, Clone)]
pub struct LogLevel(reload::Handle<Targets, Registry>);

impl Telemetry {
    /// Sets logging up for the whole process.
    ///
    /// # Errors
    /// When it has been set up before.
    pub fn start(settings: Settings) -> Result<Self, LogError> {
        let (filter, level) = reload::Layer::new(filter(settings.level));
        let (lines, writer) = lines(settings.format).map_err(|e| LogError(e.to_string()))?;
        tracing_subscriber::registry()
            .with(filter)
            .with(lines)
            .try_init()
            .map_err(|error| LogError(error.to_string()))?;
        Ok(Self {
            level: LogLevel(level),
            _writer: writer,
        })
    }

    /// A handle that changes the level.
    #[must_use]
    pub fn level(&self) -> LogLevel {
        self.level.clone()
    }
}

impl LogLevel {
    /// Shows this level and what is more serious, from now on.
    ///
    /// # Errors
    /// When logging has ended.
    pub fn set(&self, level: LevelFilter) -> Result<(), LogError> {
        self.0
            .reload(filter(level))
            .map_err(|error| LogError(error.to_string()))
    }
}

/// What makes lines of events, and what writes them.
fn lines<S>(format: Format) -> std::io::Result<(Box<dyn Layer<S> + Send + Sync>, Writer)>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
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

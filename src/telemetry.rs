//! Logging: text on a terminal, JSON lines elsewhere, written by a thread of its own so that a
//! reader that stalls holds nobody up.

use std::io::{IsTerminal, stderr};

use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
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
    /// Text on a terminal, JSON elsewhere.
    Auto,
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
    _writer: WorkerGuard,
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
        let (writer, guard) = NonBlockingBuilder::default()
            .buffered_lines_limit(QUEUE)
            .thread_name("log")
            .finish(stderr());
        let (filter, level) = reload::Layer::new(filter(settings.level));
        let lines = tracing_subscriber::fmt::layer().with_writer(writer);
        let lines: Box<dyn Layer<_> + Send + Sync> = match settings.format {
            Format::Text => lines.with_ansi(stderr().is_terminal()).boxed(),
            Format::Auto if stderr().is_terminal() => lines.boxed(),
            Format::Auto | Format::Json => lines.json().flatten_event(true).boxed(),
        };
        tracing_subscriber::registry()
            .with(filter)
            .with(lines)
            .try_init()
            .map_err(|error| LogError(error.to_string()))?;
        Ok(Self {
            level: LogLevel(level),
            _writer: guard,
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

/// The level is for what this program says. Libraries speak from WARN up and no lower: what they
/// trace holds the bytes on the wire, secrets among them.
fn filter(level: LevelFilter) -> Targets {
    Targets::new()
        .with_target("vault_kms_plugin", level)
        .with_default(level.min(LevelFilter::WARN))
}

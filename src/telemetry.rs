//! Logging, metrics and spans.

pub mod events;
mod failure_streak;
mod log;
mod log_throttle;
pub mod metrics;
pub mod spans;

use std::fmt;

use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

pub(crate) use failure_streak::{FailureStreak, StreakSummary};
pub(crate) use log_throttle::LogThrottle;

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

/// The running log. When dropped, what is queued is written, for at most a second.
#[derive(Debug)]
pub struct Telemetry {
    handle: LogHandle,
    _writer: log::Writer,
}

/// Changes what is logged, and how, while the process runs.
#[derive(Clone)]
pub struct LogHandle {
    filter: reload::Handle<Targets, Registry>,
    formats: log::Formats,
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
    /// If it was set up before, or the system starts no thread.
    pub fn start(settings: Settings) -> Result<Self, LogError> {
        let (filter, filter_handle) = reload::Layer::new(filter(settings.level));
        let log = log::start(settings.format);
        let (layer, formats, writer) = log.map_err(|error| LogError(error.to_string()))?;
        tracing_subscriber::registry()
            .with(filter)
            .with(layer)
            .try_init()
            .map_err(|error| LogError(error.to_string()))?;
        let handle = LogHandle {
            filter: filter_handle,
            formats,
        };
        Ok(Self {
            handle,
            _writer: writer,
        })
    }

    /// A handle that changes it.
    #[must_use]
    pub fn handle(&self) -> LogHandle {
        self.handle.clone()
    }
}

impl LogHandle {
    /// Applies other settings.
    ///
    /// # Errors
    /// If logging has ended.
    pub fn set(&self, settings: Settings) -> Result<(), LogError> {
        self.formats.set(settings.format);
        let filter = self.filter.reload(filter(settings.level));
        filter.map_err(|error| LogError(error.to_string()))
    }
}

/// The level applies to this program. Libraries log WARN and above only: what they trace holds the
/// bytes on the wire, secrets among them. Dropped lines are reported at any level.
fn filter(level: LevelFilter) -> Targets {
    Targets::new()
        .with_target("vault_kms_plugin", level)
        .with_target("vault_kms_plugin::log", level.max(LevelFilter::WARN))
        .with_default(level.min(LevelFilter::WARN))
}

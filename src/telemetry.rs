//! Logging, metrics and spans.

pub mod events;
mod failure_streak;
mod log;
mod log_throttle;
pub mod metrics;
mod reload_status;
mod settings;
pub mod spans;

use std::fmt;

use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

pub(crate) use failure_streak::{FailureStreak, StreakSummary};
pub(crate) use log_throttle::{LogThrottle, SharedLogThrottle};
pub use reload_status::ReloadStatus;
pub use settings::{Format, Settings};
use spans::Export;

/// Why logging could not be set up or changed.
#[derive(Debug, Error)]
#[error("logging: {0}")]
pub struct LogError(String);

/// The running log. When dropped, what is queued is written, for at most a second.
#[derive(Debug)]
pub struct Telemetry {
    handle: LogHandle,
    /// Dropped before the log, which reports what becomes of the last spans.
    _export: Export,
    _writer: log::Writer,
}

/// Changes what is logged, and how, while the process runs.
#[derive(Clone)]
pub struct LogHandle {
    filter: reload::Handle<Targets, Registry>,
    formats: log::Formats,
    /// Whether spans are exported.
    has_spans: bool,
}

impl fmt::Debug for LogHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogHandle")
    }
}

impl Telemetry {
    /// Sets logging up for the whole process, and the export of spans. Must not be called inside a
    /// runtime: the exporter has one of its own.
    ///
    /// # Errors
    /// If it was set up before, or the system starts no thread.
    pub fn start(settings: Settings) -> Result<Self, LogError> {
        let refused = |error: &dyn fmt::Display| LogError(error.to_string());
        let export = Export::prepare();
        let has_spans = export.is_active();
        let (filter, filter_handle) = reload::Layer::new(filter(settings.level, has_spans));
        let log = log::start(settings.format);
        let (layer, formats, writer) = log.map_err(|error| refused(&error))?;
        tracing_subscriber::registry()
            .with(filter)
            .with(layer)
            .with(export.layer(spans::TARGET))
            .try_init()
            .map_err(|error| refused(&error))?;
        export.announce();
        let handle = LogHandle {
            filter: filter_handle,
            formats,
            has_spans,
        };
        Ok(Self {
            handle,
            _export: export,
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
    /// Of no log.
    #[cfg(test)]
    pub(crate) fn detached() -> Self {
        let (layer, filter) = reload::Layer::new(filter(LevelFilter::OFF, false));
        drop(layer);
        Self {
            filter,
            formats: log::detached(),
            has_spans: false,
        }
    }

    /// Applies other settings.
    ///
    /// # Errors
    /// If logging has ended.
    pub fn set(&self, settings: Settings) -> Result<(), LogError> {
        self.formats.set(settings.format);
        let filter = self.filter.reload(filter(settings.level, self.has_spans));
        filter.map_err(|error| LogError(error.to_string()))
    }
}

/// The level applies to this program. Libraries log WARN and above only: what they trace holds the
/// bytes on the wire, secrets among them. Dropped lines are reported at any level. Spans are made only
/// for an export.
fn filter(level: LevelFilter, has_spans: bool) -> Targets {
    let spans = if has_spans {
        LevelFilter::INFO
    } else {
        LevelFilter::OFF
    };
    Targets::new()
        .with_target(spans::TARGET, spans)
        .with_target("vault_kms_plugin", level)
        .with_target("vault_kms_plugin::log", level.max(LevelFilter::WARN))
        .with_default(level.min(LevelFilter::WARN))
}

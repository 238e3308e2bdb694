//! The settings of the log.

use tracing::level_filters::LevelFilter;

/// What is logged, and in which format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The least severe level that is logged.
    pub level: LevelFilter,
    /// The format of the lines.
    pub format: Format,
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, the journal if stderr is connected to it, JSON otherwise.
    Auto,
    /// The journal, with each field.
    Journald,
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

impl Format {
    /// Its name in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Journald => "journald",
            Self::Json => "json",
            Self::Text => "text",
        }
    }
}

//! Collects the warnings that the daemon would log.

use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::{Layer, Registry};

/// The warnings so far.
#[derive(Debug, Default, Clone)]
pub(super) struct Warnings(Arc<Mutex<Vec<String>>>);

/// One event on one line: its fields, then its message.
#[derive(Debug, Default)]
struct Line {
    message: String,
    fields: String,
}

impl Warnings {
    /// The subscriber that collects them.
    pub(super) fn subscriber(&self) -> impl Subscriber + Send + Sync + 'static {
        Registry::default().with(self.clone())
    }

    /// All warnings since the last call.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S: Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // Of this crate alone: events of libraries are not findings.
        if *event.metadata().level() > Level::WARN
            || !event
                .metadata()
                .target()
                .starts_with(env!("CARGO_CRATE_NAME"))
        {
            return;
        }
        let mut line = Line::default();
        event.record(&mut line);
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(format!("{}{}", line.fields, line.message));
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        self.add(field.name(), &text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), value);
    }
}

impl Line {
    fn add(&mut self, name: &str, value: &str) {
        if name == "message" {
            value.clone_into(&mut self.message);
        } else {
            // Writing to a string never fails.
            let _ = write!(self.fields, "{value}: ");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_collected_with_their_fields_and_information_is_not() {
        let warnings = Warnings::default();
        tracing::subscriber::with_default(warnings.subscriber(), || {
            tracing::info!("nothing");
            tracing::warn!(key = "vault.client_key_file", file = %"/k", "is open to all");
        });
        assert_eq!(
            warnings.take(),
            ["vault.client_key_file: /k: is open to all"]
        );
        assert!(warnings.take().is_empty());
    }
}

//! The journal as an output, through `tracing-journald`: each event with its fields, so that
//! `journalctl` can filter by them.
//!
//! `tracing-journald` sends on the thread that dispatches, over a socket that blocks, and ignores
//! errors. So it runs on the log thread, after a check that a journal listens.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::io::stderr;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{LazyLock, Mutex, PoisonError};

use rustix::fs::fstat;
use tracing::callsite::Identifier;
use tracing::field::{Field, FieldSet, Value, Visit};
use tracing::metadata::Kind;
use tracing::{Metadata, Subscriber};
use tracing_journald::{Layer, Priority, PriorityMappings};
use tracing_subscriber::layer::SubscriberExt;

use super::output::Output;
use super::record::{Record, replay};

/// Where every journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";
/// systemd sets it to the `device:inode` of the stream that it connected to the journal.
const STREAM: &str = "JOURNAL_STREAM";
/// What `journalctl -t` filters by.
const IDENTIFIER: &str = "vault-kms-plugin";
/// Before the name of each of our fields, and `_`: names without it belong to the journal.
const PREFIX: &str = "KMS";
/// The field with the constant text of an event.
const EVENT: &str = "event";
/// The field with the module that an event belongs to.
const TARGET: &str = "target";
/// The field that the journal shows.
const MESSAGE: &str = "message";

/// The metadata of events with the fields that only the journal gets; one for each callsite, and
/// never freed, as callsites are not.
static EXTENDED: LazyLock<Mutex<HashMap<Identifier, &'static Metadata<'static>>>> =
    LazyLock::new(Mutex::default);

/// The journal.
pub(super) struct Journal(Option<Box<dyn Subscriber + Send + Sync>>);

/// What the message of an event consists of.
#[derive(Default)]
struct Message {
    event: String,
    /// ` name=value` for each field, for readers of the message alone.
    fields: String,
}

/// Returns whether stderr is connected to the journal; then the journal can have the fields as well.
pub(super) fn is_stderr() -> bool {
    let Some(stream) = std::env::var(STREAM).ok() else {
        return false;
    };
    // The variable may be inherited, and stderr replaced since.
    fstat(stderr()).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

impl Journal {
    pub(super) fn new() -> Self {
        if !Path::new(SOCKET).exists() {
            eprintln!("vault-kms-plugin: log.format: no journal listens on {SOCKET} yet");
        }
        Self(None)
    }
}

impl Output for Journal {
    fn is_ready(&mut self) -> bool {
        let listens = UnixDatagram::unbound().and_then(|socket| socket.connect(SOCKET));
        if listens.is_err() {
            return false;
        }
        if self.0.is_none() {
            self.0 = Layer::new().ok().map(subscriber);
        }
        self.0.is_some()
    }

    fn write(&mut self, record: &Record) {
        let Some(subscriber) = &self.0 else { return };
        with_journal_fields(record, |metadata, values| {
            replay(metadata, values, |event| subscriber.event(event));
        });
    }
}

/// Receives events directly and is never registered: it must not influence which callsites of the
/// process are enabled.
fn subscriber(layer: Layer) -> Box<dyn Subscriber + Send + Sync> {
    let layer = layer
        .with_field_prefix(Some(PREFIX.to_owned()))
        .with_syslog_identifier(IDENTIFIER.to_owned())
        .with_priority_mappings(PriorityMappings {
            error: Priority::Error,
            warn: Priority::Warning,
            info: Priority::Informational,
            debug: Priority::Debug,
            trace: Priority::Debug,
        });
    Box::new(tracing_subscriber::registry().with(layer))
}

/// Hands over the record with [`EVENT`] and [`TARGET`] added and all fields in the message.
fn with_journal_fields(
    record: &Record,
    receive: impl FnOnce(&'static Metadata<'static>, &[Option<&dyn Value>]),
) {
    let metadata = extended(record.metadata());
    let mut message = Message::default();
    record.replay(|event| event.record(&mut message));
    let text = format!("{}{}", message.event, message.fields);
    let mut values = record.values();
    values.resize(metadata.fields().len(), None);
    let target = record.metadata().target();
    for (name, value) in [
        (EVENT, &message.event as &dyn Value),
        (TARGET, &target),
        (MESSAGE, &text),
    ] {
        let place = metadata.fields().field(name);
        if let Some(place) = place.and_then(|field| values.get_mut(field.index())) {
            *place = Some(value);
        }
    }
    receive(metadata, &values);
}

/// The metadata with the fields of [`with_journal_fields`] behind its own.
fn extended(metadata: &'static Metadata<'static>) -> &'static Metadata<'static> {
    let mut known = EXTENDED.lock().unwrap_or_else(PoisonError::into_inner);
    known.entry(metadata.callsite()).or_insert_with(|| {
        let mut names: Vec<_> = metadata.fields().iter().map(|field| field.name()).collect();
        for name in [EVENT, TARGET, MESSAGE] {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Box::leak(Box::new(Metadata::new(
            metadata.name(),
            metadata.target(),
            *metadata.level(),
            metadata.file(),
            metadata.line(),
            metadata.module_path(),
            FieldSet::new(names.leak(), metadata.callsite()),
            Kind::EVENT,
        )))
    })
}

impl Message {
    fn add(&mut self, name: &str, value: fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = match name {
            MESSAGE => self.event.write_fmt(value),
            _ => write!(self.fields, " {name}={value}"),
        };
    }
}

impl Visit for Message {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field.name(), format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracing::Event;
    use tracing_subscriber::layer::Context;

    use super::*;

    /// The fields of the last event, as the journal gets them.
    #[derive(Clone, Default)]
    struct Last(Arc<Mutex<HashMap<String, String>>>);

    impl<S: Subscriber> tracing_subscriber::Layer<S> for Last {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut last = self.0.lock().expect("no panic");
            with_journal_fields(&Record::of(event), |metadata, values| {
                replay(metadata, values, |event| {
                    event.record(&mut Fields(&mut last))
                });
            });
        }
    }

    struct Fields<'a>(&'a mut HashMap<String, String>);

    impl Visit for Fields<'_> {
        fn record_str(&mut self, field: &Field, value: &str) {
            self.0.insert(field.name().to_owned(), value.to_owned());
        }

        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            self.0.insert(field.name().to_owned(), format!("{value:?}"));
        }
    }

    #[test]
    fn every_field_can_be_found_and_the_message_has_them_all() {
        let last = Last::default();
        let subscriber = tracing_subscriber::registry().with(last.clone());
        tracing::subscriber::with_default(subscriber, || {
            let error = std::io::Error::other("a\nb");
            tracing::warn!(operation = "encrypt", attempts = 2, %error, "call failed");
        });
        let fields = last.0.lock().expect("no panic").clone();
        let field = |name: &str| fields.get(name).map(String::as_str);
        assert_eq!(field("operation"), Some("encrypt"));
        assert_eq!(field("attempts"), Some("2"));
        // A line break in a value begins no field of its own.
        assert_eq!(field("error"), Some("a\nb"));
        assert_eq!(field(EVENT), Some("call failed"));
        let message = "call failed operation=encrypt attempts=2 error=a\nb";
        assert_eq!(field(MESSAGE), Some(message));
        let target = "vault_kms_plugin::telemetry::log::journal::tests";
        assert_eq!(field(TARGET), Some(target));
    }
}

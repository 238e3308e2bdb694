//! An event as the journal takes it: <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// What `journalctl -t` finds it by.
const IDENTIFIER: &str = "vault-kms-plugin";
/// Before every field of ours: the journal's own names are without.
const PREFIX: &str = "KMS_";
/// The constant text of an event, which is what it can be found by.
const EVENT: &str = "KMS_EVENT";

/// An event with all its fields.
pub(super) fn of_event(event: &Event<'_>) -> Vec<u8> {
    let mut fields = Fields::default();
    event.record(&mut fields);
    let target = event.metadata().target();
    fields.put("KMS_TARGET", target);
    fields.finish(*event.metadata().level())
}

/// What is said when lines were lost; no event, since that could be lost as well.
pub(super) fn of_dropped(count: u64) -> Vec<u8> {
    let mut fields = Fields {
        event: "log lines were dropped".to_owned(),
        ..Fields::default()
    };
    fields.add("count", &count.to_string());
    fields.finish(Level::WARN)
}

/// The record so far.
#[derive(Default)]
struct Fields {
    bytes: Vec<u8>,
    event: String,
    /// The fields once more, for who reads the message alone.
    words: String,
}

impl Fields {
    fn add(&mut self, name: &str, value: &str) {
        if name == "message" {
            value.clone_into(&mut self.event);
            return;
        }
        // Writing to a string cannot fail.
        let _ = write!(self.words, " {name}={value}");
        self.put(&field_name(name), value);
    }

    /// With the length before the value, which may then hold any byte.
    fn put(&mut self, name: &str, value: &str) {
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(b'\n');
        self.bytes
            .extend_from_slice(&(value.len() as u64).to_le_bytes());
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(b'\n');
    }

    fn finish(mut self, level: Level) -> Vec<u8> {
        let event = std::mem::take(&mut self.event);
        let message = format!("{event}{}", self.words);
        self.put("MESSAGE", &message);
        self.put(EVENT, &event);
        self.put("PRIORITY", priority(level));
        self.put("SYSLOG_IDENTIFIER", IDENTIFIER);
        self.bytes
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field.name(), &format!("{value:?}"));
    }
}

/// The journal takes capitals, digits and `_` only.
fn field_name(name: &str) -> String {
    let letters = name.chars().map(|c| match c.is_ascii_alphanumeric() {
        true => c.to_ascii_uppercase(),
        false => '_',
    });
    PREFIX.chars().chain(letters).collect()
}

/// As syslog(3) has them; it has none below `debug`.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::{Context, SubscriberExt};

    use super::*;

    #[derive(Clone, Default)]
    struct Last(Arc<Mutex<Vec<u8>>>);

    impl<S: tracing::Subscriber> Layer<S> for Last {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            *self.0.lock().expect("no panic") = of_event(event);
        }
    }

    fn field(name: &str, value: &str) -> Vec<u8> {
        let length = (value.len() as u64).to_le_bytes();
        [name.as_bytes(), b"\n", &length, value.as_bytes(), b"\n"].concat()
    }

    #[track_caller]
    fn assert_holds(record: &[u8], name: &str, value: &str) {
        let wanted = field(name, value);
        let found = record.windows(wanted.len()).any(|part| part == wanted);
        assert!(found, "{name}: {}", String::from_utf8_lossy(record));
    }

    #[test]
    fn every_field_can_be_found_and_the_message_has_them_all() {
        let last = Last::default();
        let subscriber = tracing_subscriber::registry().with(last.clone());
        tracing::subscriber::with_default(subscriber, || {
            let error = std::io::Error::other("a\nb");
            tracing::warn!(operation = "encrypt", attempts = 2, %error, "call failed");
        });
        let record = last.0.lock().expect("no panic").clone();
        assert_holds(&record, "KMS_OPERATION", "encrypt");
        assert_holds(&record, "KMS_ATTEMPTS", "2");
        // A line break in a value begins no field of its own.
        assert_holds(&record, "KMS_ERROR", "a\nb");
        assert_holds(&record, "KMS_EVENT", "call failed");
        let message = "call failed operation=encrypt attempts=2 error=a\nb";
        assert_holds(&record, "MESSAGE", message);
        assert_holds(&record, "PRIORITY", "4");
        assert_holds(&record, "SYSLOG_IDENTIFIER", "vault-kms-plugin");
    }

    #[test]
    fn lost_lines_are_a_warning_with_their_number() {
        let record = of_dropped(7);
        assert_holds(&record, "MESSAGE", "log lines were dropped count=7");
        assert_holds(&record, "KMS_COUNT", "7");
        assert_holds(&record, "PRIORITY", "4");
    }
}

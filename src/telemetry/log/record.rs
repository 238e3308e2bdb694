//! An event as plain data, so that another thread can dispatch it again.

use std::fmt;

use jiff::Timestamp;
use tracing::field::{Field, Value, Visit, display};
use tracing::{Event, Metadata};

/// A value of a field: it records itself as the original did.
type Copied = Box<dyn Value + Send>;

/// A copy of an event.
pub(super) struct Record {
    metadata: &'static Metadata<'static>,
    time: Timestamp,
    /// One for each field that the callsite declares, in its order.
    values: Vec<Option<Copied>>,
}

/// Copies values.
struct Copier<'a>(&'a mut Vec<Option<Copied>>);

impl Record {
    pub(super) fn of(event: &Event<'_>) -> Self {
        let metadata = event.metadata();
        let mut values = Vec::new();
        values.resize_with(metadata.fields().len(), || None);
        event.record(&mut Copier(&mut values));
        Self {
            metadata,
            time: Timestamp::now(),
            values,
        }
    }

    /// When the original event happened.
    pub(super) fn time(&self) -> Timestamp {
        self.time
    }

    pub(super) fn metadata(&self) -> &'static Metadata<'static> {
        self.metadata
    }

    /// The values in the order of the declared fields.
    pub(super) fn values(&self) -> Vec<Option<&dyn Value>> {
        let values = self.values.iter();
        values
            .map(|value| value.as_deref().map(|value| value as &dyn Value))
            .collect()
    }

    /// The event once more.
    pub(super) fn replay(&self, receive: impl FnOnce(&Event<'_>)) {
        replay(self.metadata, &self.values(), receive);
    }
}

/// An event of this callsite with these values, one for each declared field.
pub(super) fn replay(
    metadata: &'static Metadata<'static>,
    values: &[Option<&dyn Value>],
    receive: impl FnOnce(&Event<'_>),
) {
    let values = metadata.fields().value_set_all(values);
    receive(&Event::new(metadata, &values));
}

impl Copier<'_> {
    fn put(&mut self, field: &Field, value: impl Value + Send + 'static) {
        if let Some(place) = self.0.get_mut(field.index()) {
            *place = Some(Box::new(value));
        }
    }
}

impl Visit for Copier<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, display(format!("{value:?}")));
    }
}

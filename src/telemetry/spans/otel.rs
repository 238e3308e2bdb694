//! What OpenTelemetry has and tracing has not: a client's trace, links, lists, and an end that comes
//! before the children's.

use std::sync::Arc;

use http::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry::{Array, Context, StringValue, Value};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The header that names the client's span.
const TRACEPARENT: &str = "traceparent";
/// The attribute that names the calls that a batch or a request works for.
const UIDS: &str = "kms.request.uids";

/// The uids of the calls that a batch works for; found in the context of its requests.
#[derive(Debug, Clone)]
struct Uids(Vec<StringValue>);

/// The client's span as its headers name it. Its `tracestate` is ignored: it is never passed on.
struct Headers<'a>(&'a HeaderMap);

/// Makes the span a child of the one that the headers name.
pub(super) fn set_parent_from(span: &Span, headers: &HeaderMap) {
    let client = TraceContextPropagator::new();
    let client = client.extract_with_context(&Context::new(), &Headers(headers));
    set_parent(span, client);
}

/// Makes the span a child of the first caller that is recorded, and links it to the others.
pub(super) fn set_callers<'a>(
    span: &Span,
    callers: impl Iterator<Item = (&'a Span, Option<&'a Arc<str>>)> + Clone,
) {
    if span.is_disabled() {
        return;
    }
    let contexts = callers.clone().map(|(span, _)| context_of(span));
    let contexts: Vec<_> = contexts.collect();
    let recorded = contexts.iter().position(SpanContext::is_sampled);
    let first = recorded.unwrap_or_default();
    let parent = contexts.get(first).map_or_else(Context::new, |first| {
        Context::new().with_remote_span_context(first.clone())
    });
    let uids = callers.filter_map(|(_, uid)| uid.cloned());
    let uids = Uids(uids.map(StringValue::from).collect());
    set_parent(span, parent.with_value(uids.clone()));
    uids.record_in(span);
    for (at, context) in contexts.into_iter().enumerate() {
        if at != first {
            span.add_link(context);
        }
    }
}

/// Records the uids of the batch that this span is part of.
pub(super) fn copy_uids(span: &Span) {
    if !span.is_disabled()
        && let Some(uids) = span.context().get::<Uids>()
    {
        uids.record_in(span);
    }
}

/// Ends the span now.
pub(super) fn end(span: &Span) {
    span.context().span().end();
}

/// Fails only where no spans are exported, and then there is nothing to set.
fn set_parent(span: &Span, parent: Context) {
    let _ = span.set_parent(parent);
}

fn context_of(span: &Span) -> SpanContext {
    span.context().span().span_context().clone()
}

impl Uids {
    fn record_in(&self, span: &Span) {
        span.set_attribute(UIDS, Value::Array(Array::String(self.0.clone())));
    }
}

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        if key != TRACEPARENT {
            return None;
        }
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

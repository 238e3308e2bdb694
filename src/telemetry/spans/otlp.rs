//! Spans as OpenTelemetry has them: what each is called, what it says, whose child it is. Where they
//! go stands in `export.rs`.
//!
//! Nothing in a span is secret: no plaintext, no ciphertext, no token, no header.

mod export;

use std::fmt::Display;
use std::sync::{Arc, OnceLock};

use http::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{
    FutureExt, Link, SpanBuilder, SpanContext, SpanKind, Status as SpanStatus, TraceContextExt,
    Tracer, WithContext,
};
use opentelemetry::{Array, Context, KeyValue, StringValue, Value};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use reqwest::{Method, StatusCode, Url};
use tonic::{Code, Status};

pub use export::Export;
use export::tracer;

/// The header that a client names its own span with.
const TRACEPARENT: &str = "traceparent";
/// The services, and what the spans of their calls begin with.
const SERVICES: [(&str, &str); 2] = [
    ("v2.KeyManagementService", "kms.v2"),
    ("v1beta1.KeyManagementService", "kms.v1"),
];
/// Other methods there are none, and a client may ask for anything.
const METHODS: [&str; 4] = ["Encrypt", "Decrypt", "Status", "Version"];
/// What every key_id of this plugin begins with; others are a client's own words.
const KEY_ID: &str = "transit1:";
/// In characters. A uid is a UUID, a key_id 1,024 at most, an error a few sentences; a client's words
/// may be a whole message, and thousands of spans wait for a collector that is away.
const MOST_TEXT: usize = 1024;
/// As many calls as the SDK keeps links. Identical Decrypts can be more than the items of a batch.
const MOST_CALLERS: usize = 128;

/// A call of kube-apiserver's, from its headers until its answer.
#[derive(Debug, Clone)]
pub struct CallSpan(Option<Arc<Call>>);

#[derive(Debug)]
struct Call {
    span: Open,
    uid: OnceLock<Arc<str>>,
}

/// What a call hands on, so that others can say who they work for.
#[derive(Debug, Clone)]
pub struct Parent {
    span: SpanContext,
    uid: Option<Arc<str>>,
}

/// The calls that a batch carries, but for those that nobody follows.
#[derive(Debug, Clone)]
pub struct Callers(Vec<Parent>);

/// A batch, from its leaving until it is back.
#[derive(Debug)]
pub struct BatchSpan(Open);

/// One HTTP request to Vault, until the head of the answer is there.
#[derive(Debug)]
pub struct RequestSpan(Open);

/// Whom the work under way is done for; found in the context of a request.
#[derive(Debug, Clone)]
struct Uids(Vec<StringValue>);

/// A span that has to end. Dropped before, its work was given up: somebody left, or time was over.
#[derive(Debug)]
struct Open(Context);

/// A client's span, of its headers. Its `tracestate` is not taken over: it goes nowhere from here.
struct Headers<'a>(&'a HeaderMap);

impl CallSpan {
    /// Begins, as a child of the client's span where it names one.
    #[must_use]
    pub fn begin(path: &str, headers: &HeaderMap) -> Self {
        let call = tracer().zip(call_of(path));
        let call = call.map(|(tracer, (version, service, method))| {
            let builder = SpanBuilder::from_name(format!("{version}/{method}"))
                .with_kind(SpanKind::Server)
                .with_attributes([
                    KeyValue::new("rpc.system", "grpc"),
                    KeyValue::new("rpc.service", service),
                    KeyValue::new("rpc.method", method),
                ]);
            let client = TraceContextPropagator::new();
            let client = client.extract_with_context(&Context::new(), &Headers(headers));
            let span = tracer.build_with_context(builder, &client);
            Arc::new(Call {
                span: Open(client.with_span(span)),
                uid: OnceLock::new(),
            })
        });
        Self(call)
    }

    /// kube-apiserver's own number for the call.
    pub fn uid(&self, uid: &str) {
        if let Some(call) = &self.0 {
            let uid: Arc<str> = short(uid).into();
            call.span
                .note("kms.request.uid", StringValue::from(uid.clone()));
            let _ = call.uid.set(uid);
        }
    }

    /// The key_id that it brings, if it is one of a plugin like this, or that it is answered with.
    pub fn key_id(&self, key_id: &str) {
        if let (Some(call), true) = (&self.0, key_id.starts_with(KEY_ID)) {
            call.span.note("kms.key_id", short(key_id));
        }
    }

    /// What it hands on.
    #[must_use]
    pub fn parent(&self) -> Parent {
        self.0.as_ref().map_or(Parent::NOBODY, |call| Parent {
            span: call.span.0.span().span_context().clone(),
            uid: call.uid.get().cloned(),
        })
    }

    /// It is answered, with these headers: an error stands in them.
    pub fn end(self, answer: &HeaderMap) {
        if let Some(call) = &self.0 {
            let failure = Status::from_header_map(answer);
            let failure = failure.as_ref();
            let code = failure.map_or(Code::Ok, Status::code);
            call.span
                .note("rpc.grpc.status_code", i64::from(code as i32));
            call.span.end(failure.map(Status::message));
        }
    }
}

/// The name of the service in a span's name, the service, and the method.
fn call_of(path: &str) -> Option<(&'static str, &'static str, &'static str)> {
    let (service, method) = path.trim_start_matches('/').split_once('/')?;
    let (service, version) = SERVICES.into_iter().find(|(it, _)| *it == service)?;
    let method = METHODS.into_iter().find(|it| *it == method)?;
    Some((version, service, method))
}

impl Parent {
    /// For what no call asked for.
    pub const NOBODY: Self = Self {
        span: SpanContext::NONE,
        uid: None,
    };
}

impl<'a> FromIterator<&'a Parent> for Callers {
    fn from_iter<I: IntoIterator<Item = &'a Parent>>(callers: I) -> Self {
        let known = callers.into_iter().filter(|caller| caller.span.is_valid());
        Self(known.take(MOST_CALLERS).cloned().collect())
    }
}

impl BatchSpan {
    /// Begins, as a child of the first call that is recorded, with links to the others: a span has
    /// one parent. Without a call, as with a canary, it is the first of its trace.
    #[must_use]
    pub fn begin(operation: &'static str, items: usize, Callers(callers): &Callers) -> Self {
        let Some(tracer) = tracer() else {
            return Self(Open(Context::new()));
        };
        let recorded = callers.iter().position(|caller| caller.span.is_sampled());
        let first = recorded.unwrap_or_default();
        let parent = callers.get(first).map_or_else(Context::new, |first| {
            Context::new().with_remote_span_context(first.span.clone())
        });
        let others = callers.iter().enumerate().filter(|(at, _)| *at != first);
        let links = others.map(|(_, caller)| Link::with_context(caller.span.clone()));
        let uids = callers.iter().filter_map(|caller| caller.uid.clone());
        let uids = Uids(uids.map(StringValue::from).collect());
        let builder = SpanBuilder::from_name(format!("batch/{operation}"))
            .with_links(links.collect())
            .with_attributes([
                KeyValue::new("kms.batch.operation", operation),
                KeyValue::new("kms.batch.items", i64::try_from(items).unwrap_or(i64::MAX)),
                uids.attribute(),
            ]);
        let span = tracer.build_with_context(builder, &parent);
        Self(Open(parent.with_span(span).with_value(uids)))
    }

    /// The work; requests in it are children of this batch.
    pub fn around<F: Future>(&self, work: F) -> WithContext<F> {
        work.with_context(self.0.0.clone())
    }

    /// It is back.
    pub fn end<T, E: Display>(self, outcome: &Result<T, E>) {
        let failure = outcome.as_ref().err().map(E::to_string);
        self.0.end(failure.as_deref());
    }
}

impl RequestSpan {
    /// Begins, as a child of the batch that is under way. A request of the session's, or of a look
    /// at the key, is the first of its trace.
    #[must_use]
    pub fn begin(method: &Method, url: &Url) -> Self {
        let Some(tracer) = tracer() else {
            return Self(Open(Context::new()));
        };
        let within = Context::current();
        let (method, path) = (method.to_string(), url.path().to_owned());
        let mut attributes = vec![
            KeyValue::new("http.request.method", method.clone()),
            KeyValue::new("url.path", path.clone()),
            KeyValue::new(
                "server.address",
                url.host_str().unwrap_or_default().to_owned(),
            ),
        ];
        let port = url.port_or_known_default();
        attributes.extend(port.map(|port| KeyValue::new("server.port", i64::from(port))));
        attributes.extend(within.get::<Uids>().map(Uids::attribute));
        let builder = SpanBuilder::from_name(format!("{method} {path}"))
            .with_kind(SpanKind::Client)
            .with_attributes(attributes);
        let span = tracer.build_with_context(builder, &within);
        Self(Open(within.with_span(span)))
    }

    /// The head of the answer is there, or none will come.
    pub fn end<E: Display>(self, outcome: Result<StatusCode, E>) {
        match outcome {
            Ok(status) => {
                self.0
                    .note("http.response.status_code", i64::from(status.as_u16()));
                let is_failure = status.is_client_error() || status.is_server_error();
                self.0.end(is_failure.then_some(""));
            }
            Err(error) => self.0.end(Some(&error.to_string())),
        }
    }
}

impl Uids {
    fn attribute(&self) -> KeyValue {
        let uids = Value::Array(Array::String(self.0.clone()));
        KeyValue::new("kms.request.uids", uids)
    }
}

impl Open {
    fn note(&self, name: &'static str, value: impl Into<Value>) {
        self.0.span().set_attribute(KeyValue::new(name, value));
    }

    /// Ends it once; what comes later changes nothing.
    fn end(&self, failure: Option<&str>) {
        let span = self.0.span();
        if let Some(failure) = failure {
            span.set_status(SpanStatus::error(short(failure)));
        }
        span.end();
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.0.span().is_recording() {
            self.end(Some("given up"));
        }
    }
}

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let value = (key == TRACEPARENT).then(|| self.0.get(key)).flatten();
        value.and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

fn short(text: &str) -> String {
    text.chars().take(MOST_TEXT).collect()
}

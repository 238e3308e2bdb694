//! A double of a collector of spans: OTLP, protobuf over HTTP. It keeps what it receives, refuses it,
//! or never answers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanStatus;
use prost::Message;

use super::listener::Listener;
use super::wait;

/// The only path that it answers.
const PATH: &str = "/v1/traces";
const LIMIT: Duration = Duration::from_secs(20);

/// A running collector; stopped when dropped.
pub struct Collector {
    listener: Listener,
    shared: Arc<Mutex<Shared>>,
}

/// What it does with what it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// It keeps it.
    #[default]
    Takes,
    /// It answers 400, which nobody repeats.
    Refuses,
    /// It reads it and says nothing.
    Hangs,
}

#[derive(Default)]
struct Shared {
    manner: Manner,
    requests: usize,
    bodies: Vec<Bytes>,
    spans: Vec<Span>,
    services: Vec<String>,
}

/// A span that was sent.
#[derive(Clone, Debug)]
pub struct Span(otlp::Span);

impl Collector {
    /// One that takes what it is sent.
    pub fn start() -> Self {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let of_all = Arc::clone(&shared);
        let listener = Listener::start(move |stream| {
            let shared = Arc::clone(&of_all);
            async move {
                let service = service_fn(|request| take(request, &shared));
                // It ends when the daemon leaves.
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            }
        });
        Self { listener, shared }
    }

    /// It does this from now on.
    pub fn set(&self, manner: Manner) {
        lock(&self.shared).manner = manner;
    }

    /// `http://127.0.0.1:…`, without a path.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.listener.address())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> u64 {
        self.listener.connections()
    }

    /// How many requests came, whatever became of them.
    pub fn requests(&self) -> usize {
        lock(&self.shared).requests
    }

    /// All spans so far, in the order of their end.
    pub fn spans(&self) -> Vec<Span> {
        lock(&self.shared).spans.clone()
    }

    /// What was sent, as it was.
    pub fn bodies(&self) -> Vec<Bytes> {
        lock(&self.shared).bodies.clone()
    }

    /// The name that the last spans' service has.
    pub fn service(&self) -> Option<String> {
        lock(&self.shared).services.last().cloned()
    }

    /// Waits for a span.
    pub async fn span(&self, what: &str, is_it: impl Fn(&Span) -> bool) -> Span {
        wait::until(what, LIMIT, async || self.spans().into_iter().find(&is_it)).await
    }

    /// Waits for the span of the call with this uid.
    pub async fn call(&self, uid: &str) -> Span {
        let what = format!("the span of the call {uid}");
        let is_it = |span: &Span| span.text("kms.request.uid").as_deref() == Some(uid);
        self.span(&what, is_it).await
    }
}

async fn take(
    request: Request<Incoming>,
    shared: &Mutex<Shared>,
) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let body = to_bytes(Body::new(body), usize::MAX).await;
    let manner = {
        let mut shared = lock(shared);
        shared.requests += 1;
        shared.manner
    };
    let mut answer = Response::new(Body::empty());
    match (manner, head.uri.path(), body) {
        (Manner::Hangs, ..) => match std::future::pending::<Infallible>().await {},
        (Manner::Takes, PATH, Ok(body)) => keep(&body, &mut lock(shared)),
        _ => *answer.status_mut() = StatusCode::BAD_REQUEST,
    }
    Ok(answer)
}

fn keep(body: &Bytes, shared: &mut Shared) {
    let request = ExportTraceServiceRequest::decode(body.clone()).expect("OTLP");
    shared.bodies.push(body.clone());
    for of_resource in request.resource_spans {
        let resource = of_resource.resource.unwrap_or_default();
        let name = value(&resource.attributes, "service.name").and_then(text);
        shared.services.extend(name);
        let of_scopes = of_resource.scope_spans.into_iter();
        let spans = of_scopes.flat_map(|scope| scope.spans);
        shared.spans.extend(spans.map(Span));
    }
}

impl Span {
    /// What it is called.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its trace.
    pub fn trace(&self) -> String {
        hex(&self.0.trace_id)
    }

    /// Itself.
    pub fn id(&self) -> String {
        hex(&self.0.span_id)
    }

    /// Its parent; empty if it is the first of its trace.
    pub fn parent(&self) -> String {
        hex(&self.0.parent_span_id)
    }

    /// The spans that it is linked to.
    pub fn links(&self) -> Vec<String> {
        let links = self.0.links.iter();
        links.map(|link| hex(&link.span_id)).collect()
    }

    /// What kind it is.
    pub fn kind(&self) -> SpanKind {
        self.0.kind()
    }

    /// What it says went wrong, if anything did.
    pub fn failure(&self) -> Option<&str> {
        let status = self.0.status.as_ref()?;
        (status.code() == SpanStatus::Error).then_some(&status.message)
    }

    /// An attribute that is a text.
    pub fn text(&self, name: &str) -> Option<String> {
        value(&self.0.attributes, name).and_then(text)
    }

    /// An attribute that is a number.
    pub fn number(&self, name: &str) -> Option<i64> {
        match value(&self.0.attributes, name)? {
            Value::IntValue(number) => Some(*number),
            _ => None,
        }
    }

    /// An attribute that is a list of texts.
    pub fn texts(&self, name: &str) -> Vec<String> {
        let Some(Value::ArrayValue(list)) = value(&self.0.attributes, name) else {
            return Vec::new();
        };
        let values = list.values.iter().filter_map(|value| value.value.as_ref());
        values.filter_map(text).collect()
    }
}

fn value<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a Value> {
    let found = attributes.iter().find(|attribute| attribute.key == name);
    found?.value.as_ref()?.value.as_ref()
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

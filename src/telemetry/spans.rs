//! Spans: one for each call of kube-apiserver, one for the batch that carries it to Vault, one for
//! each HTTP request. They are tracing's own; without the feature `otlp` their callsites are disabled.
//!
//! Numbers are `i64`: OpenTelemetry has no other integers, and others would become texts. Nothing in a
//! span is secret: no plaintext, no ciphertext, no token, no header.

#[cfg(feature = "otlp")]
mod export;
#[cfg(not(feature = "otlp"))]
mod no_export;
#[cfg(feature = "otlp")]
mod otel;

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use http::HeaderMap;
use reqwest::{Method, StatusCode, Url};
use tonic::{Code, Status};
use tracing::field::Empty;
use tracing::instrument::Instrument;
use tracing::{Level, Span, info_span};

#[cfg(feature = "otlp")]
pub(super) use export::Export;
#[cfg(not(feature = "otlp"))]
pub(super) use no_export::Export;

/// The target of every span; no event has it.
pub(super) const TARGET: &str = "span";
/// The services, and what the names of their calls' spans begin with.
const SERVICES: [(&str, &str); 2] = [
    ("v2.KeyManagementService", "kms.v2"),
    ("v1beta1.KeyManagementService", "kms.v1"),
];
/// All methods of both services. A client may ask for any other name, which gets no span.
const METHODS: [&str; 4] = ["Encrypt", "Decrypt", "Status", "Version"];
/// What every key_id of this plugin begins with; any other is foreign text.
const KEY_ID: &str = "transit1:";
/// In characters. A uid is a UUID, a key_id has 1,024 at most, an error a few sentences; but foreign
/// text may be a whole message, and thousands of spans may wait for a collector that is unreachable.
const MAX_TEXT: usize = 1024;
/// The links that the SDK keeps. Identical Decrypts can be more than the items of a batch.
const MAX_CALLERS: usize = 128;

/// A call of kube-apiserver, from its headers until its answer.
#[derive(Debug, Clone)]
pub struct CallSpan(Option<Arc<Call>>);

#[derive(Debug)]
struct Call {
    span: SpanGuard,
    uid: OnceLock<Arc<str>>,
}

/// What a call passes on, so that its batch can name it.
#[derive(Debug, Clone)]
pub struct Parent {
    span: Span,
    uid: Option<Arc<str>>,
}

/// The calls that a batch carries, except those that nothing names.
#[derive(Debug, Clone)]
pub struct Callers(Vec<Parent>);

/// A batch, from its departure until its outcomes are known.
#[derive(Debug)]
pub struct BatchSpan {
    span: SpanGuard,
    /// Of its callers, if they are logged.
    uids: Option<Arc<str>>,
}

tokio::task_local! {
    /// The uids of the calls whose batch is being sent.
    static UIDS: Option<Arc<str>>;
}

/// One HTTP request to Vault, until the head of the answer has come.
#[derive(Debug)]
pub struct RequestSpan(SpanGuard);

/// A span that has to end. If it is dropped before, its work was given up: the client left, or its
/// deadline passed.
#[derive(Debug)]
struct SpanGuard {
    span: Span,
    has_ended: AtomicBool,
}

impl CallSpan {
    /// Begins, as a child of the client's span if the headers name one.
    #[must_use]
    pub fn begin(path: &str, headers: &HeaderMap) -> Self {
        let Some((version, service, method)) = call_of(path) else {
            return Self(None);
        };
        let span = info_span!(
            target: TARGET,
            parent: None,
            "call",
            otel.name = format!("{version}/{method}"),
            otel.kind = "server",
            otel.status_code = Empty,
            otel.status_description = Empty,
            rpc.system = "grpc",
            rpc.service = service,
            rpc.method = method,
            rpc.grpc.status_code = Empty,
            kms.request.uid = Empty,
            kms.key_id = Empty,
        );
        if span.is_disabled() && !logs_uids() {
            return Self(None);
        }
        #[cfg(feature = "otlp")]
        otel::set_parent_from(&span, headers);
        #[cfg(not(feature = "otlp"))]
        let _ = headers;
        Self(Some(Arc::new(Call {
            span: SpanGuard::new(span),
            uid: OnceLock::new(),
        })))
    }

    /// Records kube-apiserver's own number for the call.
    pub fn uid(&self, uid: &str) {
        if let Some(call) = &self.0 {
            let uid: Arc<str> = shorten(uid).into();
            call.span.span.record("kms.request.uid", &*uid);
            let _ = call.uid.set(uid);
        }
    }

    /// Records the key_id that the call brings, or that it is answered with, unless it is foreign
    /// text.
    pub fn key_id(&self, key_id: &str) {
        if let Some(call) = &self.0
            && key_id.starts_with(KEY_ID)
        {
            call.span.span.record("kms.key_id", shorten(key_id));
        }
    }

    /// What it passes on.
    #[must_use]
    pub fn parent(&self) -> Parent {
        self.0.as_ref().map_or(Parent::NOBODY, |call| Parent {
            span: call.span.span.clone(),
            uid: call.uid.get().cloned(),
        })
    }

    /// Ends with the answer's headers, which hold the error if there is one.
    pub fn end(self, answer: &HeaderMap) {
        let Some(call) = &self.0 else { return };
        let failure = Status::from_header_map(answer);
        let failure = failure.as_ref();
        let code = failure.map_or(Code::Ok, Status::code);
        call.span
            .span
            .record("rpc.grpc.status_code", i64::from(code as i32));
        call.span.end(failure.map(Status::message));
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
        span: Span::none(),
        uid: None,
    };
}

impl<'a> FromIterator<&'a Parent> for Callers {
    fn from_iter<I: IntoIterator<Item = &'a Parent>>(callers: I) -> Self {
        let is_known = |caller: &&Parent| !caller.span.is_none() || caller.uid.is_some();
        let known = callers.into_iter().filter(is_known);
        Self(known.take(MAX_CALLERS).cloned().collect())
    }
}

impl Callers {
    /// With a comma between them.
    fn uids(&self) -> Option<Arc<str>> {
        let uids: Vec<&str> = self.0.iter().filter_map(|it| it.uid.as_deref()).collect();
        (!uids.is_empty()).then(|| uids.join(",").into())
    }
}

/// Whether a request of a batch is logged with the uids of its callers.
fn logs_uids() -> bool {
    tracing::enabled!(target: "vault_kms_plugin::vault", Level::DEBUG)
}

/// The uids of the calls of kube-apiserver for which the present request is made, with a comma
/// between them.
#[must_use]
pub fn uids() -> Option<Arc<str>> {
    UIDS.try_with(Clone::clone).ok().flatten()
}

impl BatchSpan {
    /// Begins, as a child of the first call that is recorded, with links to the others: a span has
    /// one parent. Without a call, as with a canary, it is the first of its trace.
    #[must_use]
    pub fn begin(operation: &'static str, items: usize, callers: &Callers) -> Self {
        let span = info_span!(
            target: TARGET,
            parent: None,
            "batch",
            otel.name = format!("batch/{operation}"),
            otel.status_code = Empty,
            otel.status_description = Empty,
            kms.batch.operation = operation,
            kms.batch.items = i64::try_from(items).unwrap_or(i64::MAX),
        );
        #[cfg(feature = "otlp")]
        otel::set_callers(
            &span,
            callers.0.iter().map(|it| (&it.span, it.uid.as_ref())),
        );
        Self {
            span: SpanGuard::new(span),
            uids: if logs_uids() { callers.uids() } else { None },
        }
    }

    /// Runs the work; requests in it are children of this batch.
    pub fn around<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        let work = work.instrument(self.span.span.clone());
        UIDS.scope(self.uids.clone(), work)
    }

    /// Ends with its outcome.
    pub fn end<T, E: Display>(self, outcome: &Result<T, E>) {
        let failure = outcome.as_ref().err().map(E::to_string);
        self.span.end(failure.as_deref());
    }
}

impl RequestSpan {
    /// Begins, as a child of the current batch. A request of the session, or of a refresh of the
    /// key, is the first of its trace.
    #[must_use]
    pub fn begin(method: &Method, url: &Url) -> Self {
        let path = url.path();
        let span = info_span!(
            target: TARGET,
            "request",
            otel.name = format!("{method} {path}"),
            otel.kind = "client",
            otel.status_code = Empty,
            otel.status_description = Empty,
            http.request.method = method.as_str(),
            http.response.status_code = Empty,
            url.path = path,
            server.address = url.host_str().unwrap_or_default(),
            server.port = url.port_or_known_default().map(i64::from),
        );
        #[cfg(feature = "otlp")]
        otel::copy_uids(&span);
        Self(SpanGuard::new(span))
    }

    /// Ends when the head of the answer has come, or the request has failed.
    pub fn end<E: Display>(self, outcome: Result<StatusCode, E>) {
        match outcome {
            Ok(status) => {
                let code = i64::from(status.as_u16());
                self.0.span.record("http.response.status_code", code);
                let is_failure = status.is_client_error() || status.is_server_error();
                self.0.end(is_failure.then_some(""));
            }
            Err(error) => self.0.end(Some(&error.to_string())),
        }
    }
}

impl SpanGuard {
    fn new(span: Span) -> Self {
        Self {
            span,
            has_ended: AtomicBool::new(false),
        }
    }

    /// Ends the span. Later calls change nothing.
    fn end(&self, failure: Option<&str>) {
        if self.has_ended.swap(true, Ordering::Relaxed) || self.span.is_disabled() {
            return;
        }
        if let Some(failure) = failure {
            self.span.record("otel.status_code", "ERROR");
            self.span
                .record("otel.status_description", shorten(failure));
        }
        // tracing ends a span when its last child has ended, which may be seconds later.
        #[cfg(feature = "otlp")]
        otel::end(&self.span);
    }
}

impl Drop for SpanGuard {
    fn drop(&mut self) {
        self.end(Some("given up"));
    }
}

fn shorten(text: &str) -> &str {
    let end = text.char_indices().nth(MAX_TEXT);
    end.map_or(text, |(end, _)| &text[..end])
}

//! The services for one connection: each call is counted from its first header until its answer is
//! taken, pays for what it sends, and does not last for ever.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::rt::Executor;
use hyper::service::Service;
use tokio::time::timeout;
use tonic::codegen::Service as _;
use tonic::service::Routes;
use tonic::{Code, Status};

use super::MAX_MESSAGE;
use super::call::{Call, Tally};
use super::deadline;
use super::status;
use super::traces::Traces;
use crate::telemetry::metrics::CallKind;
use crate::telemetry::spans::CallSpan;

/// kube-apiserver sends a message with its headers.
const MESSAGE_LIMIT: Duration = Duration::from_secs(10);
/// What gRPC puts before a message: a flag and its length.
const PREFIX: usize = 5;
/// From the first header until the answer is taken: the longest deadline, and time around it.
const CALL_LIMIT: Duration = deadline::LONGEST.saturating_add(Duration::from_secs(20));

/// The services, for one connection.
#[derive(Debug, Clone)]
pub(super) struct Counted {
    routes: Routes,
    tally: Arc<Tally>,
    traces: Traces,
}

/// Runs each call of a connection in a task of its own, for so long and no longer.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallTasks;

/// A message, all of it: what is not there yet has no buffers of tonic's.
struct Message(Bytes);

/// What a client is to fetch.
pub(super) struct Answer {
    body: tonic::body::Body,
    /// Held until all of it is on its way.
    _call: Option<Arc<Call>>,
}

impl Counted {
    pub(super) fn new(routes: Routes, tally: Arc<Tally>, traces: Traces) -> Self {
        Self {
            routes,
            tally,
            traces,
        }
    }
}

impl Service<Request<Incoming>> for Counted {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answer>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let path = request.uri().path();
        let timer = self.tally.metrics().call(kind_of(path));
        let carrier = self.traces.note(path);
        let span = CallSpan::begin(path, request.headers());
        let call = Call::begin(&self.tally, span.clone());
        let routes = self.routes.clone();
        Box::pin(async move {
            let answer = answer(request, call, routes).await?;
            drop(carrier);
            timer.end(code_of(&answer));
            span.end(answer.headers());
            Ok(answer)
        })
    }
}

async fn answer(
    request: Request<Incoming>,
    call: Option<Arc<Call>>,
    mut routes: Routes,
) -> Result<Response<Answer>, Infallible> {
    let Some(call) = call else {
        // Without a look at what may still come.
        return Ok(refusal(&status::too_much_at_once()));
    };
    let (mut head, body) = request.into_parts();
    let read = timeout(MESSAGE_LIMIT, read(&head.headers, body, &call)).await;
    let message = match read.unwrap_or_else(|_| Err(status::message_too_slow())) {
        Ok(message) => message,
        Err(status) => return Ok(refusal(&status)),
    };
    head.extensions.insert(call.clone());
    let answer = routes.call(Request::from_parts(head, message)).await?;
    let _call = Some(call);
    Ok(answer.map(|body| Answer { body, _call }))
}

/// What a path asks for. Any other path is of no service of ours.
fn kind_of(path: &str) -> CallKind {
    let (kms_version, operation) = match path.trim_start_matches('/').split_once('/') {
        Some(("v2.KeyManagementService", method)) => ("v2", method),
        Some(("v1beta1.KeyManagementService", method)) => ("v1", method),
        _ => ("none", ""),
    };
    let operation = match operation {
        "Encrypt" => "encrypt",
        "Decrypt" => "decrypt",
        "Status" => "status",
        "Version" => "version",
        _ => "other",
    };
    CallKind {
        operation,
        kms_version,
    }
}

/// How it ended: an error stands in the headers, before any message.
fn code_of(answer: &Response<Answer>) -> &'static str {
    let error = Status::from_header_map(answer.headers());
    status::name_of(error.map_or(Code::Ok, |status| status.code()))
}

fn refusal(status: &Status) -> Response<Answer> {
    let answer = status.clone().into_http();
    answer.map(|body| Answer { body, _call: None })
}

/// Of a message that is too long no more than shows it: tonic refuses it.
async fn read(headers: &HeaderMap, mut body: Incoming, call: &Call) -> Result<Message, Status> {
    let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    call.pay(headers.iter().map(size).sum())?;
    let mut message = Vec::new();
    while !is_too_long(&message) {
        let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await else {
            break;
        };
        let frame = frame.map_err(|error| Status::from_error(error.into()))?;
        if let Some(data) = frame.data_ref() {
            call.pay(data.len())?;
            // Copied: a small part of a buffer keeps all of it.
            message.extend_from_slice(data);
        }
    }
    Ok(Message(message.into()))
}

/// By what is there, or by what it announces.
fn is_too_long(message: &[u8]) -> bool {
    let announced = match message {
        [_, l0, l1, l2, l3, ..] => u32::from_be_bytes([*l0, *l1, *l2, *l3]) as usize,
        _ => 0,
    };
    announced.max(message.len().saturating_sub(PREFIX)) > MAX_MESSAGE
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for CallTasks {
    fn execute(&self, call: F) {
        // One that is cut off is reset.
        tokio::spawn(timeout(CALL_LIMIT, call));
    }
}

impl Body for Message {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let rest = std::mem::take(&mut self.0);
        Poll::Ready((!rest.is_empty()).then_some(Ok(Frame::data(rest))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

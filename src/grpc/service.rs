//! The services for one connection: each call is counted from its first header until its answer is
//! taken, is charged for what it sends, and has a time limit.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::rt::Executor;
use hyper::service::Service;
use tokio::time::timeout;
use tonic::codegen::Service as _;
use tonic::service::Routes;
use tonic::{Code, Status};

use super::call::{Call, ConnectionState};
use super::codec::MAX_MESSAGE;
use super::deadline::{self, Deadline};
use super::error;
use super::seed_residue::SeedActivity;
use crate::telemetry::metrics::{self, CallKind};
use crate::telemetry::spans::CallSpan;

/// kube-apiserver sends a message with its headers.
const MESSAGE_LIMIT: Duration = Duration::from_secs(10);
/// What gRPC puts before a message: a flag and its length.
const PREFIX: usize = 5;
/// From the first header until the answer is taken: the longest deadline, and time around it.
const CALL_LIMIT: Duration = deadline::MAX_DEADLINE.saturating_add(Duration::from_secs(20));

/// The services, for one connection.
#[derive(Debug, Clone)]
pub(super) struct CallService {
    routes: Routes,
    connection: Arc<ConnectionState>,
    seeds: SeedActivity,
}

/// Runs each call of a connection in a task of its own, up to [`CALL_LIMIT`].
#[derive(Debug, Clone, Copy)]
pub(super) struct CallExecutor;

/// The body of an answer.
pub(super) struct ResponseBody {
    body: tonic::body::Body,
    /// Held until the whole body is handed over.
    _call: Option<Arc<Call>>,
}

impl CallService {
    pub(super) fn new(
        routes: Routes,
        connection: Arc<ConnectionState>,
        seeds: SeedActivity,
    ) -> Self {
        Self {
            routes,
            connection,
            seeds,
        }
    }
}

impl Service<Request<Incoming>> for CallService {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let deadline = Deadline::of_headers(request.headers());
        let path = request.uri().path();
        let timer = self.connection.metrics().call(kind_of(path));
        let seed_call = self.seeds.record(path);
        let span = CallSpan::begin(path, request.headers());
        let call = Call::begin(&self.connection, span.clone());
        let routes = self.routes.clone();
        Box::pin(async move {
            let answer = answer(request, call, deadline, routes).await?;
            drop(seed_call);
            timer.end(code_of(&answer));
            span.end(answer.headers());
            Ok(answer)
        })
    }
}

async fn answer(
    request: Request<Incoming>,
    call: Option<Arc<Call>>,
    deadline: Deadline,
    mut routes: Routes,
) -> Result<Response<ResponseBody>, Infallible> {
    let Some(call) = call else {
        // Whatever the client still sends is not read.
        return Ok(refusal(&error::out_of_memory()));
    };
    let (mut head, body) = request.into_parts();
    let read = timeout(MESSAGE_LIMIT, read(&head.headers, body, &call)).await;
    // A whole message: tonic allocates no buffers for one that is still on its way.
    let message = match read.unwrap_or_else(|_| Err(error::message_too_slow())) {
        Ok(message) => Full::new(message),
        Err(status) => return Ok(refusal(&status)),
    };
    head.extensions.insert(call.clone());
    head.extensions.insert(deadline);
    let answer = routes.call(Request::from_parts(head, message)).await?;
    let _call = Some(call);
    Ok(answer.map(|body| ResponseBody { body, _call }))
}

/// What a path asks for. Other paths belong to no service of this plugin.
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
        _ => metrics::OTHER,
    };
    CallKind {
        operation,
        kms_version,
    }
}

/// The code of an answer: the headers hold an error, before any message.
fn code_of(answer: &Response<ResponseBody>) -> &'static str {
    let status = Status::from_header_map(answer.headers());
    error::name_of(status.map_or(Code::Ok, |status| status.code()))
}

fn refusal(status: &Status) -> Response<ResponseBody> {
    let answer = status.clone().into_http();
    answer.map(|body| ResponseBody { body, _call: None })
}

/// Reads a message. Stops once it exceeds the limit; tonic then rejects it.
async fn read(headers: &HeaderMap, mut body: Incoming, call: &Call) -> Result<Bytes, Status> {
    let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    call.charge(headers.iter().map(size).sum())?;
    let mut message = Vec::new();
    while !is_too_long(&message) {
        let Some(frame) = body.frame().await else {
            break;
        };
        let frame = frame.map_err(|error| Status::from_error(error.into()))?;
        if let Some(data) = frame.data_ref() {
            call.charge(data.len())?;
            // Copied: a small part of a buffer would keep the whole buffer.
            message.extend_from_slice(data);
        }
    }
    Ok(message.into())
}

/// Returns whether the message exceeds the limit, by its length so far or by the one that it
/// announces.
fn is_too_long(message: &[u8]) -> bool {
    let announced = match message {
        [_, l0, l1, l2, l3, ..] => u32::from_be_bytes([*l0, *l1, *l2, *l3]) as usize,
        _ => 0,
    };
    announced.max(message.len().saturating_sub(PREFIX)) > MAX_MESSAGE
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for CallExecutor {
    fn execute(&self, call: F) {
        // A call that is cut off is reset.
        tokio::spawn(timeout(CALL_LIMIT, call));
    }
}

impl Body for ResponseBody {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A message that announces one length and has another so far.
    fn message(announced: u32, received: usize) -> Vec<u8> {
        let mut message = vec![0];
        message.extend(announced.to_be_bytes());
        message.resize(PREFIX + received, 7);
        message
    }

    #[test]
    fn a_path_is_one_of_the_methods_of_the_two_services_or_another_one() {
        fn kind(path: &str) -> (&'static str, &'static str) {
            let kind = kind_of(path);
            (kind.operation, kind.kms_version)
        }
        for (service, version) in [("v2", "v2"), ("v1beta1", "v1")] {
            for (method, operation) in [
                ("Encrypt", "encrypt"),
                ("Decrypt", "decrypt"),
                ("Status", "status"),
                ("Version", "version"),
                ("Rotate", metrics::OTHER),
            ] {
                let path = format!("/{service}.KeyManagementService/{method}");
                assert_eq!(kind(&path), (operation, version), "{path}");
            }
        }
        for path in [
            "",
            "/",
            "/grpc.health.v1.Health/Check",
            "/v3.KeyManagementService/Encrypt",
        ] {
            assert_eq!(kind(path), (metrics::OTHER, "none"), "{path}");
        }
    }

    #[test]
    fn an_answer_has_the_code_of_its_headers() {
        for status in [Status::ok(""), error::no_answer(), error::out_of_memory()] {
            let code = code_of(&refusal(&status));
            assert_eq!(code, error::name_of(status.code()));
        }
    }

    #[test]
    fn a_message_is_too_long_by_what_it_announces_or_by_what_came() {
        let limit = u32::try_from(MAX_MESSAGE).expect("small");
        for (announced, received, expected) in [
            (limit, MAX_MESSAGE, false),
            (limit + 1, 0, true),
            (u32::MAX, 0, true),
            (0, MAX_MESSAGE, false),
            (0, MAX_MESSAGE + 1, true),
        ] {
            let is = is_too_long(&message(announced, received));
            assert_eq!(is, expected, "{announced} {received}");
        }
        for short in [&[][..], &[0], &[0, 255, 255, 255]] {
            assert!(!is_too_long(short));
        }
    }
}

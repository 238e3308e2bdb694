//! The connection to etcd: each member is tried until one answers, and every request has a deadline.

mod endpoint;
mod error;
mod handshake;
mod options;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tonic::{Request, Streaming};

use crate::diagnosis::Diagnosis;
use crate::etcd::proto::kv_client::KvClient;
use crate::etcd::proto::watch_client::WatchClient;
use crate::etcd::proto::{RangeRequest, RangeResponse, WatchRequest, WatchResponse};
use crate::etcd::scan::SourceError;
use endpoint::Endpoint;
pub use error::CallError;
pub use options::{NamedFile, Options};
use tls::Tls;

/// How long the first answer of a member may take: its disk may be slow, and it asks the leader.
const FIRST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a page may take.
const PAGE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a watch may take to be opened.
const WATCH_TIMEOUT: Duration = Duration::from_secs(10);
/// How often all members are tried for a page, and how long it is between two rounds: an election takes about a
/// second, the restart of a member a few.
const ROUNDS: usize = 6;
const BETWEEN_ROUNDS: Duration = Duration::from_secs(2);
/// The largest answer that is accepted, in bytes: a value has at most 1.5 MiB by default, and a page is aimed at 4 MiB.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// A connection to the members of one etcd.
#[derive(Debug)]
pub struct Connection {
    endpoints: Vec<Endpoint>,
    tls: Option<Tls>,
    /// The member that answered last.
    current: AtomicUsize,
}

impl Connection {
    /// Connects to the first member that answers a read below this prefix, such as `/registry`.
    ///
    /// # Errors
    /// If a file is missing or unusable, an address is wrong, or no member answers: the failures of all.
    pub async fn open(options: &Options, prefix: &str) -> Result<Self, SourceError> {
        let connection = Self::new(options)?;
        // The whole range, so that a missing permission shows here: `0` follows `/`.
        let prefix = prefix.trim_end_matches('/');
        let probe = RangeRequest {
            key: format!("{prefix}/").into(),
            range_end: format!("{prefix}0").into(),
            keys_only: true,
            limit: 1,
            ..RangeRequest::default()
        };
        let mut failures = Vec::new();
        for index in 0..connection.endpoints.len() {
            match connection.range_at(index, &probe, FIRST_TIMEOUT).await {
                Ok(_) => {
                    connection.current.store(index, Ordering::Relaxed);
                    return Ok(connection);
                }
                Err(error) => failures.push(connection.explain(index, error).await),
            }
        }
        Err(joined(failures))
    }

    fn new(options: &Options) -> Result<Self, SourceError> {
        let prefers_tls = options.cacert.is_some() || options.identity.is_some();
        let addresses: Result<Vec<_>, _> = options
            .endpoints
            .iter()
            .map(|address| endpoint::with_scheme(address, prefers_tls))
            .collect();
        let addresses = addresses.map_err(SourceError::Invalid)?;
        if addresses.is_empty() {
            let cause = "no endpoint of etcd is given".into();
            return Err(SourceError::Invalid(cause));
        }
        let needs_tls = addresses.iter().any(|address| endpoint::is_tls(address));
        let tls = needs_tls.then(|| Tls::read(options)).transpose();
        let tls = tls.map_err(SourceError::Invalid)?;
        let endpoints: Result<Vec<_>, _> = addresses
            .into_iter()
            .map(|address| Endpoint::new(address, tls.as_ref(), options.identity.is_some()))
            .collect();
        Ok(Self {
            endpoints: endpoints.map_err(SourceError::Invalid)?,
            tls,
            current: AtomicUsize::new(0),
        })
    }

    /// The failure of a member that did not answer at all, with the alert of TLS if there is one.
    async fn explain(&self, index: usize, error: CallError) -> CallError {
        let endpoint = &self.endpoints[index];
        let (CallError::Transient(_), Some(tls)) = (&error, &self.tls) else {
            return error;
        };
        if !endpoint::is_tls(&endpoint.label) {
            return error;
        }
        let (address, config) = (endpoint.label.clone(), Arc::clone(&tls.plain));
        match spawn_blocking(move || handshake::alert(&address, config)).await {
            Ok(Some(alert)) => CallError::tls(endpoint, &alert),
            _ => error,
        }
    }

    /// The member that answered last, for an operator.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.endpoints[self.current.load(Ordering::Relaxed)].label
    }

    /// Reads a range: from the member that answered last, then from the others, for a few rounds.
    ///
    /// # Errors
    /// What cannot be repeated, or the failure of the last attempt.
    pub async fn range(&self, request: &RangeRequest) -> Result<RangeResponse, CallError> {
        let mut attempt = 0;
        loop {
            let first = self.current.load(Ordering::Relaxed);
            let error = match self.range_at(first, request, PAGE_TIMEOUT).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            attempt += 1;
            let is_last = attempt >= ROUNDS * self.endpoints.len();
            if is_last || !matches!(error, CallError::Transient(_)) {
                return Err(error);
            }
            self.current
                .store((first + 1) % self.endpoints.len(), Ordering::Relaxed);
            if attempt % self.endpoints.len() == 0 {
                sleep(BETWEEN_ROUNDS).await;
            }
        }
    }

    async fn range_at(
        &self,
        index: usize,
        request: &RangeRequest,
        limit: Duration,
    ) -> Result<RangeResponse, CallError> {
        let endpoint = &self.endpoints[index];
        let mut client =
            KvClient::new(endpoint.channel.clone()).max_decoding_message_size(MAX_ANSWER);
        let mut request = Request::new(request.clone());
        // Lets etcd give up as well.
        request.set_timeout(limit);
        match timeout(limit, client.range(request)).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(CallError::of(endpoint, &status)),
            Err(_) => Err(CallError::timeout(endpoint, limit.as_secs())),
        }
    }

    /// Opens a stream of watches at the member that answered last. Whoever reads it bounds the wait.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub async fn watch(
        &self,
        mut requests: mpsc::Receiver<WatchRequest>,
    ) -> Result<Streaming<WatchResponse>, CallError> {
        let endpoint = &self.endpoints[self.current.load(Ordering::Relaxed)];
        let mut client =
            WatchClient::new(endpoint.channel.clone()).max_decoding_message_size(MAX_ANSWER);
        let requests = stream::poll_fn(move |context| requests.poll_recv(context));
        match timeout(WATCH_TIMEOUT, client.watch(requests)).await {
            Ok(Ok(stream)) => Ok(stream.into_inner()),
            Ok(Err(status)) => Err(CallError::of(endpoint, &status)),
            Err(_) => Err(CallError::timeout(endpoint, WATCH_TIMEOUT.as_secs())),
        }
    }

    /// Why the stream of watches of the current member ended.
    #[must_use]
    pub fn watch_error(&self, status: &tonic::Status) -> CallError {
        let endpoint = &self.endpoints[self.current.load(Ordering::Relaxed)];
        CallError::of(endpoint, status)
    }
}

/// The failures of all members as one error. It is of the input if each is.
fn joined(failures: Vec<CallError>) -> SourceError {
    let mut is_input = true;
    let mut causes = Vec::new();
    let mut remedy = None;
    for failure in failures {
        let error = SourceError::from(failure);
        is_input &= matches!(error, SourceError::Invalid(_));
        let (SourceError::Unavailable(diagnosis) | SourceError::Invalid(diagnosis)) = error;
        causes.push(diagnosis.cause);
        remedy = remedy.or(diagnosis.remedy);
    }
    let diagnosis = Diagnosis {
        cause: causes.join(", "),
        remedy,
    };
    if is_input {
        SourceError::Invalid(diagnosis)
    } else {
        SourceError::Unavailable(diagnosis)
    }
}

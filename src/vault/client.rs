//! Connections to Vault: one HTTP client per address, a request in, a bounded answer out.
//!
//! Which node is asked, and in which order, stands here; when a second time, in `ask.rs`.

mod address;
mod ask;
mod build;
mod hop;
mod mark;
mod node;
mod proxy;
mod redirect;
mod request;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

pub use super::tls::{BuildError, ClientCertificate};
pub use address::Address;
pub use build::Settings;
pub use hop::Hop;
use node::Node;
pub use proxy::{InvalidProxy, Proxies, Proxy};
pub(super) use request::Request;

use super::answer::Answer;
use super::error::CallError;
use super::tls::{ServerCertificate, Watch};
use crate::telemetry::metrics::Metrics;

/// How long a look at the certificate files may hold a request up; files on a share can hang.
const LOOK_LIMIT: Duration = Duration::from_secs(1);

/// One Vault or OpenBao, reachable at one address or at several.
#[derive(Debug)]
pub struct Client {
    nodes: Arc<Vec<Node>>,
    /// The node to ask first: the one that answered last.
    preferred: AtomicUsize,
    /// The certificate files, where TLS is spoken.
    watch: Option<Arc<Mutex<Watch>>>,
    metrics: Metrics,
}

impl Client {
    /// Prepares the connections; opens none. Requests are counted in `metrics`.
    ///
    /// # Errors
    /// When a certificate file cannot be read or used.
    pub fn new(settings: &Settings, metrics: Metrics) -> Result<Self, BuildError> {
        let (nodes, watch) = build::nodes(settings)?;
        Ok(Self {
            nodes: Arc::new(nodes),
            preferred: AtomicUsize::new(0),
            watch: watch.map(|watch| Arc::new(Mutex::new(watch))),
            metrics,
        })
    }

    /// Where its requests are counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The address that is asked first, for an operator.
    #[must_use]
    pub fn address(&self) -> String {
        let preferred = self.nodes.get(self.preferred.load(Ordering::Relaxed));
        preferred.map_or_else(String::new, |node| node.label().to_owned())
    }

    /// The certificate that the server of the first address was last accepted with.
    #[must_use]
    pub fn server_certificate(&self) -> Option<ServerCertificate> {
        self.nodes.first()?.pool().server_certificate()
    }

    /// Until when the certificates are valid that connections to the preferred node are made with:
    /// `server` and `client`, where there are such, in UTC seconds.
    #[must_use]
    pub fn certificate_ends(&self) -> Vec<(&'static str, i64)> {
        let node = self.nodes.get(self.preferred.load(Ordering::Relaxed));
        let ends = node.map(|node| node.pool().certificate_ends());
        let known = |(of, end): (_, Option<i64>)| Some((of, end?));
        ends.into_iter().flatten().filter_map(known).collect()
    }

    /// Sends a request to the preferred node, and to the next ones while none can be reached.
    pub(super) async fn send(&self, request: Request<'_>) -> Result<Answer, CallError> {
        self.look_at_certificates(&request).await;
        self.find_a_node_for(&request).await;
        let first = self.preferred.load(Ordering::Relaxed);
        let order = self.order(first);
        let mut left = order.iter().copied().peekable();
        loop {
            let Some(index) = left.next() else {
                return Err(nothing_to_ask(&request));
            };
            let (answered, outcome) = self.ask(index, left.peek().copied(), &request).await;
            if outcome.is_ok() {
                self.prefer(first, answered);
            }
            if left.peek().is_none() || !matches!(outcome, Err(CallError::Unreachable { .. })) {
                return outcome;
            }
        }
    }

    /// What cannot be repeated would wait for a node that hangs until its deadline. So where there is
    /// another node, one that answers is found first.
    async fn find_a_node_for(&self, request: &Request<'_>) {
        if self.nodes.len() > 1 && !request.can_be_repeated() {
            // Boxed, because it comes back here; whatever it answers, it marks the nodes.
            let _ = Box::pin(self.health(request.deadline)).await;
        }
    }

    /// All nodes: the preferred one and those that work first, then those that failed, the longest
    /// ago first.
    fn order(&self, first: usize) -> Vec<usize> {
        let count = self.nodes.len();
        let mut order: Vec<_> = (0..count).map(|step| (first + step) % count).collect();
        let now = Instant::now();
        order.sort_by_key(|index| self.nodes[*index].mark().rank(now));
        order
    }

    /// Asks another node first from now on, unless another call has changed that meanwhile.
    fn prefer(&self, before: usize, now: usize) {
        let order = Ordering::Relaxed;
        let _ = self.preferred.compare_exchange(before, now, order, order);
    }

    /// Has changed certificate files used from here on. A login looks always: with the method
    /// `cert` the certificate is the credential.
    async fn look_at_certificates(&self, request: &Request<'_>) {
        let Some(watch) = &self.watch else { return };
        let limit = LOOK_LIMIT.min(request.time_left());
        let nodes = self.nodes.clone();
        let look = async {
            let mut watch = match request.is_login() {
                true => watch.clone().lock_owned().await,
                false => match watch.clone().try_lock_owned() {
                    Ok(watch) if watch.is_due() => watch,
                    _ => return,
                },
            };
            // Not in here: a file may lie on a share that hangs. It goes on when this gives up.
            let looking = tokio::task::spawn_blocking(move || {
                if let Some(tls) = watch.look() {
                    nodes.iter().for_each(|node| node.renew(&tls));
                }
            });
            let _ = looking.await;
        };
        let _ = timeout(limit, look).await;
    }
}

/// Settings hold one address at least.
fn nothing_to_ask(request: &Request<'_>) -> CallError {
    CallError::Unreachable {
        path: request.path.to_owned(),
        address: "vault".to_owned(),
        cause: "vault.address is empty".to_owned(),
    }
}

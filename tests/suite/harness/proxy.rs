//! A reverse proxy in front of Vault that counts requests and injects faults.
//!
//! It runs on a thread with its own runtime, so that it outlives the runtime of one test, and
//! keeps connections alive at both ends, as a load balancer does.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use tokio::runtime;
use tokio_util::sync::CancellationToken;

#[path = "proxy/serve.rs"]
mod serve;

/// What happens to a request instead of being forwarded.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Nothing: an exception from a wider fault that was set before.
    Pass,
    /// The connection is dropped without an answer; for all paths, at once when it is made.
    Refuse,
    /// No answer, ever.
    Hang,
    /// This answer; Vault never sees the request.
    Answer {
        /// The HTTP status.
        status: u16,
        /// The body as it is.
        body: String,
        /// The header of that name.
        content_type: String,
    },
    /// A redirect to this location.
    Redirect {
        /// The HTTP status.
        status: u16,
        /// The header `location`.
        location: String,
    },
    /// An answer whose connection ends before its body does.
    Cut,
    /// A successful answer with a body of this many bytes.
    Huge(usize),
    /// Passes after a while.
    Delay(Duration),
}

impl Fault {
    /// An answer as Vault writes its errors.
    pub fn error(status: u16, text: &str) -> Self {
        let body = serde_json::json!({ "errors": [text] }).to_string();
        Self::Answer {
            status,
            body,
            content_type: "application/json".to_owned(),
        }
    }
}

/// A request that came in.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `GET`, `POST`, …
    pub method: String,
    /// The path with `/v1` and the query.
    pub path: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

#[derive(Debug)]
struct Rule {
    path_contains: String,
    fault: Fault,
    /// How often it still applies; `None` means always.
    left: Option<u32>,
    /// Which part of the requests it applies to, at random.
    share: f64,
}

#[derive(Debug, Default)]
struct Shared {
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicU64,
}

/// A running proxy; stopped when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
    thread: Option<thread::JoinHandle<()>>,
}

impl Proxy {
    /// Forwards to `target`, such as [`socket_address`](super::vault::Vault::socket_address).
    pub fn start(target: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = listener.expect("a loopback port can be bound");
        listener
            .set_nonblocking(true)
            .expect("a listener can be made non-blocking");
        let address = listener.local_addr().expect("a listener has an address");
        let (shared, stop) = (Arc::new(Shared::default()), CancellationToken::new());
        let served = serve::until(stop.clone(), listener, target, Arc::clone(&shared));
        let thread = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(served);
        });
        Self {
            address,
            shared,
            stop,
            thread: Some(thread),
        }
    }

    /// `http://127.0.0.1:…`
    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on this happens to requests whose path contains `path_contains` (`""`: to all).
    /// The last one set takes precedence.
    pub fn fault(&self, path_contains: &str, fault: Fault) {
        self.add(path_contains, fault, None, 1.0);
    }

    /// The same, for this part of such requests only, at random.
    pub fn fault_share(&self, path_contains: &str, fault: Fault, share: f64) {
        self.add(path_contains, fault, None, share);
    }

    /// The same, for the next `times` such requests only.
    pub fn fault_times(&self, path_contains: &str, fault: Fault, times: u32) {
        self.add(path_contains, fault, Some(times), 1.0);
    }

    /// Forwards everything again.
    pub fn clear(&self) {
        lock(&self.shared.rules).clear();
    }

    /// How many requests had a path that begins with `prefix`, such as `/v1/transit/encrypt`.
    pub fn count(&self, prefix: &str) -> usize {
        lock(&self.shared.seen)
            .iter()
            .filter(|seen| seen.path.starts_with(prefix))
            .count()
    }

    /// All requests since the start or the last reset, oldest first.
    pub fn requests(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    /// The token of the last request that had one.
    pub fn last_token(&self) -> String {
        let seen = lock(&self.shared.seen);
        let mut tokens = seen
            .iter()
            .filter_map(|seen| seen.headers.get("x-vault-token")?.to_str().ok());
        let last = tokens.next_back().expect("a request with a token");
        last.to_owned()
    }

    /// Forgets the requests.
    pub fn reset_counts(&self) {
        lock(&self.shared.seen).clear();
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    fn add(&self, path_contains: &str, fault: Fault, left: Option<u32>, share: f64) {
        let rule = Rule {
            path_contains: path_contains.to_owned(),
            fault,
            left,
            share,
        };
        lock(&self.shared.rules).insert(0, rule);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // Its panic, if any, has been printed.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// What to do with a request for `path`; uses up one time of a limited fault.
    fn fault_for(&self, path: &str) -> Fault {
        let mut rules = lock(&self.rules);
        let matching = |rule: &&mut Rule| {
            path.contains(&rule.path_contains)
                && rule.left != Some(0)
                && fastrand::f64() < rule.share
        };
        let Some(rule) = rules.iter_mut().find(matching) else {
            return Fault::Pass;
        };
        rule.left = rule.left.map(|left| left - 1);
        rule.fault.clone()
    }

    /// Whether connections are to be dropped as soon as they are made.
    fn refuses_all(&self) -> bool {
        let rules = lock(&self.rules);
        let first = rules.first();
        first.is_some_and(|rule| {
            rule.path_contains.is_empty()
                && rule.left.is_none()
                && matches!(rule.fault, Fault::Refuse)
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

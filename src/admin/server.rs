//! The HTTP server of all addresses: one request on each connection, within limits that a hostile client
//! cannot exceed.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

/// Enough for kubelet, Prometheus and a few people.
const MAX_CONNECTIONS: usize = 32;
/// A request is small and comes at once.
const READ_LIMIT: Duration = Duration::from_secs(5);
/// So is the answer; a client that does not read it is disconnected.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);

/// What clients get, by where they are.
pub(super) struct Pages {
    pub(super) for_all: Router,
    pub(super) for_this_host: Router,
}

/// Whether a client is on this host: only there it sees the state of the daemon, with its peers, key
/// names and errors.
pub(super) fn is_of_this_host(client: &SocketAddr) -> bool {
    client.ip().to_canonical().is_loopback()
}

/// Answers one request on each connection. At the limit the oldest connection is closed: an honest
/// one is answered at once.
pub(super) async fn answer<L: Listener>(
    mut listener: L,
    pages: Pages,
    is_trusted: impl Fn(&L::Addr) -> bool,
) -> ! {
    let (for_all, for_this_host) = (
        TowerToHyperService::new(pages.for_all),
        TowerToHyperService::new(pages.for_this_host),
    );
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(READ_LIMIT)
        .keep_alive(false);
    let (mut tasks, mut connections) = (JoinSet::new(), VecDeque::new());
    loop {
        let (stream, client) = listener.accept().await;
        while tasks.try_join_next().is_some() {}
        connections.retain(|there: &AbortHandle| !there.is_finished());
        if connections.len() >= MAX_CONNECTIONS
            && let Some(longest) = connections.pop_front()
        {
            longest.abort();
        }
        let service = if is_trusted(&client) {
            for_this_host.clone()
        } else {
            for_all.clone()
        };
        let connection = server.serve_connection(TokioIo::new(stream), service);
        // A connection that breaks matters only to its client.
        connections.push_back(tasks.spawn(timeout(ANSWER_LIMIT, connection)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_for_this_host_alone() {
        for (client, is_trusted) in [
            ("127.0.0.1:4", true),
            ("[::1]:4", true),
            ("[::ffff:127.0.0.1]:4", true),
            ("10.0.0.4:4", false),
            ("[::ffff:10.0.0.4]:4", false),
            ("[fe80::1]:4", false),
        ] {
            let client = client.parse().expect("an address");
            assert_eq!(is_of_this_host(&client), is_trusted, "{client}");
        }
    }
}

//! HTTP/2 on one connection, within bounds that a hostile client cannot exceed and an honest one
//! never reaches. kube-apiserver is idle for days, but it sends the preface at once and answers pings.

use std::io::{self, Cursor};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, join};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::authority::{PREFACE, Repaired};
use super::call::ConnectionState;
use super::seed_residue::SeedActivity;
use super::service::{CallExecutor, CallService};

/// kube-apiserver queues what goes beyond, inside its deadline.
const MAX_STREAMS: u32 = 64;
/// That many on each of 256 connections would fill the memory with streams alone, so a connection
/// that comes when this many are open …
const CROWDED_FROM: usize = 64;
/// … may have fewer. Only a client with a leak or an attacker ever reaches that.
const MAX_STREAMS_WHEN_CROWDED: u32 = 16;
/// No message is larger, so a stream never waits for a window.
const WINDOW: u32 = 64 * 1024;
/// The preface, and the header of the SETTINGS that have to follow. Until then a connection costs
/// a file descriptor and no buffers.
const GREETING: usize = PREFACE.len() + 9;
/// A gRPC client sends the preface in the call that connects; on a machine that swaps this takes a
/// second.
const GREETING_LIMIT: Duration = Duration::from_secs(10);
/// The socket shows at once that a client has ended. Pings find those that live but no longer read,
/// which is not urgent: one a minute is no load.
const PING_INTERVAL: Duration = Duration::from_secs(60);
/// A client that is stopped by a debugger or a frozen cgroup gets the same time again.
const PONG_LIMIT: Duration = Duration::from_secs(60);
/// The headers of a gRPC call are below 1 KiB; gRPC servers and clients commonly use this bound.
const MAX_HEADERS: u32 = 8 * 1024;
/// Streams that the client reset before they were handled. An honest client can cancel all its calls
/// at once, but not more than it may have (h2: 20).
const MAX_PENDING_RESETS: usize = MAX_STREAMS as usize;
/// Streams that broke the protocol or the limit. Each is kept until its reset is written, which a
/// client that does not read can prevent (hyper: 1024). An honest client may open a hundred before it
/// knows the limit.
const MAX_ERROR_RESETS: usize = 128;
/// What is buffered of an answer that is not fetched; beyond this the call is still counted. All but
/// the largest answers fit (hyper: 400 KiB).
const MAX_UNSENT: usize = 1024;

/// Why a connection ended.
#[derive(Debug, Error)]
pub(super) enum ConnectionError {
    #[error("greeting: no HTTP/2 preface within {GREETING_LIMIT:?}")]
    NoGreeting,
    #[error("greeting: {0}")]
    Greeting(io::Error),
    #[error("http/2: {0}")]
    Protocol(#[from] hyper::Error),
}

/// Serves until the client disconnects, breaks the protocol or stops responding; or, after `drain` or
/// when no seed was carried for a while, until its calls are answered.
pub(super) async fn serve(
    (mut read, write): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    services: Routes,
    connection: Arc<ConnectionState>,
    connections: usize,
    drain: &CancellationToken,
) -> Result<(), ConnectionError> {
    let greeting = tokio::select! {
        greeting = timeout(GREETING_LIMIT, greeting(&mut read)) => greeting,
        () = drain.cancelled() => return Ok(()),
    };
    let greeting = greeting
        .map_err(|_| ConnectionError::NoGreeting)?
        .map_err(ConnectionError::Greeting)?;
    let stream = join(Cursor::new(greeting).chain(read), write);
    let io = TokioIo::new(Repaired::new(stream));
    let seeds = SeedActivity::default();
    let service = CallService::new(services, connection, seeds.clone());
    let connection = bounded(connections).serve_connection(io, service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return Ok(ended?),
        () = drain.cancelled() => {}
        () = seeds.idle() => {}
    }
    connection.as_mut().graceful_shutdown();
    Ok(connection.await?)
}

async fn greeting(read: &mut (impl AsyncRead + Unpin)) -> io::Result<[u8; GREETING]> {
    let mut bytes = [0; GREETING];
    read.read_exact(&mut bytes).await?;
    Ok(bytes)
}

fn bounded(connections: usize) -> Builder<CallExecutor> {
    let streams = if connections < CROWDED_FROM {
        MAX_STREAMS
    } else {
        MAX_STREAMS_WHEN_CROWDED
    };
    let mut server = Builder::new(CallExecutor);
    server
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_concurrent_streams(streams)
        .max_header_list_size(MAX_HEADERS)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_ERROR_RESETS)
        .max_send_buf_size(MAX_UNSENT)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PONG_LIMIT);
    server
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hyper::client::conn::http2::handshake;
    use hyper_util::rt::TokioExecutor;
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex, split};
    use tokio::task::JoinHandle;
    use tokio::time::{Instant, sleep};

    use super::super::call::Budgets;
    use super::super::connections::MAX_CONNECTIONS;
    use super::*;
    use crate::telemetry::metrics::Metrics;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    const EMPTY_SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

    /// The client's end of a connection that is served.
    fn served() -> (DuplexStream, JoinHandle<Result<(), ConnectionError>>) {
        let (client, server) = duplex(64 * 1024);
        let connection =
            ConnectionState::new(&Budgets::new(1024, MAX_CONNECTIONS, Metrics::default()));
        let serving = tokio::spawn(async move {
            let never = CancellationToken::new();
            serve(split(server), Routes::default(), connection, 0, &never).await
        });
        (client, serving)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_makes_no_call_for_days_stays_connected() {
        let (client, serving) = served();
        let io = TokioIo::new(client);
        let (mut calls, connection) = handshake(TokioExecutor::new(), io)
            .await
            .expect("a handshake");
        tokio::spawn(connection);
        for _ in 0..2 {
            sleep(3 * DAY).await;
            let call = http::Request::post("http://localhost/a/b").body(String::new());
            let answer = calls.send_request(call.expect("a request")).await;
            assert!(answer.is_ok(), "{answer:?}");
        }
        assert!(!serving.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_answers_no_ping_is_disconnected() {
        let (mut client, serving) = served();
        let greeted = client.write_all(&[PREFACE, &EMPTY_SETTINGS].concat()).await;
        greeted.expect("a greeting");
        let start = Instant::now();
        let ended = serving.await.expect("no panic");
        assert!(
            matches!(ended, Err(ConnectionError::Protocol(_))),
            "{ended:?}"
        );
        let after = start.elapsed();
        assert!(after >= PING_INTERVAL + PONG_LIMIT && after < 2 * (PING_INTERVAL + PONG_LIMIT));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_no_preface_is_disconnected() {
        let (mut client, serving) = served();
        client.write_all(PREFACE).await.expect("half a greeting");
        let start = Instant::now();
        let ended = serving.await.expect("no panic");
        assert!(
            matches!(ended, Err(ConnectionError::NoGreeting)),
            "{ended:?}"
        );
        assert_eq!(start.elapsed().as_secs(), GREETING_LIMIT.as_secs());
    }
}

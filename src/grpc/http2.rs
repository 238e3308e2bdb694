//! HTTP/2 on one connection, within bounds that a hostile client cannot stretch and an honest one
//! never meets. kube-apiserver is idle for days, but it greets at once and answers pings.

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
use super::call::Tally;
use super::counted::{CallTasks, Counted};
use super::traces::Traces;

/// kube-apiserver queues what goes beyond, inside its deadline.
const MAX_STREAMS: u32 = 64;
/// As many as that on each of 256 connections would fill the memory with streams alone, so those
/// that come when this many are there already …
const CROWD: usize = 64;
/// … may have fewer. Only one with a leak or an attacker ever meets that.
const MAX_STREAMS_IN_CROWD: u32 = 16;
/// No message is larger, so a stream never waits for a window.
const WINDOW: u32 = 64 * 1024;
/// The preface, and the header of the SETTINGS that have to follow. Until then a connection costs
/// a file descriptor and no buffers.
const GREETING: usize = PREFACE.len() + 9;
/// A gRPC client greets in the call that connects; on a machine that swaps this takes a second.
const GREETING_LIMIT: Duration = Duration::from_secs(10);
/// A client that ended is noticed at once, by its socket. Pings are for those that live and do not
/// read any more, and these are in no hurry: 1 a minute is no load.
const PING_EVERY: Duration = Duration::from_secs(60);
/// A client that was stopped, by a debugger or a frozen cgroup, is given as much again.
const PONG_LIMIT: Duration = Duration::from_secs(60);
/// A gRPC call's are below 1 KiB; gRPC servers and clients commonly bound them like this.
const HEADERS: u32 = 8 * 1024;
/// Streams reset by the client before they were looked at. An honest one can give up all its calls
/// in one moment, but no more than it may have (h2: 20).
const RESET_EARLY: usize = MAX_STREAMS as usize;
/// Streams that broke the protocol, or that were too many at once. Each is kept until its reset is
/// written, and a client that does not read sees to it that none is (hyper: 1024). An honest one may
/// send a hundred before it knows how many it may have.
const RESET_FOR_ERRORS: usize = 128;
/// What may be kept of an answer that is not fetched; beyond this the call is still counted. All
/// but the largest answers fit (hyper: 400 KiB).
const UNSENT: usize = 1024;

/// Why a connection ended.
#[derive(Debug, Error)]
pub(super) enum Ended {
    #[error("greeting: nothing that begins an HTTP/2 connection within {GREETING_LIMIT:?}")]
    Silent,
    #[error("greeting: {0}")]
    Broken(io::Error),
    #[error("http/2: {0}")]
    Protocol(#[from] hyper::Error),
}

/// Serves until the client goes, breaks the protocol or is lost; or, once draining or when it has
/// carried no seed for a while, until its calls are answered.
pub(super) async fn serve(
    (mut read, write): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    services: Routes,
    tally: Arc<Tally>,
    neighbours: usize,
    drain: &CancellationToken,
) -> Result<(), Ended> {
    let greeting = tokio::select! {
        greeting = timeout(GREETING_LIMIT, greeting(&mut read)) => greeting,
        () = drain.cancelled() => return Ok(()),
    };
    let greeting = greeting
        .map_err(|_| Ended::Silent)?
        .map_err(Ended::Broken)?;
    let stream = join(Cursor::new(greeting).chain(read), write);
    let io = TokioIo::new(Repaired::new(stream));
    let traces = Traces::default();
    let service = Counted::new(services, tally, traces.clone());
    let connection = bounded(neighbours).serve_connection(io, service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return Ok(ended?),
        () = drain.cancelled() => {}
        () = traces.are_old() => {}
    }
    connection.as_mut().graceful_shutdown();
    Ok(connection.await?)
}

async fn greeting(read: &mut (impl AsyncRead + Unpin)) -> io::Result<[u8; GREETING]> {
    let mut bytes = [0; GREETING];
    read.read_exact(&mut bytes).await?;
    Ok(bytes)
}

fn bounded(neighbours: usize) -> Builder<CallTasks> {
    let streams = match neighbours < CROWD {
        true => MAX_STREAMS,
        false => MAX_STREAMS_IN_CROWD,
    };
    let mut server = Builder::new(CallTasks);
    server
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_concurrent_streams(streams)
        .max_header_list_size(HEADERS)
        .max_pending_accept_reset_streams(RESET_EARLY)
        .max_local_error_reset_streams(RESET_FOR_ERRORS)
        .max_send_buf_size(UNSENT)
        .keep_alive_interval(PING_EVERY)
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
    fn served() -> (DuplexStream, JoinHandle<Result<(), Ended>>) {
        let (client, server) = duplex(64 * 1024);
        let tally = Tally::new(&Budgets::new(1024, MAX_CONNECTIONS, Metrics::default()));
        let serving = tokio::spawn(async move {
            let never = CancellationToken::new();
            serve(split(server), Routes::default(), tally, 0, &never).await
        });
        (client, serving)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_makes_no_call_for_days_is_kept() {
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
    async fn a_client_that_answers_no_ping_is_let_go() {
        let (mut client, serving) = served();
        let greeted = client.write_all(&[PREFACE, &EMPTY_SETTINGS].concat()).await;
        greeted.expect("a greeting");
        let start = Instant::now();
        let ended = serving.await.expect("no panic");
        assert!(matches!(ended, Err(Ended::Protocol(_))), "{ended:?}");
        let after = start.elapsed();
        assert!(after >= PING_EVERY + PONG_LIMIT && after < 2 * (PING_EVERY + PONG_LIMIT));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_greets_is_let_go() {
        let (mut client, serving) = served();
        client.write_all(PREFACE).await.expect("half a greeting");
        let start = Instant::now();
        let ended = serving.await.expect("no panic");
        assert!(matches!(ended, Err(Ended::Silent)), "{ended:?}");
        assert_eq!(start.elapsed().as_secs(), GREETING_LIMIT.as_secs());
    }
}

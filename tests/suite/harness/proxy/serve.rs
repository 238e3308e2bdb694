//! The proxy's traffic: accepts, applies the faults, forwards.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, Response, header};
use futures_util::{StreamExt, stream};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use reqwest::Client;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::super::http;
use super::{Body, Fault, Seen, Shared, lock};

/// Why a connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is dropped on purpose")]
struct Dropped;

/// Serves until `stop`; the connections end with it.
pub(super) async fn until(
    stop: CancellationToken,
    listener: std::net::TcpListener,
    target: SocketAddr,
    shared: Arc<Shared>,
) {
    let listener = TcpListener::from_std(listener).expect("a non-blocking listener");
    // One client for all, whose connections stay open: this runtime lives as long as the proxy.
    let builder = http::builder(None).pool_max_idle_per_host(usize::MAX);
    let client = builder.build().expect("an HTTP client can be made");
    let mut connections = JoinSet::new();
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let Ok((stream, _)) = accepted else { continue };
        shared.connections.fetch_add(1, Ordering::Relaxed);
        if !shared.refuses_all() {
            connections.spawn(serve(stream, client.clone(), target, Arc::clone(&shared)));
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, client: Client, target: SocketAddr, shared: Arc<Shared>) {
    let service = service_fn(|request| answer(request, &client, target, &shared));
    // It ends with an error if a fault demands it, or the caller disconnects.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    request: hyper::Request<Incoming>,
    client: &Client,
    target: SocketAddr,
    shared: &Shared,
) -> Result<Response<Body>, Dropped> {
    let seen = read(request).await?;
    lock(&shared.seen).push(seen.clone());
    match shared.fault_for(&seen.path) {
        Fault::Pass => {}
        Fault::Refuse => return Err(Dropped),
        Fault::Hang => match std::future::pending::<Infallible>().await {},
        Fault::Delay(time) => tokio::time::sleep(time).await,
        Fault::Redirect { status, location } => {
            let answer = Response::builder().status(status);
            let answer = answer.header(header::LOCATION, location);
            return answer.body(Body::empty()).map_err(|_| Dropped);
        }
        Fault::Cut => return cut(),
        Fault::Huge(bytes) => return huge(bytes),
        Fault::Answer {
            status,
            body,
            content_type,
        } => {
            let answer = Response::builder().status(status);
            let answer = answer
                .header(header::CONTENT_TYPE, content_type)
                .body(Body::from(body));
            return answer.map_err(|_| Dropped);
        }
    }
    // An unreachable target appears as a broken connection, not as a response of the proxy.
    forward(client, target, seen).await.map_err(|_| Dropped)
}

/// Half of the body that is announced; the connection ends after it.
fn cut() -> Result<Response<Body>, Dropped> {
    let half = stream::once(async { Ok("{\"data\":") });
    let end = stream::once(async {
        // What was sent so far is on its way by then.
        tokio::time::sleep(Duration::from_millis(5)).await;
        Err(Dropped)
    });
    let answer = Response::builder().header(header::CONTENT_LENGTH, 100);
    let body = Body::from_stream(half.chain(end));
    answer.body(body).map_err(|_| Dropped)
}

fn huge(bytes: usize) -> Result<Response<Body>, Dropped> {
    const CHUNK: usize = 64 * 1024;
    let chunk = Bytes::from(vec![b'x'; CHUNK]);
    let chunks = (0..bytes.div_ceil(CHUNK)).map(move |_| Ok::<_, Dropped>(chunk.clone()));
    Ok(Response::new(Body::from_stream(stream::iter(chunks))))
}

async fn read(request: hyper::Request<Incoming>) -> Result<Seen, Dropped> {
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    Ok(Seen {
        method: head.method.to_string(),
        path: path.to_owned(),
        headers: head.headers,
        body: axum::body::to_bytes(Body::new(body), usize::MAX)
            .await
            .map_err(|_| Dropped)?,
    })
}

async fn forward(
    client: &Client,
    target: SocketAddr,
    seen: Seen,
) -> reqwest::Result<Response<Body>> {
    let method = seen.method.parse().expect("hyper took the method");
    let call = client.request(method, format!("http://{target}{}", seen.path));
    let answer = call
        .headers(end_to_end(seen.headers))
        .body(seen.body)
        .send()
        .await?;
    let (status, headers) = (answer.status(), end_to_end(answer.headers().clone()));
    let mut response = Response::new(Body::from(answer.bytes().await?));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// Without what belongs to one connection only; each end sets its own.
fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    for name in [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::HOST,
        header::TRANSFER_ENCODING,
    ] {
        headers.remove(name);
    }
    headers
}

//! AdminServer: `/livez`, `/readyz`, `/metrics` and `/status` over HTTP. A port that is in use is
//! retried without limit and never ends the process.

mod address;
mod arguments;
mod gauges;
mod readiness;
mod render;
mod report;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

#[cfg(feature = "faults")]
use crate::actor::Fault;
use crate::actor::{reap, spawn_watched};
use crate::system::socket_file::SocketFile;
use crate::telemetry::events;
use crate::telemetry::metrics::Exposition;
pub use address::Address;
use address::SOCKET_PERMISSIONS;
pub use arguments::Arguments;
use readiness::Readiness;
use report::Report;

/// Enough for kubelet, Prometheus and a few people.
const MAX_CONNECTIONS: usize = 32;
/// A request is small and comes at once.
const READ_LIMIT: Duration = Duration::from_secs(5);
/// So is the answer; a client that does not read it is disconnected.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);
/// The `server` header, by which a client recognises this server.
pub(crate) const SERVER: &str = env!("CARGO_PKG_NAME");

/// The actor. Everything is in its state.
#[derive(Debug)]
pub struct AdminServer;

/// The actor's messages.
#[derive(Debug)]
pub enum AdminMsg {
    /// The server ended, with this reason.
    Ended(String),
    /// A heartbeat of the Supervisor, which kills an actor that does not answer.
    Ping(RpcReplyPort<()>),
    /// Fails on request.
    #[cfg(feature = "faults")]
    Fail(Fault),
}

impl Actor for AdminServer {
    type Msg = AdminMsg;
    type State = JoinSet<()>;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<AdminMsg>,
        args: Arguments,
    ) -> Result<JoinSet<()>, ActorProcessingErr> {
        let mut tasks = JoinSet::new();
        let ended = || AdminMsg::Ended("the admin server ended".to_owned());
        spawn_watched(&mut tasks, myself.clone(), ended, async move {
            let reason = serve(args).await;
            let _ = myself.cast(AdminMsg::Ended(reason));
        });
        Ok(tasks)
    }

    /// Releases the port only after the server has ended: a successor binds the same one.
    async fn post_stop(
        &self,
        _: ActorRef<AdminMsg>,
        tasks: &mut JoinSet<()>,
    ) -> Result<(), ActorProcessingErr> {
        tasks.shutdown().await;
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<AdminMsg>,
        message: AdminMsg,
        tasks: &mut JoinSet<()>,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            AdminMsg::Ended(reason) => {
                reap(tasks)?;
                return Err(reason.into());
            }
            AdminMsg::Ping(reply) => drop(reply.send(())),
            #[cfg(feature = "faults")]
            AdminMsg::Fail(Fault::EndTasks) => tasks.abort_all(),
            #[cfg(feature = "faults")]
            AdminMsg::Fail(fault) => fault.strike().await?,
        }
        Ok(())
    }
}

/// Serves until the listener fails. Returns the reason.
async fn serve(args: Arguments) -> String {
    let refused = match args.listen.clone() {
        Address::Off => std::future::pending().await,
        Address::Tcp(place) => match TcpListener::bind(place).await {
            Ok(listener) => answer(listener, args, is_of_this_host).await,
            Err(error) => format!("cannot bind {place}: {error}"),
        },
        Address::Unix(path) => match SocketFile::bind(&path, SOCKET_PERMISSIONS) {
            // The file exists as long as the server runs.
            Ok((listener, _file)) => answer(listener, args, |_| true).await,
            Err(error) => error.to_string(),
        },
    };
    format!("admin.listen: {refused}")
}

/// Whether a client is on this host: only there it sees the state of the daemon, with its peers, key
/// names and errors.
fn is_of_this_host(client: &SocketAddr) -> bool {
    client.ip().to_canonical().is_loopback()
}

/// Answers one request on each connection. At the limit the oldest connection is closed: an honest
/// one is answered at once.
async fn answer<L: Listener>(
    mut listener: L,
    args: Arguments,
    is_trusted: impl Fn(&L::Addr) -> bool,
) -> ! {
    let address = args.listen.to_string();
    events::AdminListening { address }.emit();
    let for_all = probes(args.clone());
    let for_this_host = for_all.clone().merge(state(args));
    let (for_all, for_this_host) = (
        TowerToHyperService::new(for_all),
        TowerToHyperService::new(for_this_host),
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

fn probes(args: Arguments) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(args)
}

fn state(args: Arguments) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/status.json", get(status_json))
        .with_state(args)
}

/// Succeeds while Status returns `ok`. With `?verbose`, lists each condition.
async fn readyz(
    Shared(args): Shared<Arguments>,
    RawQuery(query): RawQuery,
) -> (StatusCode, String) {
    let readiness = Readiness::of(&args);
    let code = if readiness.is_ready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let is_verbose = |query: String| query.split('&').any(|key| key.starts_with("verbose"));
    let text = if query.is_some_and(is_verbose) {
        readiness.to_string()
    } else {
        format!("{}\n", readiness.reason().unwrap_or("ok"))
    };
    (code, text)
}

/// In the format that the scraper accepts.
async fn metrics(Shared(args): Shared<Arguments>, headers: HeaderMap) -> impl IntoResponse {
    let accept = headers.get(header::ACCEPT).and_then(|it| it.to_str().ok());
    let exposition = if accept.is_some_and(|it| it.contains("application/openmetrics-text")) {
        Exposition::OpenMetrics
    } else {
        Exposition::Prometheus
    };
    let mut registry = args.metrics.registry();
    gauges::register(&mut registry, &args);
    match exposition.write(&registry) {
        Ok(text) => {
            let kind = [(header::CONTENT_TYPE, exposition.content_type())];
            (StatusCode::OK, kind, text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// For `vault-kms-plugin status`.
async fn status(Shared(args): Shared<Arguments>) -> impl IntoResponse {
    let text = render::render(&Report::of(&args), Timestamp::now());
    ([(header::SERVER, SERVER)], text)
}

/// For `vault-kms-plugin status --json`.
async fn status_json(Shared(args): Shared<Arguments>) -> impl IntoResponse {
    let names = [
        (header::SERVER, SERVER),
        (header::CONTENT_TYPE, "application/json"),
    ];
    match serde_json::to_string(&Report::of(&args)) {
        Ok(text) => (StatusCode::OK, names, text + "\n").into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
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

//! AdminServer: `/livez`, `/readyz`, `/metrics` and `/status` over HTTP. A port that is in use is
//! retried without limit and never ends the process.

mod address;
mod arguments;
mod bind_retry;
mod gauges;
mod readiness;
mod render;
mod replaced;
mod report;
mod scrape;
mod server;

use axum::Router;
use axum::extract::{RawQuery, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use jiff::Timestamp;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

#[cfg(feature = "faults")]
use crate::actor::Fault;
use crate::actor::{reap, spawn_watched};
use crate::system::socket_file::SocketFile;
use crate::telemetry::events;
pub use address::Address;
use address::SOCKET_PERMISSIONS;
pub use arguments::Arguments;
use bind_retry::BindRetry;
use readiness::Readiness;
use report::Report;
use server::{Pages, answer, is_of_this_host};

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
        let places = replaced::places(args.drop_in);
        let is_alone = places.is_empty();
        for place in places {
            let ended = || AdminMsg::Ended("the replaced plugin's endpoints ended".to_owned());
            let serving = replaced::serve(place, args.clone());
            spawn_watched(&mut tasks, myself.clone(), ended, serving);
        }
        let ended = || AdminMsg::Ended("the admin server ended".to_owned());
        spawn_watched(&mut tasks, myself.clone(), ended, async move {
            let mut retry = BindRetry::default();
            loop {
                let reason = serve(args.clone()).await;
                if is_alone {
                    let _ = myself.cast(AdminMsg::Ended(reason));
                    return;
                }
                // A restart of the actor would end what it serves for the replaced plugin.
                retry.failed(reason).await;
            }
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
            Ok(listener) => answer(listener, pages(args), is_of_this_host).await,
            Err(error) => format!("cannot bind {place}: {error}"),
        },
        Address::Unix(path) => match SocketFile::bind(&path, SOCKET_PERMISSIONS) {
            // The file exists as long as the server runs.
            Ok((listener, _file)) => answer(listener, pages(args), |_| true).await,
            Err(error) => error.to_string(),
        },
    };
    format!("admin.listen: {refused}")
}

/// What is served now.
fn pages(args: Arguments) -> Pages {
    let address = args.listen.to_string();
    events::AdminListening { address }.emit();
    let for_all = probes(args.clone());
    Pages {
        for_this_host: for_all.clone().merge(state(args)),
        for_all,
    }
}

fn probes(args: Arguments) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(scrape::all))
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

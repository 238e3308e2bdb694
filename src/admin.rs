//! AdminServer: `/livez` and `/readyz` over HTTP. A port that is taken is tried again for ever and
//! never ends the process.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::routing::get;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::info;

#[cfg(feature = "faults")]
use crate::actor::Fault;
use crate::keys::{HealthLimits, KeyView, Policy, status_now};
use crate::session::SessionView;

/// The actor. It holds nothing: all is in its state.
#[derive(Debug)]
pub struct AdminServer;

/// What the actor needs; the same at every restart.
#[derive(Debug, Clone)]
pub struct Arguments {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The Status policy's limits.
    pub limits: HealthLimits,
    /// Who is logged in.
    pub sessions: watch::Receiver<SessionView>,
    /// What is known of the key.
    pub keys: watch::Receiver<KeyView>,
}

/// The actor's messages.
#[derive(Debug)]
pub enum AdminMsg {
    /// The server ended, with this reason.
    Ended(String),
    /// Is it there? Asked by the Supervisor, which kills an actor that does not answer.
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
        tasks.spawn(async move {
            let reason = serve(args).await;
            let _ = myself.cast(AdminMsg::Ended(reason));
        });
        Ok(tasks)
    }

    async fn handle(
        &self,
        _: ActorRef<AdminMsg>,
        message: AdminMsg,
        _: &mut JoinSet<()>,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            AdminMsg::Ended(reason) => return Err(reason.into()),
            AdminMsg::Ping(reply) => drop(reply.send(())),
            #[cfg(feature = "faults")]
            AdminMsg::Fail(fault) => fault.strike().await?,
        }
        Ok(())
    }
}

/// Serves until something is wrong with the listener, and says what.
async fn serve(args: Arguments) -> String {
    let address = args.listen;
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) => return format!("admin.listen: cannot bind {address}: {error}"),
    };
    info!(%address, "probes are served");
    let probes = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .with_state(args);
    match axum::serve(listener, probes).await {
        Ok(()) => "the server ended".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// Green while kube-apiserver would be told `ok`.
async fn readyz(Shared(args): Shared<Arguments>) -> (StatusCode, String) {
    let policy = status_now(&args.keys.borrow(), &args.sessions.borrow(), args.limits);
    let reason = match policy {
        Policy::Answer(report) if report.healthz == "ok" => {
            return (StatusCode::OK, "ok\n".to_owned());
        }
        Policy::Answer(report) => report.healthz,
        Policy::Fail(error) => error.text,
        Policy::Wait(reason) => reason.text,
    };
    (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n"))
}

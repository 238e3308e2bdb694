//! GrpcServer: accepts on the unix socket and forwards each call to the KeyManager.
//!
//! Connections outlive this actor: a restart does not touch the open ones, and new ones wait in the
//! listener's queue meanwhile. Does not know about Vault.

pub mod authority;
mod call;
mod client;
mod codec;
mod connection_limit;
mod connections;
mod deadline;
mod error;
mod failures;
mod forward;
mod http2;
mod peers;
pub mod proto;
mod quota;
mod seed_residue;
mod service;
mod socket;
mod v1;
mod v2;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::task::JoinSet;
use tonic::service::Routes;

#[cfg(feature = "faults")]
use crate::actor::Fault;
use crate::actor::{reap, spawn_watched};
use crate::telemetry::{SharedLogThrottle, events};
pub use client::KmsClient;
use codec::MAX_MESSAGE;
pub use connections::Connections;
pub use forward::Forwarder;
pub use peers::{AllowedPeers, Peer};
pub use socket::{BindError, BoundSocket, PassedError, PassedSocket};
pub use socket::{Settings as SocketSettings, SocketPath};
pub use v2::{Annotation, KmsVersion};

/// The wait when the process has no file descriptor or no memory left for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// That lasts, and fails ten times a second.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// The actor. Everything is in its state.
#[derive(Debug)]
pub struct GrpcServer;

/// The actor's arguments, the same at every restart.
#[derive(Debug, Clone)]
pub struct Arguments {
    /// The listener, which outlives the actor.
    pub socket: Arc<BoundSocket>,
    /// The open connections, which outlive the actor too.
    pub connections: Connections,
    /// Who may connect.
    pub peers: Arc<AllowedPeers>,
    /// Forwards calls to the KeyManager.
    pub forwarder: Forwarder,
    /// The version that Status returns.
    pub kms_version: KmsVersion,
    /// What every value that is written carries, for another plugin.
    pub annotation: Option<Annotation>,
}

/// The actor's messages.
#[derive(Debug)]
pub enum GrpcMsg {
    /// The accept loop ended, with this reason.
    Ended(String),
    /// A heartbeat of the Supervisor, which kills an actor that does not answer.
    Ping(RpcReplyPort<()>),
    /// Fails on request.
    #[cfg(feature = "faults")]
    Fail(Fault),
}

impl Actor for GrpcServer {
    type Msg = GrpcMsg;
    type State = JoinSet<()>;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<GrpcMsg>,
        args: Arguments,
    ) -> Result<JoinSet<()>, ActorProcessingErr> {
        let mut tasks = JoinSet::new();
        let ended = || GrpcMsg::Ended("the accept loop ended".to_owned());
        spawn_watched(&mut tasks, myself.clone(), ended, async move {
            let error = accept(args).await;
            let _ = myself.cast(GrpcMsg::Ended(format!("cannot accept: {error}")));
        });
        Ok(tasks)
    }

    /// Releases the listener only after the accept loop has ended.
    async fn post_stop(
        &self,
        _: ActorRef<GrpcMsg>,
        tasks: &mut JoinSet<()>,
    ) -> Result<(), ActorProcessingErr> {
        tasks.shutdown().await;
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<GrpcMsg>,
        message: GrpcMsg,
        tasks: &mut JoinSet<()>,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            GrpcMsg::Ended(reason) => {
                reap(tasks)?;
                return Err(reason.into());
            }
            GrpcMsg::Ping(reply) => drop(reply.send(())),
            #[cfg(feature = "faults")]
            GrpcMsg::Fail(Fault::EndTasks) => tasks.abort_all(),
            #[cfg(feature = "faults")]
            GrpcMsg::Fail(fault) => fault.strike().await?,
        }
        Ok(())
    }
}

/// Accepts until the listener itself is broken. Returns that error.
async fn accept(args: Arguments) -> io::Error {
    let services = services(&args);
    let lines = SharedLogThrottle::new(LINE_INTERVAL);
    loop {
        match args.socket.accept().await {
            Ok(stream) => {
                let budgets = args.forwarder.budgets();
                let by_mode = args.socket.is_for_one_of(&args.peers.gids);
                args.connections
                    .serve(stream, &args.peers, by_mode, budgets, &services);
            }
            Err(error) if may_pass(&error) => {
                if let Some(suppressed) = lines.allow() {
                    let error = error.to_string();
                    events::AcceptFailed { error, suppressed }.emit();
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            Err(error) => return error,
        }
    }
}

/// Returns whether a later `accept` can succeed: the client gave up, or the process or the host has
/// reached a limit (accept(2)).
fn may_pass(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let passing = [
        Errno::CONNABORTED,
        Errno::INTR,
        Errno::AGAIN,
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::PERM,
        Errno::PROTO,
    ];
    Errno::from_io_error(error).is_some_and(|errno| passing.contains(&errno))
}

fn services(args: &Arguments) -> Routes {
    let v2 = v2::Service::new(args.forwarder.clone(), args.kms_version, args.annotation);
    let v1 = v1::Service::new(args.forwarder.clone());
    let v2 = proto::v2::key_management_service_server::KeyManagementServiceServer::new(v2);
    let v1 = proto::v1beta1::key_management_service_server::KeyManagementServiceServer::new(v1);
    Routes::new(v2.max_decoding_message_size(MAX_MESSAGE))
        .add_service(v1.max_decoding_message_size(MAX_MESSAGE))
        .prepare()
}

//! GrpcServer: accepts on the unix socket and forwards each call to the KeyManager.
//!
//! Connections outlive this actor: a restart does not touch the open ones, and new ones wait in the
//! listener's queue meanwhile. Does not know about Vault.

pub mod authority;
mod call;
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

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::task::JoinSet;
use tonic::service::Routes;
use tracing::debug;

#[cfg(feature = "faults")]
use crate::actor::Fault;
use codec::MAX_MESSAGE;
pub use connections::Connections;
pub use forward::Forwarder;
pub use peers::{AllowedPeers, Peer};
pub use socket::{BindError, BoundSocket, PassedError, PassedSocket};
pub use socket::{Settings as SocketSettings, SocketPath};
pub use v2::KmsVersion;

/// The wait when the process has no file descriptor left for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
}

/// The actor's messages.
#[derive(Debug)]
pub enum GrpcMsg {
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
        _: ActorRef<GrpcMsg>,
        args: Arguments,
    ) -> Result<JoinSet<()>, ActorProcessingErr> {
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(args));
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
        _: &mut JoinSet<()>,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            GrpcMsg::Ping(reply) => drop(reply.send(())),
            #[cfg(feature = "faults")]
            GrpcMsg::Fail(fault) => fault.strike().await?,
        }
        Ok(())
    }
}

/// Accepts until it is aborted.
async fn accept(args: Arguments) {
    let services = services(&args);
    loop {
        match args.socket.accept().await {
            Ok(stream) => {
                let budgets = args.forwarder.budgets();
                args.connections
                    .serve(stream, &args.peers, budgets, &services);
            }
            Err(error) => {
                debug!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn services(args: &Arguments) -> Routes {
    let v2 = v2::Service::new(args.forwarder.clone(), args.kms_version);
    let v1 = v1::Service::new(args.forwarder.clone());
    let v2 = proto::v2::key_management_service_server::KeyManagementServiceServer::new(v2);
    let v1 = proto::v1beta1::key_management_service_server::KeyManagementServiceServer::new(v1);
    Routes::new(v2.max_decoding_message_size(MAX_MESSAGE))
        .add_service(v1.max_decoding_message_size(MAX_MESSAGE))
        .prepare()
}

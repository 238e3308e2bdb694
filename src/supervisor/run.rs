//! The daemon as a whole: what is opened before the first actor starts, and how it ends.

use std::sync::{Arc, OnceLock};

use ractor::concurrency::JoinHandle;
use ractor::{Actor, ActorRef};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::actor::Supervisor;
#[cfg(feature = "faults")]
use super::child::Child;
use super::children::Children;
use super::message::SupervisorMsg;
use super::restart_policy::RestartPolicy;
use super::state::{Arguments, log_warnings};
#[cfg(feature = "faults")]
use crate::actor::Fault;
use crate::config::{Config, Source};
use crate::diagnosis::Diagnosis;
use crate::grpc::{BindError, BoundSocket, PassedSocket};
use crate::keys::SeedCache;
use crate::system::socket_file::SocketError;
use crate::system::{Exit, Signal};
use crate::telemetry::LogHandle;
use crate::telemetry::metrics::Metrics;
use crate::vault::{BuildError, Client};

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    supervisor: ActorRef<SupervisorMsg>,
    ended: JoinHandle<()>,
    quit: CancellationToken,
    exit: Arc<OnceLock<Exit>>,
    stopping: bool,
}

/// Why the daemon did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A certificate file cannot be used.
    #[error("{0}")]
    Vault(#[from] BuildError),
    /// The socket cannot be bound.
    #[error("{0}")]
    Socket(#[from] BindError),
    /// The seed cache is on, and cannot keep its key out of swap.
    #[error("{0}")]
    SeedCache(Diagnosis),
    /// The first actor did not start.
    #[error("supervisor: {0}")]
    Supervisor(String),
}

impl StartError {
    /// The process's exit code for it.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Vault(_) | Self::Socket(BindError(SocketError::NotASocket(_))) => Exit::Config,
            Self::Socket(_) | Self::SeedCache(_) => Exit::Unavailable,
            Self::Supervisor(_) => Exit::Internal,
        }
    }
}

impl Daemon {
    /// Opens the socket, or takes the one that was passed, and starts the actors. Waits for nothing
    /// outside of this host: kube-apiserver can connect before Vault is reachable.
    ///
    /// # Errors
    /// As [`StartError`].
    pub async fn start(
        config: &Config,
        source: Source,
        log: LogHandle,
        passed: Option<PassedSocket>,
    ) -> Result<Self, StartError> {
        Self::start_with(config, source, log, passed, RestartPolicy::default()).await
    }

    /// The same with another restart policy.
    ///
    /// # Errors
    /// As [`StartError`].
    pub async fn start_with(
        config: &Config,
        source: Source,
        log: LogHandle,
        passed: Option<PassedSocket>,
        policy: RestartPolicy,
    ) -> Result<Self, StartError> {
        log_warnings(config);
        let metrics = Metrics::default();
        let client = Arc::new(Client::new(&config.vault, metrics.clone())?);
        let socket = Arc::new(match passed {
            Some(passed) => BoundSocket::adopt(passed)?,
            None => BoundSocket::bind(&config.socket)?,
        });
        let seed_cache = SeedCache::new(config.outage.settings(), metrics.clone())
            .map_err(StartError::SeedCache)?;
        let quit = CancellationToken::new();
        let exit = Arc::new(OnceLock::new());
        let arguments = Arguments {
            children: Children::new(config, client, socket, policy, metrics, seed_cache),
            config: Box::new(config.clone()),
            source,
            log,
            quit: quit.clone(),
            exit: exit.clone(),
        };
        let (supervisor, ended) = Supervisor::spawn(None, Supervisor, arguments)
            .await
            .map_err(|error| StartError::Supervisor(error.to_string()))?;
        Ok(Self {
            supervisor,
            ended,
            quit,
            exit,
            stopping: false,
        })
    }

    /// Handles a signal: the first one to stop drains, the second one stops at once.
    pub fn signal(&mut self, signal: Signal) {
        let message = match signal {
            Signal::Reload => SupervisorMsg::Reload,
            Signal::Stop if self.stopping => return self.quit.cancel(),
            Signal::Stop => {
                self.stopping = true;
                SupervisorMsg::Stop
            }
        };
        // The Supervisor may have ended already.
        let _ = self.supervisor.cast(message);
    }

    /// Waits for the end. A Supervisor that failed sets no exit code.
    pub async fn ended(&mut self) -> Exit {
        let _ = (&mut self.ended).await;
        *self.exit.get().unwrap_or(&Exit::Internal)
    }

    /// Makes an actor fail.
    #[cfg(feature = "faults")]
    pub fn inject(&self, child: Child, fault: Fault) {
        let _ = self.supervisor.cast(SupervisorMsg::Inject(child, fault));
    }
}

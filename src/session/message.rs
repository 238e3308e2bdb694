//! The messages of the session actor.

use ractor::RpcReplyPort;

use super::credentials::CredentialState;
use super::login::LoginError;
use super::machine::Event;
#[cfg(feature = "faults")]
use crate::actor::Fault;
use crate::vault::{CallError, Grant, Lease};

/// The actor's messages.
#[derive(Debug)]
pub enum SessionMsg {
    /// An event for the state machine.
    Happened(Event),
    /// A health check ended.
    HealthChecked(HealthOutcome),
    /// The login in progress ended; its outcome is in the state, and is not lost with a message.
    LoginEnded,
    /// A renewal ended.
    Renewed(RenewOutcome),
    /// Vault refused a call with the token of this generation: is the token still valid?
    CheckToken {
        /// The generation that was refused.
        generation: u64,
        /// Where the status goes.
        reply: RpcReplyPort<TokenStatus>,
    },
    /// The check of a refused token ended.
    TokenChecked {
        /// The generation that was checked.
        generation: u64,
        /// The result.
        status: TokenStatus,
    },
    /// A heartbeat of the Supervisor, which kills an actor that does not answer.
    Ping(RpcReplyPort<()>),
    /// Fails on request.
    #[cfg(feature = "faults")]
    Fail(Fault),
}

/// The outcome of a health check.
#[derive(Debug)]
pub struct HealthOutcome(pub(super) Result<(), LoginError>);

/// The outcome of a login.
#[derive(Debug)]
pub(super) struct LoginOutcome {
    pub(super) granted: Result<Grant, LoginError>,
    /// The state of the credential files when the login began.
    pub(super) credentials: CredentialState,
}

/// The outcome of a renewal.
#[derive(Debug)]
pub struct RenewOutcome {
    /// The generation whose token was renewed.
    pub(super) generation: u64,
    pub(super) renewed: Result<Option<Lease>, CallError>,
}

/// Whether a token that Vault refused is still valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenStatus {
    /// It is valid: the refusal concerned the path.
    Valid,
    /// It is invalid or was replaced: wait for the next session.
    Invalid,
    /// It could not be checked in time.
    Unknown,
}

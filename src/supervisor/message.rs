//! The messages of the Supervisor.

use super::child::Child;
use super::reload::stage::{ReloadOutcome, ValidationOutcome};
#[cfg(feature = "faults")]
use crate::actor::Fault;

/// The actor's messages.
#[derive(Debug)]
pub enum SupervisorMsg {
    /// Start or restart a child.
    Start(Child),
    /// Read the configuration again.
    Reload,
    /// The configuration was read.
    Reloaded(ReloadOutcome),
    /// A new backend was validated.
    Validated(ValidationOutcome),
    /// Check the heartbeats of all children and send new ones.
    CheckHeartbeats,
    /// Drain and stop.
    Stop,
    /// Notify systemd's watchdog.
    Tick,
    /// Make a child fail.
    #[cfg(feature = "faults")]
    Inject(Child, Fault),
}

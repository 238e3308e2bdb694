//! The Supervisor: owns the other actors, restarts those that fail, ends the process when one keeps
//! failing, and drains the calls in flight when it is asked to stop.

mod actor;
mod backend;
mod changes;
mod child;
mod children;
mod heartbeat;
mod message;
mod reload;
mod restart;
mod restart_policy;
mod run;
mod state;
mod status_line;

pub use actor::Supervisor;
pub use child::Child;
pub use message::SupervisorMsg;
pub use reload::stage::{ReloadOutcome, ValidationOutcome};
pub use restart_policy::RestartPolicy;
pub use run::{Daemon, StartError};
pub use state::{Arguments, State};

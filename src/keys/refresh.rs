//! The refresh of the writing key: which version is the latest, and does it work through our own
//! session? `machine` decides, `probe` calls Vault, the actor carries out what follows.

mod effect;
pub(super) mod event;
mod freshness;
mod log;
mod machine;
mod probe;
mod schedule;
mod verdict;

#[cfg(all(test, feature = "kmsctl"))]
pub(super) use effect::Call;
pub(super) use effect::Effect;
pub use event::{CallObservation, RefreshEvent};
#[cfg(all(test, feature = "kmsctl"))]
pub(super) use event::{CallOutcome, Proof};
pub(super) use machine::Machine;
pub(super) use probe::{call, decrypt_together, random_bytes, random_into};

//! Work that may block, on a thread of its own.

#[cfg(test)]
pub(crate) use super::simulated::spawn_blocking;
#[cfg(not(test))]
pub(crate) use tokio::task::spawn_blocking;

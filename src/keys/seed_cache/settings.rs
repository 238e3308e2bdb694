//! What the seed cache keeps, and for how long.

use std::time::Duration;

/// The settings of `[outage]` while it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeedCacheSettings {
    /// How long it answers after Vault's last success.
    pub max_age: Duration,
    /// Whether a local KEK seals seeds while Vault is away.
    pub local_kek: bool,
}

//! What a KeyManager needs: its keys, its limits, and where it finds the others.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use super::bound::BoundKey;
use super::key_id::KeyId;
use super::seed_cache::SeedCache;
use super::status::HealthLimits;
use super::view::KeyView;
use crate::session::Sessions;
use crate::vault::{Client, TransitKey, VersionStamp};

/// Which keys, and the Status policy.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The key that encrypts.
    pub key: TransitKey,
    /// Keys that may still decrypt.
    pub decrypt_also: Vec<TransitKey>,
    /// Keys that may still decrypt what another plugin bound to its labels.
    pub bound: Vec<BoundKey>,
    /// The key_id of a replaced key that an operator accepts (`transit.accept_replaced`).
    pub accept_replaced: Option<String>,
    /// What is added to each key_id (`transit.key_id_suffix`).
    pub key_id_suffix: Option<String>,
    /// How long Vault may be silent.
    pub limits: HealthLimits,
    /// How many requests of each operation may be in flight at a time; without it, as many as the
    /// distance to Vault suggests.
    pub max_in_flight: Option<usize>,
    /// Where what was announced is stored.
    pub state_file: PathBuf,
}

impl Settings {
    /// The key_id of the writing key at a stamp of its life.
    #[must_use]
    pub fn key_id(&self, stamp: VersionStamp) -> KeyId {
        KeyId::with_suffix(&self.key, stamp, self.key_id_suffix.as_deref())
    }
}

/// What the actor needs; the same at every restart.
#[derive(Debug, Clone)]
pub struct Arguments {
    /// The server.
    pub client: Arc<Client>,
    /// Who is logged in.
    pub sessions: Sessions,
    /// Which keys.
    pub settings: Arc<Settings>,
    /// Where what is known of the key is published.
    pub view: Arc<watch::Sender<KeyView>>,
    /// What answers while Vault is away.
    pub seed_cache: SeedCache,
    /// Whether this KeyManager serves. The candidate of a reload does not yet: it writes no state
    /// file, and logs nothing as if it did.
    pub serving: watch::Receiver<bool>,
}

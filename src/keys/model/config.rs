//! The configuration of a plugin.

use std::sync::Arc;

use super::bounds::LIMITS;
use super::server::{KeyNumber, transit_key};
use crate::keys::arguments::Settings;
use crate::keys::candidates::Readers;
use crate::keys::refresh::Machine;
use crate::keys::view::KeyView;
use crate::vault::TransitKey;

/// What is configured.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Config {
    /// The key that writes. The other one reads.
    pub(super) key: KeyNumber,
    pub(super) suffix: Option<String>,
    pub(super) accepted: Option<String>,
}

impl Config {
    pub(super) fn key(&self) -> TransitKey {
        transit_key(self.key)
    }

    pub(super) fn settings(&self) -> Settings {
        Settings {
            key: self.key(),
            decrypt_also: vec![transit_key(1 - self.key)],
            bound: Vec::new(),
            accept_replaced: self.accepted.clone(),
            key_id_suffix: self.suffix.clone(),
            limits: LIMITS,
            max_in_flight: Some(1),
            state_file: std::path::PathBuf::new(),
        }
    }

    pub(super) fn machine(&self, view: &KeyView) -> Machine {
        let machine = Machine::new(self.key(), self.accepted.clone(), view);
        machine.with_suffix(self.suffix.clone())
    }

    pub(super) fn readers(&self) -> Readers {
        let keys = [self.key, 1 - self.key].map(|number| Arc::new(transit_key(number)));
        Readers {
            unbound: keys.into(),
            bound: Vec::new(),
        }
    }
}

//! Vault as the model sees it: its active node, one standby that may lag, and one snapshot.

use super::server::{Data, Key, KeyNumber, Material, Server, Version, material_of};
use crate::vault::Ciphertext;

/// When the first version was created, in seconds.
const FIRST_CREATED: i64 = 1_000;

/// All servers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Vault {
    pub(super) active: Data,
    pub(super) lagging: Option<Data>,
    snapshot: Option<Data>,
    /// Each version that was ever made: its key, number and creation time, by the number of its material.
    made: Vec<(KeyNumber, u32, i64)>,
}

impl Vault {
    /// One with version 1 of so many keys.
    pub(super) fn new(keys: usize) -> Self {
        let mut vault = Self {
            active: Data {
                keys: [None, None],
                changes: 0,
            },
            lagging: None,
            snapshot: None,
            made: Vec::new(),
        };
        for number in 0..keys {
            vault.create(number);
        }
        vault
    }

    /// What this server has; `None` if nobody answers, or no standby lags.
    pub(super) fn at(&self, server: Server) -> Option<&Data> {
        match server {
            Server::Active => Some(&self.active),
            Server::Standby => self.lagging.as_ref(),
            Server::Nobody => None,
        }
    }

    fn make(&mut self, number: KeyNumber, version: u32, created: i64) -> Version {
        let material = u8::try_from(self.made.len()).expect("few versions");
        self.made.push((number, version, created));
        Version {
            created,
            material: Material(material),
        }
    }

    fn now(&self) -> i64 {
        FIRST_CREATED + i64::try_from(self.made.len()).expect("few versions")
    }

    /// Creates a key.
    pub(super) fn create(&mut self, number: KeyNumber) {
        let first = self.make(number, 1, self.now());
        self.active.changes += 1;
        self.active.keys[number] = Some(Key {
            versions: vec![first],
            minimum: 1,
        });
    }

    /// Adds a version to a key. With a clock that goes back, it was created before all others.
    pub(super) fn rotate(&mut self, number: KeyNumber, clock_goes_back: bool) {
        self.lagging = Some(self.active.clone());
        let created = if clock_goes_back {
            2 * FIRST_CREATED - self.now()
        } else {
            self.now()
        };
        let versions = self.active.keys[number].as_ref();
        let versions = versions.map_or(0, |key| key.versions.len());
        let next = u32::try_from(versions).expect("few versions") + 1;
        let version = self.make(number, next, created);
        self.active.changes += 1;
        if let Some(key) = &mut self.active.keys[number] {
            key.versions.push(version);
        }
    }

    /// Deletes a key. A standby that lags still has it.
    pub(super) fn delete(&mut self, number: KeyNumber, standby_lags: bool) {
        if standby_lags {
            self.lagging = Some(self.active.clone());
        }
        self.active.changes += 1;
        self.active.keys[number] = None;
    }

    /// Whether a key exists.
    pub(super) fn exists(&self, number: KeyNumber) -> bool {
        self.active.keys[number].is_some()
    }

    /// Takes a snapshot.
    pub(super) fn take_snapshot(&mut self) {
        self.snapshot = Some(self.active.clone());
    }

    /// Whether there is a snapshot of something else than what the active node has.
    pub(super) fn can_restore(&self) -> bool {
        let other = self.snapshot.as_ref();
        other.is_some_and(|other| other.keys != self.active.keys)
    }

    /// Whether there is no snapshot yet.
    pub(super) fn can_take_snapshot(&self) -> bool {
        self.snapshot.is_none()
    }

    /// Restores the snapshot.
    pub(super) fn restore(&mut self) {
        if let Some(snapshot) = &self.snapshot {
            self.active = Data {
                keys: snapshot.keys.clone(),
                changes: self.active.changes + 1,
            };
            self.lagging = None;
        }
    }

    /// Raises the `min_decryption_version` of a key.
    pub(super) fn raise(&mut self, number: KeyNumber, minimum: u32) {
        if let Some(key) = &mut self.active.keys[number] {
            key.minimum = minimum;
        }
    }

    /// The key, number and creation time of the version that made this.
    pub(super) fn maker(&self, ciphertext: &Ciphertext) -> (KeyNumber, u32, i64) {
        self.made[usize::from(material_of(ciphertext).0)]
    }
}

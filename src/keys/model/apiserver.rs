//! kube-apiserver, as its source has it (`encryptionconfig/config.go`, `kmsv2/envelope.go`): it polls Status, generates a
//! seed when the key_id is another one, and writes with its seed until three minutes after its last good poll.

use std::hash::{Hash, Hasher};

use super::plugin::{Encrypting, Plugin};
use super::server::Data;
use crate::keys::key_id::KeyId;
use crate::keys::status::{Announcement, Policy};
use crate::keys::view::ProvenKey;
use crate::vault::Ciphertext;

/// A seed, or an object that was written with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seed {
    pub(super) key_id: KeyId,
    pub(super) ciphertext: Ciphertext,
}

/// What its plugin answered last on its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
struct LastStatus {
    key: ProvenKey,
    /// The generation of the plugin then.
    generation: u8,
    /// The changes of Vault that the plugin had seen then.
    seen: u8,
}

/// A kube-apiserver.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ApiServer {
    /// What it writes with.
    pub(super) seed: Option<Seed>,
    /// The key_id of its last good Status, which its metrics show.
    pub(super) followed: Option<KeyId>,
    /// What the plugin remembers of the connection.
    last_status: Option<LastStatus>,
    /// How many failed polls are left before it stops to write.
    polls_left: u8,
    polls_to_expiry: u8,
    /// Whether it waits for an Encrypt.
    pub(super) encrypts: bool,
    /// Whether its last poll failed, which its health check shows.
    pub(super) is_unhealthy: bool,
}

/// How an Encrypt ended for kube-apiserver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encrypted {
    /// It waits for the plugin.
    Waits,
    /// The call failed.
    Failed,
    /// There is a new seed.
    Adopted,
    /// The key_id was another one than that of Status: the seed is discarded.
    Discarded {
        /// Whether the connection and the key were still those of that Status.
        is_fault: bool,
    },
}

impl ApiServer {
    /// One that was just started.
    pub(super) fn new(polls_to_expiry: u8) -> Self {
        Self {
            polls_to_expiry,
            ..Self::default()
        }
    }

    /// Whether it writes.
    pub(super) fn writes(&self) -> Option<&Seed> {
        self.seed.as_ref().filter(|_| self.polls_left > 0)
    }

    /// The changes of Vault that the plugin had seen when it answered the last Status.
    pub(super) fn seen(&self) -> Option<u8> {
        self.last_status.as_ref().map(|it| it.seen)
    }

    /// Begins a poll with a Status.
    pub(super) fn poll(&mut self, plugin: &mut Plugin) -> Announcement {
        let made = plugin.status();
        match &made.policy {
            Policy::Answer(report) => {
                self.last_status = Some(LastStatus {
                    key: report.key.clone(),
                    generation: plugin.generation,
                    seen: plugin.seen,
                });
                let key_id = report.key.key_id.clone();
                let is_same = self.seed.as_ref().is_some_and(|it| it.key_id == key_id);
                self.followed = Some(key_id);
                if is_same {
                    self.polls_left = self.polls_to_expiry;
                    // Its health check looks at this too.
                    self.is_unhealthy = report.healthz != "ok";
                } else {
                    self.encrypts = true;
                }
            }
            Policy::Fail(_) | Policy::Wait(_) => self.poll_failed(),
        }
        made
    }

    fn poll_failed(&mut self) {
        self.encrypts = false;
        self.is_unhealthy = true;
        self.polls_left = self.polls_left.saturating_sub(1);
    }

    /// Ends a poll that needs a new seed.
    pub(super) fn encrypt(&mut self, plugin: &mut Plugin, data: Option<&Data>) -> Encrypted {
        let last = self.last_status.as_ref().map(|it| &it.key);
        let outcome = match plugin.encrypt(last, data) {
            Encrypting::Waits => return Encrypted::Waits,
            Encrypting::Ends(outcome) => outcome,
        };
        let Ok((pinned, ciphertext)) = outcome else {
            self.poll_failed();
            return Encrypted::Failed;
        };
        if self.followed.as_ref() != Some(&pinned.key_id) {
            let last_status = self.last_status.as_ref();
            let is_fault = last_status.is_some_and(|it| it.generation == plugin.generation);
            self.poll_failed();
            return Encrypted::Discarded { is_fault };
        }
        self.encrypts = false;
        self.is_unhealthy = false;
        self.polls_left = self.polls_to_expiry;
        self.seed = Some(Seed {
            key_id: pinned.key_id,
            ciphertext,
        });
        Encrypted::Adopted
    }

    /// It gives up waiting for an Encrypt, or its connection is gone.
    pub(super) fn give_up(&mut self) {
        if self.encrypts {
            self.poll_failed();
        }
    }

    /// Its connection is gone.
    pub(super) fn disconnect(&mut self) {
        self.last_status = None;
        self.give_up();
    }
}

impl Hash for Seed {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (self.key_id.as_str(), self.ciphertext.as_str()).hash(hasher);
    }
}

impl Hash for ApiServer {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let Self {
            seed,
            followed,
            last_status,
            polls_left,
            polls_to_expiry: _,
            encrypts,
            is_unhealthy,
        } = self;
        seed.hash(hasher);
        followed.as_ref().map(KeyId::as_str).hash(hasher);
        let last_status = last_status.as_ref();
        last_status
            .map(|it| (it.key.key_id.as_str(), it.generation, it.seen))
            .hash(hasher);
        (polls_left, encrypts, is_unhealthy).hash(hasher);
    }
}

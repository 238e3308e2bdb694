//! How the process of a plugin ends and begins, and is reloaded.

use std::time::{SystemTime, UNIX_EPOCH};

use super::clock::now;
use super::config::Config;
use super::plugin::{Encrypting, Plugin};
use super::server::Data;
use crate::keys::state_file::Stored;
use crate::system::clock::Moment;

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum End {
    /// It is killed.
    Crash,
    /// The host boots.
    Reboot,
    /// It is killed, and its state file is lost.
    Loss,
}

impl Plugin {
    /// The process ends, and another one is started.
    pub(super) fn restart(&mut self, end: End) {
        let file = self.file().filter(|_| end != End::Loss);
        let silence = self.silence.unwrap_or_default();
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        let success = epoch.unwrap_or_default().saturating_sub(silence);
        let view = file.clone().map(|file| {
            let file = file.at(success.as_secs(), end != End::Reboot);
            file.into_view(&self.config.settings())
        });
        let mut view = view.unwrap_or_default();
        let silence = view.last_success.take().map(|_| silence);
        *self = Self {
            silence,
            file,
            seen: self.seen,
            generation: self.generation + 1,
            lag: self.lag,
            was_hasty: self.was_hasty,
            was_taken_in: self.was_taken_in,
            announced: if end == End::Loss {
                Vec::new()
            } else {
                std::mem::take(&mut self.announced)
            },
            ..Self::started(self.config.clone(), view, self.proof_step)
        };
    }

    /// The KeyManager fails and is restarted: the view stays.
    pub(super) fn restart_manager(&mut self) {
        self.machine = self.config.machine(&self.view);
        self.call = None;
        // It goes on from a verdict, and not from a rejection that nothing confirmed.
        self.rejected = self.rejected.filter(|_| self.view.verdict().is_some());
    }

    /// A reload with another configuration, as `supervisor::reload` does it. Returns whether it was applied.
    pub(super) fn reload(&mut self, config: Config, data: &Data) -> bool {
        let mut candidate = Self::new(config, self.proof_step);
        candidate.refresh(Some(data), data);
        let Some(replaces) = candidate.verify(self, data) else {
            return false;
        };
        if !replaces && self.config.key == candidate.config.key {
            let mut before = self.view.clone();
            if let Some(proven) = &mut before.proven {
                proven.key_id = candidate.config.settings().key_id(proven.stamp);
            }
            candidate.view.inherit(&before);
        }
        candidate.view.inherit_key_ids(&self.view);
        candidate.machine.promote(&candidate.view, now());
        candidate.generation = self.generation + 1;
        candidate.lag = self.lag;
        candidate.was_hasty |= self.was_hasty;
        candidate.was_taken_in |= self.was_taken_in;
        candidate.announced = std::mem::take(&mut self.announced);
        *self = candidate;
        true
    }

    /// As `keys::verify`: whether a round trip works and the canary of before decrypts, or is given up.
    fn verify(&mut self, before: &Self, data: &Data) -> Option<bool> {
        let Encrypting::Ends(Ok((pinned, ciphertext))) = self.encrypt(None, Some(data)) else {
            return None;
        };
        if !self.decrypts(&pinned.key_id, &ciphertext, data) {
            return None;
        }
        let (Some(canary), Some(proven)) = (&before.view.canary, &before.view.proven) else {
            return Some(false);
        };
        if self.decrypts(&proven.key_id, &canary.ciphertext, data) {
            return Some(false);
        }
        (self.config.accepted.as_deref() == Some(pinned.key_id.as_str())).then_some(true)
    }

    /// The state file: it is written whenever the view changes.
    fn file(&mut self) -> Option<Stored> {
        self.view.last_success = self.silence.map(Moment::ago);
        let stored = Stored::of(&self.view);
        self.view.last_success = None;
        stored.or_else(|| self.file.take())
    }
}

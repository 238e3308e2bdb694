//! What is done to Vault, and by an operator who follows `rotate` and `audit`.

use super::action::{Action, Node};
use super::bounds::Bounds;
use super::operator::{Rotation, audit, observe};
use super::server::{KeyNumber, transit_key};
use super::system::System;

impl System {
    /// What happens to Vault and what the operator does. Returns whether anything follows.
    pub(super) fn vault_or_operator(&mut self, bounds: &Bounds, action: Action) -> bool {
        let number = self.plugins[0].config.key;
        match action {
            Action::Rotate => {
                self.left.rotations -= 1;
                self.rotate(bounds);
            }
            Action::CatchUp => self.catch_up(),
            Action::Delete => {
                self.left.deletions -= 1;
                self.is_disturbed = true;
                self.delete(bounds, number);
            }
            Action::Create => self.vault.create(number),
            Action::TakeSnapshot => self.vault.take_snapshot(),
            Action::Restore => {
                self.left.restores -= 1;
                self.is_disturbed = true;
                self.is_back = true;
                self.vault.restore();
                self.catch_up();
            }
            Action::RotateCommand => {
                self.left.rotate_commands -= 1;
                let Some((is_known, is_used)) = self.observed() else {
                    return false;
                };
                if !is_known {
                    return false;
                }
                if is_used {
                    self.rotate(bounds);
                }
                self.operator.rotation = Rotation::Waiting;
            }
            Action::RotateSeesAll => self.operator.rotation = Rotation::Migrating,
            Action::Migrate(node) => return self.migrate(node),
            Action::Audit => {
                let set = self.vault.active.minimum(&transit_key(number));
                self.operator.advice = audit(&self.etcd, set);
                if self.operator.advice.is_none() {
                    return false;
                }
                self.operator.was_converged = self.all_use_latest();
            }
            Action::Raise => {
                let minimum = self.operator.advice.take();
                self.vault.raise(number, minimum.unwrap_or_default());
            }
            _ => return false,
        }
        true
    }

    pub(super) fn rotate(&mut self, bounds: &Bounds) {
        self.vault
            .rotate(self.plugins[0].config.key, bounds.clock_goes_back);
        for plugin in &mut self.plugins {
            plugin.lag_ended();
        }
    }

    fn delete(&mut self, bounds: &Bounds, number: KeyNumber) {
        self.vault.delete(number, bounds.deletions_lag);
        if bounds.deletions_lag {
            for plugin in &mut self.plugins {
                plugin.lag_ended();
            }
        }
    }

    pub(super) fn catch_up(&mut self) {
        self.vault.lagging = None;
        for plugin in &mut self.plugins {
            plugin.lag_ended();
        }
    }

    /// What `rotate` sees: whether it is known what every kube-apiserver uses, and whether that is the latest version.
    fn observed(&self) -> Option<(bool, bool)> {
        let latest = self.plugins[0].latest(&self.vault.active)?;
        Some(observe(&self.apiservers, &latest))
    }

    /// Whether every kube-apiserver uses the latest version, as far as `rotate` sees.
    pub(super) fn all_use_latest(&self) -> bool {
        self.observed().is_some_and(|(_, is_used)| is_used)
    }

    /// Writes what is stale again by this node. It ends with an error if an object cannot be read or written.
    fn migrate(&mut self, node: Node) -> bool {
        self.operator.rotation = Rotation::Idle;
        let Some(seed) = self.apiservers[node].writes().cloned() else {
            return true;
        };
        let (plugin, active) = (&self.plugins[node], &self.vault.active);
        for object in self.etcd.iter_mut().flatten() {
            let is_stale = object.key_id != seed.key_id;
            if is_stale && plugin.decrypts(&object.key_id, &object.ciphertext, active) {
                object.clone_from(&seed);
            }
        }
        true
    }
}

//! The state of the whole, and what each thing that happens makes of it.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::action::{Action, Node};
use super::apiserver::{ApiServer, Encrypted, Seed};
use super::bounds::{Bounds, Budget};
use super::config::Config;
use super::operator::Operator;
use super::plugin::Plugin;
use super::process::End;
use super::server::{Server, transit_key};
use super::vault::Vault;
use crate::keys::key_id::KeyIdParts;
use crate::keys::status::{Announcement, Policy};

/// What must never happen, and happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Faults {
    /// An Encrypt returned another key_id than the last Status of its connection.
    pub(super) other_key_id: bool,
    /// A key_id was used for what another version made.
    pub(super) other_version: bool,
    /// Something was encrypted with a key that was found to be another one.
    pub(super) other_key: bool,
    /// A key_id was announced again after another one, and nobody was warned.
    pub(super) unreported_reuse: bool,
    /// The same although no operator went back to an earlier key.
    pub(super) causeless_reuse: bool,
    /// Status failed although nothing but rotations and standbys that lag happened to the key.
    pub(super) needless_stop: bool,
}

/// The state.
#[derive(Debug, Clone, Hash)]
#[expect(
    clippy::derived_hash_with_manual_eq,
    reason = "states are equal if their hashes are"
)]
pub(super) struct System {
    pub(super) vault: Vault,
    pub(super) plugins: Vec<Plugin>,
    pub(super) apiservers: Vec<ApiServer>,
    pub(super) etcd: Vec<Option<Seed>>,
    pub(super) operator: Operator,
    pub(super) left: Budget,
    /// Once nothing more happens: whether all have converged.
    pub(super) settled: Option<bool>,
    pub(super) faults: Faults,
    /// Whether more happened to the key, or to the calls, than rotations and standbys that lag.
    pub(super) is_disturbed: bool,
    /// Whether an operator configured another key.
    is_repointed: bool,
    /// Whether an operator went back to an earlier key without a new suffix.
    pub(super) is_back: bool,
}

impl PartialEq for System {
    fn eq(&self, other: &Self) -> bool {
        hash(self) == hash(other)
    }
}

fn hash<T: Hash>(it: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    it.hash(&mut hasher);
    hasher.finish()
}

impl System {
    /// Before anything happened.
    pub(super) fn new(bounds: &Bounds) -> Self {
        let config = Config {
            key: 0,
            suffix: None,
            accepted: None,
        };
        let mut system = Self {
            vault: Vault::new(bounds.keys),
            plugins: vec![Plugin::new(config, bounds.proof_step); bounds.nodes],
            apiservers: vec![ApiServer::new(bounds.polls_to_expiry); bounds.nodes],
            etcd: vec![None; bounds.objects],
            operator: Operator::default(),
            left: bounds.budget,
            settled: None,
            faults: Faults::default(),
            is_disturbed: false,
            is_repointed: false,
            is_back: false,
        };
        if bounds.is_started {
            system.round(bounds);
            system.etcd.fill(system.apiservers[0].seed.clone());
        }
        system
    }

    /// What follows; `None` if nothing does.
    pub(super) fn after(&self, bounds: &Bounds, action: Action) -> Option<Self> {
        let mut next = self.clone();
        if !next.happens(bounds, action) {
            return None;
        }
        next.sort_nodes();
        Some(next)
    }

    /// Nodes are alike: states that differ in their order only are one.
    fn sort_nodes(&mut self) {
        if self.plugins.len() < 2 {
            return;
        }
        let plugins = std::mem::take(&mut self.plugins).into_iter();
        let mut nodes: Vec<_> = plugins.zip(std::mem::take(&mut self.apiservers)).collect();
        nodes.sort_by_cached_key(hash);
        (self.plugins, self.apiservers) = nodes.into_iter().unzip();
    }

    fn happens(&mut self, bounds: &Bounds, action: Action) -> bool {
        match action {
            Action::Refresh(node, server) => {
                self.meet(bounds, node, server);
                self.plugins[node].refresh(self.vault.at(server), &self.vault.active);
            }
            Action::Call(node, server) => {
                self.meet(bounds, node, server);
                self.plugins[node].step(self.vault.at(server), &self.vault.active);
            }
            Action::Silence(node) => {
                self.left.silences -= 1;
                self.is_disturbed = true;
                return self.plugins[node].fall_silent();
            }
            Action::Restart(node, end) => {
                let left = match end {
                    End::Crash => &mut self.left.crashes,
                    End::Reboot => &mut self.left.reboots,
                    End::Loss => &mut self.left.losses,
                };
                *left -= 1;
                self.restart(node, end);
            }
            Action::Panic(node) => {
                self.left.panics -= 1;
                self.plugins[node].restart_manager();
            }
            Action::Repoint(node, _)
            | Action::RepointByRestart(node, _)
            | Action::Accept(node)
            | Action::AcceptByRestart(node) => return self.reconfigure(node, action),
            Action::OtherStatus(node) => {
                let announcement = self.plugins[node].status();
                self.note_status(node, &announcement);
            }
            Action::Poll(node) => self.poll(bounds, node),
            Action::PollInVain(node) => {
                self.left.failed_encrypts -= 1;
                let announcement = self.apiservers[node].poll(&mut self.plugins[node]);
                self.note_status(node, &announcement);
                if !self.apiservers[node].encrypts {
                    return false;
                }
                self.encrypt(node, Server::Nobody);
                self.apiservers[node].give_up();
            }
            Action::Encrypt(node, server) => {
                if server == Server::Nobody {
                    self.left.failed_encrypts -= 1;
                }
                return self.encrypt(node, server);
            }
            Action::Write(node, object) => {
                let seed = self.apiservers[node].writes().cloned();
                if self.etcd[object] == seed {
                    return false;
                }
                self.etcd[object] = seed;
            }
            Action::RestartApiServer(node) => {
                self.left.restarts -= 1;
                self.apiservers[node] = ApiServer::new(bounds.polls_to_expiry);
            }
            Action::Settle => self.settle(bounds),
            _ => return self.vault_or_operator(bounds, action),
        }
        true
    }

    fn meet(&mut self, bounds: &Bounds, node: Node, server: Server) {
        match server {
            Server::Nobody => self.left.failures -= 1,
            Server::Standby => self.plugins[node].meets_lag(),
            // What the standby has not seen happened before, so the lag ends earlier than a minute after it is met.
            // Of a rotation not even that is assumed.
            Server::Active if bounds.deletions_lag && self.vault.lagging.is_some() => {
                self.plugins[node].meets_lag();
            }
            Server::Active => {}
        }
    }

    fn restart(&mut self, node: Node, end: End) {
        self.plugins[node].restart(end);
        self.apiservers[node].disconnect();
    }

    pub(super) fn reconfigure(&mut self, node: Node, action: Action) -> bool {
        let mut config = self.plugins[node].config.clone();
        if let Action::Repoint(_, is_suffixed) | Action::RepointByRestart(_, is_suffixed) = action {
            self.left.repoints -= 1;
            config.key = 1 - config.key;
            config.suffix = is_suffixed.then(|| format!("s{}", self.left.repoints));
            self.is_back |= self.is_repointed && !is_suffixed;
            self.is_repointed = true;
        } else {
            self.left.acceptances -= 1;
            config.accepted = self.named_replacement(node);
        }
        if let Action::Repoint(..) | Action::Accept(_) = action {
            return self.plugins[node].reload(config, &self.vault.active);
        }
        self.plugins[node].config = config;
        self.restart(node, End::Crash);
        true
    }

    /// The key_id that the error of a replaced key names for `transit.accept_replaced`.
    pub(super) fn named_replacement(&self, node: Node) -> Option<String> {
        let remedy = self.plugins[node].replaced()?.remedy.as_ref()?;
        let (_, rest) = remedy.split_once("accept_replaced = \"")?;
        Some(rest.split_once('"')?.0.to_owned())
    }

    pub(super) fn poll(&mut self, bounds: &Bounds, node: Node) {
        let announcement = self.apiservers[node].poll(&mut self.plugins[node]);
        self.note_status(node, &announcement);
        if !bounds.interleaved {
            self.finish_poll(node);
        }
    }

    fn note_status(&mut self, node: Node, announcement: &Announcement) {
        match &announcement.policy {
            Policy::Answer(report) if announcement.is_new => {
                let is_reuse = self.plugins[node].note_announced(&report.key.key_id);
                let is_reported = announcement.reused_after.is_some();
                self.faults.unreported_reuse |= is_reuse && !is_reported;
                self.faults.causeless_reuse |= is_reuse && !self.is_back;
            }
            Policy::Fail(_) if !self.is_disturbed => self.faults.needless_stop = true,
            _ => {}
        }
    }

    pub(super) fn encrypt(&mut self, node: Node, server: Server) -> bool {
        let (plugin, data) = (&mut self.plugins[node], self.vault.at(server));
        let is_replaced = plugin.found_another_key();
        let seen = self.apiservers[node].seen();
        let outcome = self.apiservers[node].encrypt(plugin, data);
        if let Encrypted::Discarded { is_fault } = outcome {
            self.faults.other_key_id |= is_fault;
        }
        let is_excused = data.is_none_or(|data| Some(data.changes) != seen);
        if let (Encrypted::Adopted, Some(seed)) = (outcome, &self.apiservers[node].seed) {
            let (key, number, created) = self.vault.maker(&seed.ciphertext);
            let parts = KeyIdParts::parse(seed.key_id.as_str());
            let is_version = parts.as_ref().is_some_and(|it| it.version == number);
            let name = transit_key(key).name;
            let is_maker = parts.is_some_and(|it| it.created == created && it.key == name.as_str());
            self.faults.other_key |= is_replaced;
            self.faults.other_version |= !is_version || !(is_maker || is_excused);
        }
        outcome != Encrypted::Waits
    }
}

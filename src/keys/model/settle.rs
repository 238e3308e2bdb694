//! What follows once nothing more happens: does everything converge?

use super::action::{Action, Node};
use super::bounds::Bounds;
use super::server::Server;
use super::system::System;

impl System {
    /// Nothing more happens to anything, until all have converged and have remained so for a round. How often that was
    /// reached differs; what of it is left does not, so that a checker has one state for it.
    pub(super) fn settle(&mut self, bounds: &Bounds) {
        let mut rounds = 0;
        for _ in 0..bounds.rounds {
            self.round(bounds);
            rounds = if self.has_converged() { rounds + 1 } else { 0 };
            if rounds == 2 {
                let faults = self.faults;
                *self = Self::new(bounds);
                self.faults = faults;
                self.settled = Some(true);
                return;
            }
        }
        self.settled = Some(false);
    }

    /// The operator does what the error of a replaced key says, while there is budget.
    fn follow_error(&mut self, node: Node, bounds: &Bounds) {
        if self.left.acceptances == 0 || self.plugins[node].replaced().is_none() {
            return;
        }
        if self.named_replacement(node).is_some() {
            self.reconfigure(node, Action::Accept(node));
        } else {
            // It has the key_id of the key before: rotate it, and accept the new one.
            self.rotate(bounds);
        }
    }

    /// Each plugin refreshes, the operator accepts what is replaced if there is budget, each kube-apiserver polls.
    pub(super) fn round(&mut self, bounds: &Bounds) {
        self.catch_up();
        for number in 0..bounds.keys {
            if !self.vault.exists(number) {
                self.vault.create(number);
            }
        }
        for node in 0..bounds.nodes {
            self.plugins[node].refresh(Some(&self.vault.active), &self.vault.active);
            self.follow_error(node, bounds);
            self.finish_poll(node);
            self.poll(bounds, node);
            self.finish_poll(node);
        }
    }

    pub(super) fn finish_poll(&mut self, node: Node) {
        if self.apiservers[node].encrypts {
            self.encrypt(node, Server::Active);
            self.apiservers[node].give_up();
        }
    }
}

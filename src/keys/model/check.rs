//! The model for the checker: which things can happen next, within the bounds.

use stateright::{Model, Property};

use super::action::Action;
use super::bounds::Bounds;
use super::operator::Rotation;
use super::process::End;
use super::properties;
use super::server::Server;
use super::system::System;

/// What is checked.
#[derive(Debug, Clone)]
pub(super) struct Check {
    pub(super) bounds: Bounds,
}

impl Model for Check {
    type State = System;
    type Action = Action;

    fn init_states(&self) -> Vec<System> {
        vec![System::new(&self.bounds)]
    }

    fn actions(&self, state: &System, actions: &mut Vec<Action>) {
        if state.settled.is_some() {
            return;
        }
        for node in 0..self.bounds.nodes {
            self.of_plugin(state, node, actions);
            self.of_apiserver(state, node, actions);
        }
        self.of_vault(state, actions);
        self.of_operator(state, actions);
        actions.push(Action::Settle);
    }

    fn next_state(&self, state: &System, action: Action) -> Option<System> {
        state.after(&self.bounds, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}

impl Check {
    fn of_plugin(&self, state: &System, node: usize, actions: &mut Vec<Action>) {
        let (plugin, left) = (&state.plugins[node], &state.left);
        let mut servers = vec![Server::Active];
        if state.vault.lagging.is_some() && plugin.may_meet_lag() {
            servers.push(Server::Standby);
        }
        if left.failures > 0 {
            servers.push(Server::Nobody);
        }
        let servers = servers.into_iter();
        if self.bounds.interleaved {
            actions.extend(servers.map(|server| Action::Call(node, server)));
        } else {
            actions.extend(servers.map(|server| Action::Refresh(node, server)));
        }
        let ends = [
            (left.crashes, End::Crash),
            (left.reboots, End::Reboot),
            // A plugin that knows nothing believes a standby that lags.
            (
                left.losses * u8::from(state.vault.lagging.is_none()),
                End::Loss,
            ),
        ];
        let ends = ends.into_iter().filter(|(left, _)| *left > 0);
        actions.extend(ends.map(|(_, end)| Action::Restart(node, end)));
        let mut may = |is_possible: bool, action| {
            if is_possible {
                actions.push(action);
            }
        };
        may(left.silences > 0, Action::Silence(node));
        may(left.panics > 0, Action::Panic(node));
        for is_suffixed in [false, true] {
            may(left.repoints > 0, Action::Repoint(node, is_suffixed));
            may(
                left.repoints > 0,
                Action::RepointByRestart(node, is_suffixed),
            );
        }
        may(self.bounds.budget.other_clients, Action::OtherStatus(node));
        if left.acceptances > 0 && state.named_replacement(node).is_some() {
            actions.extend([Action::Accept(node), Action::AcceptByRestart(node)]);
        }
    }

    fn of_apiserver(&self, state: &System, node: usize, actions: &mut Vec<Action>) {
        let apiserver = &state.apiservers[node];
        if !apiserver.encrypts {
            actions.push(Action::Poll(node));
            if !self.bounds.interleaved && state.left.failed_encrypts > 0 {
                actions.push(Action::PollInVain(node));
            }
        } else {
            actions.push(Action::Encrypt(node, Server::Active));
            if state.vault.lagging.is_some() {
                actions.push(Action::Encrypt(node, Server::Standby));
            }
            if state.left.failed_encrypts > 0 {
                actions.push(Action::Encrypt(node, Server::Nobody));
            }
        }
        if apiserver.writes().is_some() {
            let objects = 0..self.bounds.objects;
            actions.extend(objects.map(|object| Action::Write(node, object)));
        }
        if state.left.restarts > 0 {
            actions.push(Action::RestartApiServer(node));
        }
    }

    fn of_vault(&self, state: &System, actions: &mut Vec<Action>) {
        let (vault, left) = (&state.vault, &state.left);
        let number = state.plugins[0].config.key;
        let possible = [
            (left.rotations > 0 && vault.exists(number), Action::Rotate),
            (vault.lagging.is_some(), Action::CatchUp),
            (left.deletions > 0 && vault.exists(number), Action::Delete),
            (!vault.exists(number), Action::Create),
            (
                left.restores > 0 && vault.can_take_snapshot(),
                Action::TakeSnapshot,
            ),
            (left.restores > 0 && vault.can_restore(), Action::Restore),
        ];
        push(&possible, actions);
    }

    fn of_operator(&self, state: &System, actions: &mut Vec<Action>) {
        let operator = &state.operator;
        match operator.rotation {
            Rotation::Idle if state.left.rotate_commands > 0 => {
                actions.push(Action::RotateCommand);
            }
            Rotation::Migrating => actions.extend((0..self.bounds.nodes).map(Action::Migrate)),
            Rotation::Waiting if state.all_use_latest() => actions.push(Action::RotateSeesAll),
            _ => {}
        }
        if !self.bounds.budget.audits {
            return;
        }
        match operator.advice {
            None => actions.push(Action::Audit),
            Some(_) if operator.was_converged => actions.push(Action::Raise),
            Some(_) => {}
        }
    }
}

fn push(possible: &[(bool, Action)], actions: &mut Vec<Action>) {
    let possible = possible.iter().filter(|(is_possible, _)| *is_possible);
    actions.extend(possible.map(|(_, action)| *action));
}

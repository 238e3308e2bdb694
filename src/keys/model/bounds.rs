//! What a check explores: how many of each there are, and how often each thing may happen.

use std::time::Duration;

use crate::keys::status::HealthLimits;

/// The limits of Status. A long silence is as long as one of them.
pub(super) const LIMITS: HealthLimits = HealthLimits {
    tolerance: Duration::from_secs(600),
    fail_after: Duration::from_secs(3600),
};
/// The numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Its name.
    pub(super) name: &'static str,
    /// Plugins, each with a kube-apiserver.
    pub(super) nodes: usize,
    /// Objects in etcd.
    pub(super) objects: usize,
    /// Transit keys that exist.
    pub(super) keys: usize,
    /// Whether other things happen between the calls of one refresh, and between Status and Encrypt.
    pub(super) interleaved: bool,
    /// Whether Vault's clock goes back from version to version.
    pub(super) clock_goes_back: bool,
    /// Whether a standby still has a key that was deleted.
    pub(super) deletions_lag: bool,
    /// Whether every node has started, and objects are written, before anything happens.
    pub(super) is_started: bool,
    /// How many seconds older a proof is after any time has passed, at least.
    pub(super) proof_step: u64,
    /// How many failed polls end the 3 minutes for which kube-apiserver writes without a Status.
    pub(super) polls_to_expiry: u8,
    /// Within how many rounds everything has to converge once nothing more happens. A round is one refresh of each
    /// plugin and one poll of each kube-apiserver.
    pub(super) rounds: u8,
    /// How often it may happen.
    pub(super) budget: Budget,
}

/// How often each thing may happen yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Budget {
    /// `vault-kmsctl rotate`: the key is rotated if every kube-apiserver uses the latest version.
    pub(super) rotate_commands: u8,
    /// A rotation by Vault itself, whoever uses which version.
    pub(super) rotations: u8,
    /// A call to Vault that nobody answers.
    pub(super) failures: u8,
    /// An Encrypt of kube-apiserver that fails although its Status was answered.
    pub(super) failed_encrypts: u8,
    /// A plugin hears nothing of Vault for as long as a limit of Status.
    pub(super) silences: u8,
    /// A plugin is killed and started again.
    pub(super) crashes: u8,
    /// The same after a reboot of the host.
    pub(super) reboots: u8,
    /// The same without its state file.
    pub(super) losses: u8,
    /// The KeyManager of a plugin fails and is restarted.
    pub(super) panics: u8,
    /// The key is deleted; it is created under its name later.
    pub(super) deletions: u8,
    /// The snapshot of Vault is restored.
    pub(super) restores: u8,
    /// The plugins are configured with the other key.
    pub(super) repoints: u8,
    /// An operator accepts a replaced key as the error says.
    pub(super) acceptances: u8,
    /// A kube-apiserver is restarted.
    pub(super) restarts: u8,
    /// Whether another client asks a plugin for its Status, such as `check --running`.
    pub(super) other_clients: bool,
    /// Whether an operator audits etcd and follows the advice.
    pub(super) audits: bool,
}

//! An operator who rotates by `vault-kmsctl rotate --wait`, audits by `vault-kmsctl audit` and follows the advice.

use super::apiserver::{ApiServer, Seed};
use crate::keys::key_id::KeyId;
use crate::kmsctl::audit::advised_minimum;
use crate::kmsctl::rotate::usage;

/// How far `rotate --wait` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Rotation {
    /// It does not run.
    #[default]
    Idle,
    /// It waits for every kube-apiserver.
    Waiting,
    /// It writes every object again.
    Migrating,
}

/// An operator.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Operator {
    pub(super) rotation: Rotation,
    /// The `min_decryption_version` that the audit names a command for.
    pub(super) advice: Option<u32>,
    /// Whether every kube-apiserver used the latest version when the audit began, as the advice demands.
    pub(super) was_converged: bool,
}

/// Whether every kube-apiserver is known to use something, and whether all use this key_id: as `rotate` sees it.
pub(super) fn observe(apiservers: &[ApiServer], latest: &KeyId) -> (bool, bool) {
    let observed = apiservers.iter().map(|one| {
        let followed = one.followed.as_ref().map(KeyId::hash);
        // The health check waits for a poll that has not ended, and is asked after the metrics.
        usage(&latest.hash(), followed, one.is_unhealthy || one.encrypts)
    });
    let observed: Vec<_> = observed.collect();
    let is_known = observed.iter().all(|one| one.is_known);
    (is_known, observed.iter().all(|one| one.is_used))
}

/// What an audit of these objects advises, where the `min_decryption_version` is `set`.
pub(super) fn audit(etcd: &[Option<Seed>], set: u32) -> Option<u32> {
    let objects = etcd.iter().flatten();
    let objects: Vec<_> = objects
        .map(|it| (it.key_id.as_str(), it.ciphertext.as_str()))
        .collect();
    advised_minimum(&objects, set)
}

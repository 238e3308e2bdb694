//! What a new configuration changes, and what it may not: a function of two configurations.

use crate::config::Config;

/// The parts of the daemon that have to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Changes {
    /// The way to Vault, the login or the keys: proven before it is used.
    pub(super) way: bool,
    /// How long Vault may be silent.
    pub(super) limits: bool,
    /// The socket's place.
    pub(super) place: bool,
    /// The socket's mode or owner.
    pub(super) dress: bool,
    /// Who is admitted, and how many calls may wait.
    pub(super) doors: bool,
    /// Where probes are served.
    pub(super) admin: bool,
}

impl Changes {
    /// What `new` changes. `wrote`: whether the present key has written anything yet.
    ///
    /// # Errors
    /// With the key that must not change so, and what to do.
    pub(super) fn between(old: &Config, new: &Config, wrote: bool) -> Result<Self, String> {
        if old.kms_version != new.kms_version {
            return Err(
                "kms_version: a running kube-apiserver cannot follow: restart the plugin, and then kube-apiserver"
                    .to_owned(),
            );
        }
        let present = &old.keys.key;
        let readable = new.keys.key == *present || new.keys.decrypt_also.contains(present);
        if wrote && !readable {
            return Err(format!(
                "transit.key: {present} wrote what etcd holds: put it under transit.decrypt_also"
            ));
        }
        let differs = |table| old.fingerprint.differs(&new.fingerprint, table);
        let way = ["vault", "auth", "transit"].into_iter().any(differs)
            || old.keys.state_file != new.keys.state_file;
        let (before, after) = (&old.socket, &new.socket);
        let place = before.path != after.path;
        Ok(Self {
            way,
            limits: old.keys.limits != new.keys.limits,
            place,
            dress: !place && before.dress != after.dress,
            doors: place || old.peers != new.peers || old.max_waiting != new.max_waiting,
            admin: old.admin != new.admin,
        })
    }
}

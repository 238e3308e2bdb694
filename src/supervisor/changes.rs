//! What a new configuration changes, and which changes are rejected: a function of two configurations.

use std::fmt;

use crate::config::Config;
use crate::grpc::Annotation;

/// The parts of the daemon that have to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Changes {
    /// The connection to Vault, the login or the keys: validated before use.
    pub(super) backend: bool,
    /// The limits of the Status policy.
    pub(super) limits: bool,
    /// Whether seeds are kept for an outage, or for how long.
    pub(super) outage: bool,
    /// The socket's path.
    pub(super) socket_path: bool,
    /// The socket's mode or owner.
    pub(super) socket_permissions: bool,
    /// Which peers are admitted, how many calls may wait, and what their answers carry.
    pub(super) admission: bool,
    /// The address of the admin server.
    pub(super) admin: bool,
    /// The plugin in whose place this one runs, or the addresses of its endpoints.
    pub(super) drop_in: bool,
}

impl Changes {
    /// What `new` changes. `has_written`: whether the current key has encrypted anything yet.
    ///
    /// # Errors
    /// The configuration key that must not change like this, and what to do.
    pub(super) fn between(old: &Config, new: &Config, has_written: bool) -> Result<Self, String> {
        if old.kms_version != new.kms_version {
            return Err(
                "kms_version: a running kube-apiserver cannot follow: restart the plugin, and then kube-apiserver"
                    .to_owned(),
            );
        }
        let present = &old.keys.key;
        let readable = new.keys.key == *present || new.keys.decrypt_also.contains(present);
        if has_written && !readable {
            return Err(format!(
                "transit.key: {present} wrote what etcd holds: put it under transit.decrypt_also, or correct transit.key if that is mistyped"
            ));
        }
        let differs = |table| old.fingerprint.differs(&new.fingerprint, table);
        let backend = ["vault", "auth", "transit"].into_iter().any(differs)
            || old.keys.state_file != new.keys.state_file;
        let before = &old.socket;
        let after = &new.socket;
        let socket_path = before.path != after.path;
        Ok(Self {
            backend,
            limits: old.keys.limits != new.keys.limits,
            outage: old.outage.settings() != new.outage.settings(),
            socket_path,
            socket_permissions: !socket_path && before.permissions != after.permissions,
            admission: socket_path
                || old.peers != new.peers
                || old.max_waiting != new.max_waiting
                || annotation(old) != annotation(new),
            admin: old.admin != new.admin,
            drop_in: old.drop_in != new.drop_in,
        })
    }
}

/// What every value that is written carries, for another plugin.
pub(super) fn annotation(config: &Config) -> Option<Annotation> {
    config.drop_in?.plugin.annotation()
}

/// The tables of the configuration that changed, or `none`.
impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            backend,
            limits,
            outage,
            socket_path,
            socket_permissions,
            admission,
            admin,
            drop_in,
        } = *self;
        let named = [
            (backend, "the connection, login or keys"),
            (limits, "health limits"),
            (outage, "seed cache"),
            (socket_path, "socket path"),
            (socket_permissions, "socket mode or owner"),
            (admission, "admission"),
            (admin, "admin address"),
            (drop_in, "replaced plugin"),
        ];
        let changed: Vec<_> = named.iter().filter(|it| it.0).map(|it| it.1).collect();
        if changed.is_empty() {
            return f.write_str("none");
        }
        f.write_str(&changed.join(", "))
    }
}

//! A role on an AppRole mount of its own, and daemons that log in to it: their tokens come from
//! their own logins, and are short-lived if a test needs that.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::methods::{mounted, role, secret_id};
use crate::daemon_at;
use crate::harness::daemon::Builder;
use crate::harness::vault::{Fixture, Vault};

/// A role `plugin` with a secret_id.
pub(crate) struct AppRole {
    pub(crate) mount: String,
    pub(crate) role_id: String,
    pub(crate) secret_id: String,
}

impl AppRole {
    /// A role that grants the fixture's policy; `more` are further parameters of the role.
    pub(crate) async fn new(vault: &Vault, fixture: &Fixture, more: Value) -> Self {
        let mount = mounted(vault, "approle", fixture).await;
        let role_id = role(vault, &mount, fixture, more).await;
        let secret_id = secret_id(vault, &mount).await;
        Self {
            mount,
            role_id,
            secret_id,
        }
    }

    /// A role whose tokens expire after `ttl` seconds unless renewed, and after `max_ttl` in any case.
    pub(crate) async fn short(vault: &Vault, fixture: &Fixture, ttl: u32, max_ttl: u32) -> Self {
        let times = json!({ "token_ttl": ttl, "token_max_ttl": max_ttl });
        Self::new(vault, fixture, times).await
    }

    /// A daemon that logs in to it, and its secret_id's file.
    pub(crate) fn daemon(&self, address: &str, fixture: &Fixture) -> (Builder, PathBuf) {
        let builder = daemon_at(address, fixture);
        let file = builder.write_file("secret-id", &self.secret_id);
        let auth = format!(
            "[auth]\nmethod = \"approle\"\nmount = \"{}\"\nrole_id = \"{}\"\nsecret_id_file = \"{}\"",
            self.mount,
            self.role_id,
            file.display()
        );
        (builder.extra(&auth), file)
    }

    /// The path of its login, as a proxy sees it.
    pub(crate) fn login_path(&self) -> String {
        format!("/v1/auth/{}/login", self.mount)
    }
}

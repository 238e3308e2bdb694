//! What the policies of the token allow: all that is needed, and nothing more. Does nothing to the
//! paths.

use tokio::time::Instant;

use super::format::listed;
use super::{REQUEST_TIMEOUT, Report};
use crate::diagnosis::Diagnosis;
use crate::keys::{self, KeyError};
use crate::vault::{ApiErrorKind, CallError, Client, Namespace, Token, TransitKey};

pub(super) const NAME: &str = "capabilities";

/// Whose capabilities are queried.
pub(super) struct Query<'a> {
    pub(super) client: &'a Client,
    pub(super) token: &'a Token,
    /// The namespace of the token, if it could be read.
    pub(super) namespace: Option<Namespace>,
}

/// A path, and the one capability that the plugin needs on it.
struct Required {
    path: String,
    capability: &'static str,
}

impl Query<'_> {
    /// Checks all keys.
    pub(super) async fn check(&self, settings: &keys::Settings, report: &mut Report) {
        let before = report.steps().len();
        let own = required_for(&settings.key);
        let mut granted = self.check_key(&settings.key, own, report).await;
        let bound = settings.bound.iter().map(|bound| &bound.key);
        for key in settings.decrypt_also.iter().chain(bound) {
            let required = vec![Required::new(key, "decrypt", "update")];
            granted.extend(self.check_key(key, required, report).await);
        }
        self.warn_about_wildcards(&settings.key, report).await;
        self.warn_about_management(&settings.key, report).await;
        if report.steps().len() == before {
            report.ok(NAME, format!("{}, and nothing more", listed(&granted)));
        }
    }

    /// Reports what is missing and what is too much. Returns what is required, if Vault answered.
    async fn check_key(
        &self,
        key: &TransitKey,
        mut required: Vec<Required>,
        report: &mut Report,
    ) -> Vec<String> {
        let paths = required.iter().map(|one| one.path.clone()).collect();
        let granted = match self.granted(key, paths).await {
            Ok(granted) => granted,
            Err(error) if error.api_error() == Some(ApiErrorKind::PolicyDenied) => {
                let reason = self.reason_of_denial(key);
                report.warning(
                    NAME,
                    format!(
                        "cannot query capabilities ({reason}); the next steps test them instead"
                    ),
                );
                return Vec::new();
            }
            Err(error) => {
                let KeyError { cause, remedy, .. } = KeyError::of_call(key, &error);
                let error = Diagnosis { cause, remedy };
                report.unavailable(NAME, error, "try again once Vault answers");
                return Vec::new();
            }
        };
        let mut texts = Vec::new();
        for (one, (path, granted)) in required.iter_mut().zip(granted) {
            one.path = path;
            compare(one, &granted, report);
            if has_create(one, &granted) {
                self.warn_about_create(key, &one.path, report).await;
            }
            texts.push(format!("{} on {}", one.capability, one.path));
        }
        texts
    }

    /// The capabilities on each of the paths in the key's namespace. Those of a token of a namespace
    /// above can be queried only there: the paths returned are then what they are called there, and
    /// in the token's policies.
    pub(super) async fn granted(
        &self,
        key: &TransitKey,
        paths: Vec<String>,
    ) -> Result<Vec<(String, Vec<String>)>, CallError> {
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        let Self { client, token, .. } = *self;
        let inside = client
            .capabilities(&key.namespace, token, &paths, deadline)
            .await;
        let is_denied = |error: &CallError| error.api_error() == Some(ApiErrorKind::PolicyDenied);
        let above = self
            .namespace
            .as_ref()
            .filter(|_| inside.as_ref().is_err_and(is_denied));
        let Some((above, prefix)) =
            above.and_then(|above| Some((above, key.namespace.below(above)?)))
        else {
            return Ok(paths.into_iter().zip(inside?).collect());
        };
        let outside: Vec<_> = paths
            .iter()
            .map(|path| format!("{prefix}/{path}"))
            .collect();
        let granted = client
            .capabilities(above, token, &outside, deadline)
            .await?;
        Ok(outside.into_iter().zip(granted).collect())
    }

    /// A mistyped key name would create a key, unless the mount forbids that.
    async fn warn_about_create(&self, key: &TransitKey, path: &str, report: &mut Report) {
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        let Self { client, token, .. } = *self;
        let disabled = client.is_upsert_disabled(key, token, deadline).await;
        let text = if disabled.is_ok_and(|it| it) {
            format!(
                "the policy grants `create` on {path}, which only disable_upsert of the mount makes harmless; \
                 grant `update` alone"
            )
        } else {
            format!(
                "the policy grants `create` on {path}: a mistyped key name would create a new key; grant \
                 `update` alone, and set disable_upsert on {}/config/keys",
                key.mount.as_str()
            )
        };
        report.warning(NAME, text);
    }

    fn reason_of_denial(&self, key: &TransitKey) -> String {
        match &self.namespace {
            Some(own) if *own != key.namespace && key.namespace.below(own).is_none() => format!(
                "the token is of namespace {:?}, which is not above {:?}",
                own.as_str(),
                key.namespace.as_str()
            ),
            _ => "no \"default\" policy".to_owned(),
        }
    }

    /// A policy with a wildcard also allows a key of a random name, which does not exist.
    async fn warn_about_wildcards(&self, key: &TransitKey, report: &mut Report) {
        let name: String = std::iter::repeat_with(fastrand::lowercase)
            .take(12)
            .collect();
        let mount = key.mount.as_str();
        let paths = ["encrypt", "decrypt", "keys"].map(|what| format!("{mount}/{what}/{name}"));
        let granted = self.granted(key, paths.to_vec()).await;
        let Ok(granted) = granted else { return };
        let is_allowed = |granted: &Vec<String>| !granted.is_empty() && granted[0] != "root";
        let allowed = granted.iter().filter(|(_, granted)| is_allowed(granted));
        let shown: Vec<_> = allowed.map(|(path, _)| path.replace(&name, "*")).collect();
        if !shown.is_empty() {
            let text = format!(
                "the policy has a wildcard and covers keys of every name ({}): name the key instead",
                shown.join(", ")
            );
            report.warning(NAME, text);
        }
    }
}

fn required_for(key: &TransitKey) -> Vec<Required> {
    let operations = [
        ("encrypt", "update"),
        ("decrypt", "update"),
        ("keys", "read"),
    ];
    operations
        .map(|(operation, capability)| Required::new(key, operation, capability))
        .into()
}

impl Required {
    fn new(key: &TransitKey, operation: &str, capability: &'static str) -> Self {
        let path = key.path(operation);
        Self { path, capability }
    }
}

/// Whether it may create a key by an Encrypt.
fn has_create(Required { path, .. }: &Required, granted: &[String]) -> bool {
    path.contains("/encrypt/") && granted.iter().any(|one| one == "create")
}

fn compare(required: &Required, granted: &[String], report: &mut Report) {
    let Required { path, capability } = required;
    // Reported with the token itself.
    if granted.iter().any(|one| one == "root") {
        return;
    }
    if !granted.iter().any(|one| one == capability) {
        let text = format!("the policy of this token does not grant `{capability}` on {path}");
        let remedy = "grant it (deploy/policy.hcl shows all that is needed), or correct transit.key, transit.mount, vault.namespace, or its entry in transit.decrypt_also";
        report.unavailable(NAME, text, remedy);
    }
    let excess: Vec<_> = granted
        .iter()
        .filter(|one| *one != capability)
        .cloned()
        .collect();
    if !excess.is_empty() && !has_create(required, granted) {
        let text = format!(
            "the policy grants {} on {path}, which is never needed",
            listed(&excess)
        );
        report.warning(NAME, text);
    }
}

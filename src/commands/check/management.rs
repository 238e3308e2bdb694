//! Capabilities that manage a key or its mount, which the plugin never needs: whoever gets its token would
//! have them.

use std::collections::BTreeMap;

use super::Report;
use super::capabilities::{NAME, Query};
use super::format::listed;
use crate::vault::TransitKey;

impl Query<'_> {
    /// Warns of those that the token has.
    pub(super) async fn warn_about_management(&self, key: &TransitKey, report: &mut Report) {
        let Ok(granted) = self.granted(key, paths(key)).await else {
            return;
        };
        let mut paths_by_grant = BTreeMap::<_, Vec<_>>::new();
        for (path, granted) in granted {
            if !granted.is_empty() && granted[0] != "root" {
                paths_by_grant.entry(granted).or_default().push(path);
            }
        }
        let excess: Vec<_> = paths_by_grant
            .iter()
            .map(|(granted, paths)| format!("{} on {}", listed(granted), listed(paths)))
            .collect();
        if !excess.is_empty() {
            let text = format!(
                "the policy grants what is never needed, and whoever gets this token would have it: {}",
                excess.join("; ")
            );
            report.warning(NAME, text);
        }
    }
}

/// Each is a way to lose data, to read it without the plugin, or to weaken the key.
fn paths(key: &TransitKey) -> Vec<String> {
    let (mount, name) = (key.mount.as_str(), key.name.as_str());
    vec![
        format!("{mount}/keys/{name}/config"),
        format!("{mount}/keys/{name}/rotate"),
        format!("{mount}/keys/{name}/trim"),
        format!("{mount}/keys/{name}/soft-delete"),
        format!("{mount}/export/encryption-key/{name}"),
        format!("{mount}/backup/{name}"),
        format!("{mount}/restore/{name}"),
        format!("{mount}/rewrap/{name}"),
        format!("{mount}/datakey/plaintext/{name}"),
        format!("{mount}/config/keys"),
        format!("sys/mounts/{mount}"),
        format!("sys/mounts/{mount}/tune"),
        "sys/remount".to_owned(),
    ]
}

//! Restored keys: Transit's own backups, also modified ones, and the whole storage.

use std::fs;
use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Kind, READY_LIMIT, Vault, wait};

/// What opens a server: of one that lost its storage.
pub struct Keys(Kind);

impl Vault {
    /// Transit's backup of a key, which this call allows first.
    pub async fn backup(&self, mount: &str, key: &str) -> String {
        let allowed = json!({ "exportable": true, "allow_plaintext_backup": true });
        self.configure_key(mount, key, allowed).await;
        let path = format!("{mount}/backup/{key}");
        let answer = self.expect("GET", &path, None).await;
        let backup = answer["data"]["backup"].as_str();
        backup.expect("a backup is a text").to_owned()
    }

    /// Restores a backup, in place of a key or of none.
    pub async fn restore(&self, mount: &str, key: &str, backup: &str) {
        let body = json!({ "backup": backup, "force": true });
        self.expect("POST", &format!("{mount}/restore/{key}"), Some(body))
            .await;
    }

    /// Stops a persistent server for a moment to copy its storage.
    pub async fn snapshot(&self) {
        self.kill();
        copy(&self.data(), &self.dir.path().join("snapshot"));
        self.restart().await;
    }

    /// Stops a persistent server and starts it with the storage as it was copied.
    pub async fn restore_snapshot(&self) {
        self.kill();
        fs::remove_dir_all(self.data()).expect("a stopped server's storage can be removed");
        copy(&self.dir.path().join("snapshot"), &self.data());
        self.restart().await;
    }

    /// Another server with empty storage in its place, initialised and unsealed with keys of its own.
    /// Gives back the token and the key of before.
    pub async fn lose_storage(&mut self) -> Keys {
        self.kill();
        fs::remove_dir_all(self.data()).expect("a stopped server's storage can be removed");
        fs::create_dir_all(self.data()).expect("a directory can be made");
        let nothing = Kind::Persistent {
            root_token: String::new(),
            unseal_key: String::new(),
        };
        let before = std::mem::replace(&mut self.kind, nothing);
        self.relaunch();
        self.initialise().await;
        Keys(before)
    }

    /// After a backup of before was restored into it: unsealed with the keys of then.
    pub async fn unseal_restored(&mut self, keys: Keys) {
        // It notices the other keys a moment after the restore, and seals itself.
        let sealed = async || self.health().await == Some(503);
        wait::until_true("the restored Vault is sealed", READY_LIMIT, sealed).await;
        self.kind = keys.0;
        self.unseal().await;
    }

    fn data(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }
}

/// A backup in which `change` was applied to the key's policy and to each of its versions.
pub fn changed(backup: &str, policy: impl Fn(&mut Value), version: impl Fn(&mut Value)) -> String {
    let bytes = STANDARD.decode(backup).expect("a backup is base64");
    let mut whole: Value = serde_json::from_slice(&bytes).expect("of JSON");
    policy(&mut whole["policy"]);
    let current = whole["policy"]["keys"].as_object_mut();
    let current = current.expect("a policy has keys").values_mut();
    current.for_each(&version);
    let archived = whole["archived_keys"]["keys"].as_array_mut();
    // The first entry of the archive is for version 0, which does not exist.
    let archived = archived.expect("a backup has an archive");
    archived.iter_mut().skip(1).for_each(&version);
    STANDARD.encode(whole.to_string())
}

/// A backup of whatever kind of key with `from` replaced in its text. RSA keys hold numbers that are
/// too long for [`changed`].
pub fn rewritten(backup: &str, from: &str, to: &str) -> String {
    let bytes = STANDARD.decode(backup).expect("a backup is base64");
    let text = String::from_utf8(bytes).expect("of a text");
    assert!(text.contains(from), "no {from} in the backup");
    STANDARD.encode(text.replace(from, to))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory can be made");
    for entry in fs::read_dir(from).expect("a directory can be read") {
        let entry = entry.expect("its entries too");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a file has a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a file can be copied");
        }
    }
}

//! The contract's invariants, checked at each answer.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tonic::{Code, Status};

use super::checks::{Place, Stored};
use super::world::State;
use crate::grpc::proto::v2::{EncryptResponse, StatusResponse};

/// What a process announced so shortly before it crashed may not be in the state file.
const LOST: Duration = Duration::from_millis(1);

/// The version, its creation and the suffix of a key_id.
fn numbers(key_id: &str) -> Option<(u32, u64, u32)> {
    let mut parts = key_id.split(':').skip(4);
    let version = parts.next()?.strip_prefix('v')?.parse().ok()?;
    let created = parts.next()?.parse().ok()?;
    let suffix = match parts.next() {
        Some(suffix) => suffix.strip_prefix('s')?.parse().ok()?,
        None => 0,
    };
    Some((version, created, suffix))
}

impl State {
    /// The place of a key_id; `None` if no version has it.
    pub(super) fn place(&self, key_id: &str) -> Option<Place> {
        let (version, created, suffix) = numbers(key_id)?;
        let key = self.vault.find(version, created)?;
        Some(Place {
            key,
            suffix,
            version,
        })
    }

    /// The key of which a version was announced last.
    pub(super) fn announced_key(&self) -> usize {
        let last = self.checks.announced.last();
        last.map_or(self.vault.current, |(_, place)| place.key)
    }

    pub(super) fn check_status(&mut self, began: Duration, who: &str, answer: &StatusResponse) {
        let StatusResponse {
            version,
            healthz,
            key_id,
        } = answer;
        self.checks.counts.answers += 1;
        self.checks.named = None;
        self.note(&format!("{who} Status {healthz:?} {key_id}"));
        let Some(place) = self.place(key_id) else {
            return self.violation("a key_id of no version");
        };
        if version != "v2" {
            self.violation("another version of KMS");
        }
        if place.key != 0 && !self.checks.accepted.contains(&place.key) {
            self.violation("a replaced key was announced");
        }
        let now = self.now();
        let later = self
            .checks
            .announced
            .iter()
            .find(|(since, other)| *since <= began && *other > place);
        if let Some((since, later)) = later.copied() {
            let is_lost = self
                .checks
                .crashed
                .is_some_and(|crash| since <= crash && crash < since + LOST);
            if !is_lost {
                self.violation(&format!("{place:?} after {later:?}"));
            }
        }
        if self
            .checks
            .announced
            .iter()
            .all(|(_, other)| *other < place)
        {
            self.checks.announced.push((now, place));
        }
        let silence = now.saturating_sub(self.vault.worked);
        let tolerated = Duration::from_secs(self.settings.tolerance + 10);
        if healthz == "ok" {
            if silence > tolerated && self.wall_step == 0 {
                self.violation(&format!("ok after a silence of {silence:?}"));
            }
        } else if self.was_calm_at(began) {
            self.violation("Status is not ok and nothing is wrong");
        }
    }

    pub(super) fn check_encrypt(
        &mut self,
        who: &str,
        announced: &str,
        plaintext: &[u8],
        response: EncryptResponse,
    ) {
        self.checks.counts.answers += 1;
        let key_id = response.key_id.clone();
        let ciphertext = String::from_utf8_lossy(&response.ciphertext).into_owned();
        let is_local = !response.annotations.is_empty();
        self.note(&format!(
            "{who} Encrypt {ciphertext} {key_id} local={is_local}"
        ));
        let key = |key_id: &str| self.place(key_id).map(|place| place.key);
        // After a replaced key was accepted, none of its versions is what Status returned before.
        if key_id != announced && key(&key_id) == key(announced) {
            self.violation(&format!("Encrypt returned {key_id} and Status {announced}"));
        }
        let Some(value) = self.vault.values.get(&ciphertext).cloned() else {
            return self.violation("a ciphertext that Vault never made");
        };
        let place = self.place(&key_id);
        if place.is_none_or(|place| place.version != value.version) {
            self.violation("the ciphertext is of another version than its key_id");
        }
        if place.is_none_or(|place| place.key != value.key) && self.vault.keys.len() == 1 {
            self.violation("the ciphertext is of another key than its key_id");
        }
        let expected = STANDARD.encode(plaintext);
        if !is_local && value.plaintext != expected {
            self.violation("another plaintext was encrypted");
        }
        let plaintext = plaintext.to_vec();
        self.checks.stored.push(Stored {
            plaintext,
            response,
        });
    }

    pub(super) fn check_decrypt(&mut self, who: &str, stored: &Stored, plaintext: &[u8]) {
        self.checks.counts.answers += 1;
        self.note(&format!("{who} Decrypt {}", ciphertext_of(stored)));
        if plaintext != stored.plaintext {
            self.violation("a wrong plaintext");
        }
    }

    /// Whether Vault can decrypt it now.
    pub(super) fn is_readable(&self, stored: &Stored) -> bool {
        let value = self.vault.values.get(&*ciphertext_of(stored));
        value.is_some_and(|value| self.vault.is_readable(value))
    }

    pub(super) fn check_error(&mut self, began: Duration, who: &str, what: &str, error: &Status) {
        self.checks.counts.errors += 1;
        let code = error.code();
        let text: String = error.message().chars().take(160).collect();
        self.note(&format!("{who} {what} {code:?} {text}"));
        if error.message().starts_with("no answer within") {
            self.violation("no answer within the deadline");
        }
        if self.was_calm_at(began) {
            self.violation(&format!("{what} failed and nothing is wrong"));
        }
        if let Some(named) = named_in(error.message()) {
            self.checks.named = Some(named.to_owned());
        }
        let says_replaced = error.message().contains("was replaced");
        if says_replaced && self.vault.keys.len() == 1 {
            self.violation("a key that was never replaced is called replaced");
        }
        if code == Code::Internal {
            self.violation("INTERNAL");
        }
    }
}

/// The key_id that an error names for `transit.accept_replaced`.
fn named_in(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("accept_replaced = \"")?;
    Some(rest.split_once('"')?.0)
}

fn ciphertext_of(stored: &Stored) -> Cow<'_, str> {
    String::from_utf8_lossy(&stored.response.ciphertext)
}

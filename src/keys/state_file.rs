//! The state file: what was announced, so that a process restarted during an outage can answer
//! Status. It holds no secret.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::announced::AnnouncedKeyIds;
use super::arguments::Settings;
use super::key_id::KeyId;
use super::view::{Canary, KeyView, ProvenKey};
use crate::system::blocking::spawn_blocking;
use crate::system::clock::{self, Moment};
use crate::system::{atomic_file, boot};
use crate::telemetry::events;
use crate::vault::{Ciphertext, TransitKey, VersionStamp};

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stored {
    key_id: KeyId,
    #[serde(flatten)]
    stamp: VersionStamp,
    /// UTC seconds since 1970.
    last_success: u64,
    /// The boot of the host in which it was written and confirmed by Vault; empty if it was not
    /// confirmed since an earlier boot, and in a file of an earlier version of this program.
    #[serde(default)]
    boot: String,
    /// Shows after a restart whether the key is still the same. No secret: the plaintext was random
    /// and encrypts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    canary: Option<StoredCanary>,
    /// The key_ids that were announced, the latest last.
    #[serde(default)]
    announced: Vec<KeyId>,
    /// The key_id whose acceptance as a replacement a later version followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    used_acceptance: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct StoredCanary {
    ciphertext: String,
    /// Of the plaintext, in base64.
    sha256: String,
    #[serde(flatten)]
    stamp: VersionStamp,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    was_refused: bool,
}

/// What an earlier process announced for this key. A file that is missing, damaged or of another
/// key is as good as none; of another key that is not among `also`, which still decrypt, it warns.
#[must_use]
pub fn load(path: &Path, settings: &Settings) -> KeyView {
    let stored = match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice::<Stored>(&bytes).map_err(|error| error.to_string()),
        Err(error) if error.kind() == ErrorKind::NotFound => return KeyView::default(),
        Err(error) => Err(error.to_string()),
    };
    match stored {
        Ok(stored) => {
            if !stored.is_of(&settings.key) {
                note_moved(path, &stored.key_id, &settings.decrypt_also);
            } else if boot::id().is_none() {
                let path = path.display().to_string();
                events::BootUnknown { path }.emit();
            }
            stored.into_view(settings)
        }
        Err(error) => {
            let path = path.display().to_string();
            events::StateUnreadable { path, error }.emit();
            KeyView::default()
        }
    }
}

/// The key_ids that were announced from this file's directory; none if there is no file that can be
/// read.
#[must_use]
pub fn announced(path: &Path) -> AnnouncedKeyIds {
    let bytes = std::fs::read(path).unwrap_or_default();
    let stored = serde_json::from_slice::<Stored>(&bytes);
    stored.map_or_else(|_| AnnouncedKeyIds::default(), |stored| stored.key_ids())
}

/// The process before this one wrote with another key.
fn note_moved(path: &Path, before: &KeyId, also: &[TransitKey]) {
    let path = path.display().to_string();
    let is_read = also.iter().any(|key| KeyId::names(before.as_str(), key));
    let before = before.to_string();
    if is_read {
        events::KeyChanged { path, before }.emit();
    } else {
        events::KeyLost { path, before }.emit();
    }
}

/// Writes the file whenever what it holds has changed, while its KeyManager serves. Ends with `ending`, after what was
/// announced until then is written.
pub(super) async fn keep(
    path: PathBuf,
    mut view: watch::Receiver<KeyView>,
    mut serving: watch::Receiver<bool>,
    ending: CancellationToken,
) {
    // A candidate that is never accepted ends here, with its actor.
    let serves = serving.wait_for(|serving| *serving);
    if !matches!(ending.run_until_cancelled(serves).await, Some(Ok(_))) {
        return;
    }
    let mut written = None;
    let mut warned = false;
    loop {
        let is_last = ending.is_cancelled();
        let wanted = Stored::of(&view.borrow_and_update());
        // Once another KeyManager serves, the file is its own.
        if wanted.is_some() && wanted != written && *serving.borrow() {
            match save(path.clone(), wanted.clone()).await {
                Ok(()) => (written, warned) = (wanted, false),
                Err(error) if !warned => {
                    events::StateUnwritable {
                        path: path.display().to_string(),
                        error: error.to_string(),
                    }
                    .emit();
                    warned = true;
                }
                Err(_) => {}
            }
        }
        if is_last
            || matches!(
                ending.run_until_cancelled(view.changed()).await,
                Some(Err(_))
            )
        {
            return;
        }
    }
}

impl Stored {
    /// What is stored of this view; `None` if nothing was ever proven.
    pub(super) fn of(view: &KeyView) -> Option<Self> {
        let proven = view.writing()?;
        let silence = view.last_success?.elapsed();
        let since_epoch = clock::now().duration_since(UNIX_EPOCH).ok()?;
        Some(Self {
            key_id: proven.key_id.clone(),
            stamp: proven.stamp,
            last_success: since_epoch.saturating_sub(silence).as_secs(),
            boot: view
                .unconfirmed_since
                .map_or_else(boot::id, |_| None)
                .unwrap_or_default(),
            canary: view.canary.as_ref().map(StoredCanary::of),
            announced: view.key_ids.iter().cloned().collect(),
            used_acceptance: view.used_acceptance.clone(),
        })
    }

    /// The same with another time of the last success, written in this boot or an earlier one.
    #[cfg(all(test, feature = "kmsctl"))]
    pub(super) fn at(self, last_success: u64, is_of_this_boot: bool) -> Self {
        let boot = if is_of_this_boot {
            self.boot
        } else {
            String::new()
        };
        Self {
            last_success,
            boot,
            ..self
        }
    }

    /// Its text without the time.
    #[cfg(all(test, feature = "kmsctl"))]
    pub(super) fn text(&self) -> String {
        let stored = self.clone().at(0, true);
        serde_json::to_string(&stored).expect("JSON")
    }

    /// What was announced. A file of an earlier version of this program holds the latest only.
    fn key_ids(&self) -> AnnouncedKeyIds {
        if self.announced.is_empty() {
            return [self.key_id.clone()].into_iter().collect();
        }
        self.announced.iter().cloned().collect()
    }

    fn is_of(&self, key: &TransitKey) -> bool {
        self.key_id.is_of(key, self.stamp)
    }

    /// What it says of the configured key; of another key only which key_ids were announced.
    pub(super) fn into_view(self, settings: &Settings) -> KeyView {
        if !self.is_of(&settings.key) {
            return KeyView {
                key_ids: self.key_ids(),
                ..KeyView::default()
            };
        }
        let last_success = time_of(self.last_success);
        let silence = clock::now().duration_since(last_success.into());
        let silence = silence.unwrap_or_default();
        let key_ids = self.key_ids();
        let is_of_this_boot = boot::id().is_some_and(|boot| boot == self.boot);
        let at = |stamp| ProvenKey {
            key_id: settings.key_id(stamp),
            stamp,
        };
        let canary = self.canary.and_then(StoredCanary::into_canary);
        // The canary is of the proven version, which may be a later one than Status said.
        let proven = at(canary.as_ref().map_or(self.stamp, |canary| canary.stamp));
        // With another suffix, or proven and not yet announced, it is a key_id that Status never said.
        let announced = Some(at(self.stamp)).filter(|it| key_ids.last() == Some(&it.key_id));
        KeyView {
            announced_before: announced.clone().into_iter().collect(),
            announced,
            key_ids,
            used_acceptance: self.used_acceptance,
            proven: Some(proven),
            canary,
            last_success: Some(Moment::ago(silence)),
            unconfirmed_since: (!is_of_this_boot).then_some(last_success),
            ..KeyView::default()
        }
    }
}

impl StoredCanary {
    fn of(canary: &Canary) -> Self {
        Self {
            ciphertext: canary.ciphertext.as_str().to_owned(),
            sha256: STANDARD.encode(canary.digest),
            stamp: canary.stamp,
            was_refused: canary.was_refused,
        }
    }

    /// Returns `None` if it is damaged: the next proof makes another.
    fn into_canary(self) -> Option<Canary> {
        let digest = STANDARD.decode(self.sha256).ok()?;
        Some(Canary {
            digest: digest.try_into().ok()?,
            ciphertext: Arc::new(Ciphertext::try_new(self.ciphertext.into_bytes()).ok()?),
            stamp: self.stamp,
            was_refused: self.was_refused,
        })
    }
}

/// The start of 1970 for a number that no clock shows.
fn time_of(seconds: u64) -> Timestamp {
    let seconds = i64::try_from(seconds).ok();
    let time = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.unwrap_or(Timestamp::UNIX_EPOCH)
}

async fn save(path: PathBuf, stored: Option<Stored>) -> Result<(), String> {
    let write = move || -> std::io::Result<()> {
        let mut text = serde_json::to_vec(&stored)?;
        text.push(b'\n');
        atomic_file::replace(&path, &text)
    };
    let ended = spawn_blocking(write).await;
    ended
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::keys::status::HealthLimits;
    use crate::keys::tests::{key_named, proven};

    fn settings(name: &str) -> Settings {
        Settings {
            key: key_named(name),
            decrypt_also: Vec::new(),
            bound: Vec::new(),
            accept_replaced: None,
            key_id_suffix: None,
            limits: HealthLimits {
                tolerance: Duration::from_secs(600),
                fail_after: Duration::from_secs(3600),
            },
            max_in_flight: Some(2),
            state_file: PathBuf::new(),
        }
    }

    fn view(silence: Duration) -> KeyView {
        let proven = proven(1_714_000_000, 3);
        KeyView {
            announced: Some(proven.clone()),
            proven: Some(proven),
            last_success: Some(Moment::ago(silence)),
            ..KeyView::default()
        }
    }

    #[tokio::test]
    async fn what_was_announced_survives_with_its_age() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("kms.state.json");
        let silence = Duration::from_secs(5);
        save(path.clone(), Stored::of(&view(silence)))
            .await
            .expect("saved");
        let loaded = load(&path, &settings("kms"));
        assert_eq!(loaded.announced, view(silence).announced);
        let age = loaded.last_success.expect("time").elapsed();
        assert!(
            age >= Duration::from_secs(4) && age <= Duration::from_secs(60),
            "{age:?}"
        );
    }

    /// A process that ends between the proof of a version and its Status.
    #[test]
    fn a_version_that_was_proven_and_not_announced_is_remembered_with_its_canary() {
        let (first, second) = (proven(100, 1), proven(200, 2));
        let text = "vault:v2:AAAA".to_owned();
        let mut view = KeyView {
            announced: Some(first.clone()),
            proven: Some(second.clone()),
            status_asked: true,
            last_success: Some(Moment::now()),
            canary: Some(Canary {
                digest: [0; 32],
                ciphertext: Arc::new(Ciphertext::try_new(text.into_bytes()).expect("a ciphertext")),
                stamp: second.stamp,
                was_refused: true,
            }),
            ..KeyView::default()
        };
        view.key_ids.add(&first.key_id);
        let stored = Stored::of(&view).expect("a version was proven");
        let view = stored.into_view(&settings("kms"));
        assert_eq!(view.announced, Some(first.clone()));
        assert_eq!(view.pinned_for(Some(first.clone())), Some(first));
        let canary = view.canary.map(|it| (it.stamp, it.was_refused));
        assert_eq!(canary, Some((second.stamp, true)));
        assert_eq!(view.proven, Some(second));
    }

    /// Whoever is asked to stop right after a Status forgets nothing.
    #[tokio::test]
    async fn what_was_announced_last_is_written_before_the_end_unless_another_one_serves() {
        let dir = tempfile::tempdir().expect("directory");
        for serves in [true, false] {
            let path = dir.path().join(format!("{serves}.json"));
            let (known, serving) = (
                watch::Sender::new(KeyView::default()),
                watch::Sender::new(true),
            );
            let ending = CancellationToken::new();
            let kept = tokio::spawn(keep(
                path.clone(),
                known.subscribe(),
                serving.subscribe(),
                ending.clone(),
            ));
            tokio::task::yield_now().await;
            serving.send_replace(serves);
            known.send_replace(view(Duration::ZERO));
            ending.cancel();
            kept.await.expect("no panic");
            let loaded = load(&path, &settings("kms"));
            assert_eq!(loaded.announced.is_some(), serves);
        }
    }

    /// What a process that was started again knows of the connections of the one before.
    #[test]
    fn a_connection_goes_on_after_a_restart_with_what_its_last_status_returned() {
        let (first, second) = (proven(100, 1), proven(200, 2));
        let mut before = KeyView {
            announced: Some(first.clone()),
            status_asked: true,
            used_acceptance: Some("accepted".to_owned()),
            ..view(Duration::ZERO)
        };
        before.key_ids.add(&first.key_id);
        let stored = Stored::of(&before).expect("a version was proven");
        let mut view = stored.into_view(&settings("kms"));
        assert_eq!(view.used_acceptance.as_deref(), Some("accepted"));
        view.proven = Some(second.clone());
        view.announced = Some(second.clone());
        view.remember_announced();
        assert_eq!(view.pinned_for(Some(first.clone())), Some(first));
        assert_eq!(view.pinned_for(None), Some(second));
    }

    #[test]
    fn a_time_that_no_clock_shows_is_the_start_of_1970() {
        assert_eq!(time_of(1_714_000_000).as_second(), 1_714_000_000);
        for wrong in [u64::MAX, i64::MAX as u64] {
            assert_eq!(time_of(wrong), Timestamp::UNIX_EPOCH);
        }
    }

    #[tokio::test]
    async fn the_state_of_another_key_is_not_ours() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("kms.state.json");
        save(path.clone(), Stored::of(&view(Duration::ZERO)))
            .await
            .expect("saved");
        assert!(load(&path, &settings("other")).announced.is_none());
    }

    #[test]
    fn a_damaged_or_missing_file_is_as_good_as_none() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("kms.state.json");
        assert!(load(&path, &settings("kms")).announced.is_none());
        for damaged in [
            "{\"key_id\":3",
            r#"{"key_id":"transit1::transit:kms:v0:5","created":5,"version":0,"last_success":5}"#,
        ] {
            std::fs::write(&path, damaged).expect("written");
            assert!(load(&path, &settings("kms")).proven.is_none(), "{damaged}");
        }
    }

    #[test]
    fn a_number_that_no_clock_shows_is_a_success_long_ago() {
        let stored = Stored::of(&view(Duration::ZERO)).expect("proven");
        for last_success in [u64::MAX, i64::MAX as u64, 1 << 40] {
            let stored = Stored {
                last_success,
                ..stored.clone()
            };
            let view = stored.into_view(&settings("kms"));
            let age = view.last_success.expect("a time").elapsed();
            assert!(
                age > Duration::from_secs(365 * 24 * 3600),
                "{last_success}: {age:?}"
            );
        }
    }

    #[tokio::test]
    async fn another_suffix_is_another_key_id_of_the_same_version() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("kms.state.json");
        let stored = Stored::of(&view(Duration::ZERO));
        save(path.clone(), stored).await.expect("saved");
        let suffixed = Settings {
            key_id_suffix: Some("b".to_owned()),
            ..settings("kms")
        };
        let loaded = load(&path, &suffixed);
        let proven = loaded.proven.expect("the version is known");
        assert!(proven.key_id.as_str().ends_with(":b"), "{proven:?}");
        assert_eq!(loaded.announced, None);
        assert_eq!(loaded.key_ids.iter().count(), 1);
        assert!(load(&path, &settings("other")).key_ids.iter().count() == 1);
    }

    #[tokio::test]
    async fn only_a_file_of_this_boot_is_believed_as_it_is() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("kms.state.json");
        let stored = Stored::of(&view(Duration::from_secs(5))).expect("proven");
        save(path.clone(), Some(stored.clone()))
            .await
            .expect("saved");
        assert_eq!(load(&path, &settings("kms")).unconfirmed_since, None);
        let then = time_of(stored.last_success);
        for boot in ["", "00000000-0000-4000-8000-000000000000"] {
            let stored = Stored {
                boot: boot.to_owned(),
                ..stored.clone()
            };
            save(path.clone(), Some(stored)).await.expect("saved");
            let loaded = load(&path, &settings("kms"));
            assert_eq!(loaded.unconfirmed_since, Some(then), "{boot:?}");
            assert!(loaded.announced.is_some());
            // Another process of this boot, after it was written again.
            save(path.clone(), Stored::of(&loaded))
                .await
                .expect("saved");
            let again = load(&path, &settings("kms"));
            assert!(again.unconfirmed_since.is_some(), "{boot:?}");
        }
    }
}

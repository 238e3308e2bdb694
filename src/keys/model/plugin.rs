//! A plugin: the production machine, view, Status policy and state file, with calls to Vault that the model answers.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::oneshot;

use super::bounds::LIMITS;
use super::clock::now;
use super::config::Config;
use super::server::{Data, unanswered};
use crate::keys::error::KeyError;
use crate::keys::key_id::KeyId;
use crate::keys::message::DecryptCall;
use crate::keys::refresh::{Call, CallObservation, Machine, RefreshEvent};
use crate::keys::state_file::Stored;
use crate::keys::status::{Announcement, announce};
use crate::keys::tests::logged_in;
use crate::keys::view::{KeyView, Pinned, ProvenKey};
use crate::system::clock::Moment;
use crate::telemetry::spans::Parent;
use crate::vault::{Ciphertext, TransitKey, VersionStamp};

/// A plugin.
#[derive(Debug, Clone)]
pub(super) struct Plugin {
    pub(super) machine: Machine,
    pub(super) view: KeyView,
    /// How long ago Vault last did what was asked; in the view it is filled in where it is needed.
    pub(super) silence: Option<Duration>,
    pub(super) proof_step: u64,
    /// The call to Vault that the refresh waits for.
    pub(super) call: Option<Call>,
    pub(super) config: Config,
    /// What an earlier process wrote.
    pub(super) file: Option<Stored>,
    /// The changes of Vault that it knows of: when a refresh last found that the latest version is the proven one.
    pub(super) seen: u8,
    /// The changes that the refresh has read, and the latest version then.
    pub(super) reading: (u8, Option<VersionStamp>),
    /// What was answered on connections before belongs to an earlier key or process.
    pub(super) generation: u8,
    /// How long ago it first saw a standby that lags, while that lags.
    pub(super) lag: Option<Duration>,
    /// How long ago the first of the last refreshes was rejected, if all since were.
    pub(super) rejected: Option<Duration>,
    /// Whether there was a verdict without two rejections a while apart.
    pub(super) was_hasty: bool,
    /// Whether it took to a key that does not have what it encrypted before, and that nobody accepted.
    pub(super) was_taken_in: bool,
    /// The key_ids that it announced, each once, the latest last.
    pub(super) announced: Vec<KeyId>,
}

/// What an Encrypt does.
pub(super) enum Encrypting {
    Ends(Result<(ProvenKey, Ciphertext), KeyError>),
    Waits,
}

impl Plugin {
    /// One that was never started before.
    pub(super) fn new(config: Config, proof_step: u64) -> Self {
        Self::started(config, KeyView::default(), proof_step)
    }

    pub(super) fn started(config: Config, mut view: KeyView, proof_step: u64) -> Self {
        view.accepted_replacement.clone_from(&config.accepted);
        Self {
            machine: config.machine(&view),
            view,
            silence: None,
            proof_step,
            call: None,
            config,
            file: None,
            seen: 0,
            reading: (0, None),
            generation: 0,
            lag: None,
            rejected: None,
            was_hasty: false,
            was_taken_in: false,
            announced: Vec::new(),
        }
    }

    /// The writing key.
    pub(super) fn key(&self) -> TransitKey {
        self.config.key()
    }

    /// The key_id of the latest version of the writing key.
    pub(super) fn latest(&self, data: &Data) -> Option<KeyId> {
        let latest = data.latest(&self.key())?;
        Some(self.config.settings().key_id(latest))
    }

    /// Why the key is taken for a replaced one, once that is certain.
    pub(super) fn replaced(&self) -> Option<&KeyError> {
        self.view.verdict().filter(|error| error.is_replaced())
    }

    /// What Status says.
    pub(super) fn status(&mut self) -> Announcement {
        static SESSION: OnceLock<crate::session::SessionView> = OnceLock::new();
        self.view.last_success = self.silence.map(Moment::ago);
        let made = announce(&mut self.view, SESSION.get_or_init(logged_in), LIMITS);
        self.view.last_success = None;
        made
    }

    /// Notes what was announced. Returns whether it was announced before, and then another one.
    pub(super) fn note_announced(&mut self, key_id: &KeyId) -> bool {
        let is_last = self.announced.last() == Some(key_id);
        let is_used = !is_last && self.announced.contains(key_id);
        self.announced.retain(|it| it != key_id);
        self.announced.push(key_id.clone());
        is_used
    }

    /// An Encrypt on a connection where Status last returned this.
    pub(super) fn encrypt(&mut self, last: Option<&ProvenKey>, data: Option<&Data>) -> Encrypting {
        let pinned = match self.view.pin(last.cloned()) {
            Pinned::Version(pinned) => pinned,
            Pinned::Rejected(error) => return Encrypting::Ends(Err(error)),
            Pinned::Later => return Encrypting::Waits,
        };
        let encrypted = match data {
            Some(data) => data.encrypt(&self.key(), pinned.stamp.version),
            None => Err(unanswered()),
        };
        Encrypting::Ends(match encrypted {
            Ok(ciphertext) => {
                self.view.last_encrypted = Some((pinned.stamp.version, now()));
                self.silence = Some(Duration::ZERO);
                Ok((pinned, ciphertext))
            }
            Err(error) => {
                if !error.is_transient() {
                    self.handle(RefreshEvent::Observed(CallObservation::Contradicted));
                }
                Err(error)
            }
        })
    }

    /// Whether it decrypts this.
    pub(super) fn decrypts(&self, key_id: &KeyId, ciphertext: &Ciphertext, data: &Data) -> bool {
        let call = DecryptCall {
            ciphertext: Arc::new(ciphertext.clone()),
            key_id: Some(key_id.to_string()),
            annotations: None,
            deadline: now(),
            parent: Parent::NOBODY,
            reply: oneshot::channel().0,
        };
        let choice = self.config.readers().choose(&call);
        choice.is_ok_and(|choice| {
            let mut candidates = choice.candidates().iter();
            candidates.any(|candidate| data.decrypt(&candidate.key, ciphertext).is_ok())
        })
    }
}

impl Hash for Plugin {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.machine.hash_at(now(), hasher);
        self.view.hash_known(hasher);
        (self.silence, self.call.is_some(), &self.config).hash(hasher);
        if self.view.proven.is_none() {
            self.file.as_ref().map(Stored::text).hash(hasher);
        }
        let latest = self.reading.1.map(|it| (it.created, it.version.get()));
        (self.seen, self.reading.0, latest, self.generation).hash(hasher);
        (self.lag, self.rejected).hash(hasher);
        (self.was_hasty, self.was_taken_in).hash(hasher);
        for key_id in &self.announced {
            key_id.as_str().hash(hasher);
        }
    }
}

//! What a refresh asks of the actor.

use super::log::LogEntry;
use crate::keys::key_id::KeyId;
use crate::keys::view::{Canary, KeyFault, KeyView, ProvenKey};
use crate::system::clock::Moment;
use crate::vault::VersionStamp;

/// A call to Vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::keys) enum Call {
    /// Read the key.
    ReadKey,
    /// Decrypt a canary from before.
    DecryptCanary(Canary),
    /// Encrypt a new canary with this version, and decrypt it together with the canary from before.
    Prove {
        stamp: VersionStamp,
        imported: bool,
        before: Option<Canary>,
    },
}

/// What the actor has to do.
#[derive(Debug)]
pub(in crate::keys) enum Effect {
    /// Make a call, and report its outcome.
    Call(Call),
    /// Publish what was found out.
    Publish(Publication),
    /// Log it, unless this is a candidate.
    Log(LogEntry),
    /// Let the session know that its token is denied what it is for.
    ReportDenied,
}

/// A change of the published snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::keys) struct Publication {
    /// A version that was proven.
    pub(super) proven: Option<Canary>,
    pub(super) key_id: Option<KeyId>,
    /// Whether it belongs to another key than before, which the operator accepted.
    pub(super) replaces: bool,
    /// Whether the key was read and works.
    pub(super) succeeded: bool,
    /// The key_id whose acceptance a later version followed.
    pub(super) used_acceptance: Option<String>,
    /// Versions below it are not decrypted.
    pub(super) min_decryption_version: Option<u32>,
    /// Whether another key refused the canary, and it was not decrypted since.
    pub(super) canary_was_refused: bool,
    /// Why the refresh failed last, unless something succeeded since.
    pub(super) fault: Option<KeyFault>,
}

impl Publication {
    /// Whether a version encrypted and decrypted just now.
    pub(in crate::keys) fn is_proof(&self) -> bool {
        self.succeeded && self.proven.is_some()
    }

    /// Changes the snapshot.
    pub(in crate::keys) fn apply(self, view: &mut KeyView, now: Moment) {
        if self.succeeded {
            view.succeeded(now);
        }
        view.is_refreshed = true;
        if self.used_acceptance.is_some() {
            view.used_acceptance = self.used_acceptance;
        }
        if let Some(min) = self.min_decryption_version {
            view.min_decryption_version = min;
        }
        view.fault = self.fault;
        if self.replaces {
            view.forget_announced();
        }
        if let (Some(canary), Some(key_id)) = (self.proven, self.key_id) {
            let stamp = canary.stamp;
            view.proven = Some(ProvenKey { key_id, stamp });
            view.canary = Some(canary);
        }
        if let Some(canary) = &mut view.canary {
            canary.was_refused = self.canary_was_refused;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::keys::tests::{proven, stamp};
    use crate::keys::view::KeyView;
    use crate::vault::Ciphertext;

    fn publication(succeeded: bool, proves: bool) -> Publication {
        let canary = Canary {
            digest: [0; 32],
            ciphertext: Arc::new(Ciphertext::try_new(b"vault:v2:AAAA".to_vec()).expect("valid")),
            stamp: stamp(200, 2),
            was_refused: false,
        };
        Publication {
            proven: proves.then_some(canary),
            key_id: proves.then(|| proven(200, 2).key_id),
            replaces: false,
            succeeded,
            used_acceptance: None,
            min_decryption_version: None,
            canary_was_refused: false,
            fault: None,
        }
    }

    #[test]
    fn only_a_success_with_a_canary_is_a_proof() {
        for (succeeded, proves) in [(false, false), (false, true), (true, false), (true, true)] {
            let publication = publication(succeeded, proves);
            assert_eq!(
                publication.is_proof(),
                succeeded && proves,
                "{publication:?}"
            );
        }
    }

    #[test]
    fn what_is_published_changes_the_snapshot_and_what_is_not_stays() {
        let before = KeyView {
            announced: Some(proven(100, 1)),
            proven: Some(proven(100, 1)),
            used_acceptance: Some("accepted".to_owned()),
            min_decryption_version: 1,
            ..KeyView::default()
        };
        let now = Moment::now();
        let mut view = before.clone();
        publication(false, false).apply(&mut view, now);
        assert!(view.is_refreshed && view.last_success.is_none());
        assert_eq!(
            (view.proven, view.announced),
            (before.proven.clone(), before.announced.clone())
        );
        assert_eq!(view.used_acceptance, before.used_acceptance);
        assert_eq!(view.min_decryption_version, 1);
        let mut view = before.clone();
        let all = Publication {
            replaces: true,
            used_acceptance: Some("another".to_owned()),
            min_decryption_version: Some(2),
            ..publication(true, true)
        };
        all.apply(&mut view, now);
        assert!(view.last_success.is_some() && view.canary.is_some());
        assert_eq!((view.proven, view.announced), (Some(proven(200, 2)), None));
        assert_eq!(view.used_acceptance.as_deref(), Some("another"));
        assert_eq!(view.min_decryption_version, 2);
    }
}

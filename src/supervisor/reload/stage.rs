//! How far a reload is, and what it has prepared so far.

use std::sync::Arc;

use tokio::sync::watch;

use crate::config::Config;
use crate::grpc::BoundSocket;
use crate::supervisor::backend::Backend;
use crate::supervisor::changes::Changes;
use crate::telemetry::ReloadStatus;
use crate::vault::Client;

/// What was read.
#[derive(Debug)]
pub struct ReloadOutcome(pub(super) Result<Read, String>);

#[derive(Debug)]
pub(super) struct Read {
    pub(super) config: Box<Config>,
    pub(super) client: Arc<Client>,
}

/// How the validation of a new backend ended.
#[derive(Debug)]
pub struct ValidationOutcome {
    /// Which candidate it is about: another one may be validated by now.
    pub(super) candidate: CandidateId,
    pub(super) result: Result<bool, String>,
}

/// Counts the candidates of a process.
pub(super) type CandidateId = u64;

/// The state of reloading.
#[derive(Debug)]
pub(in crate::supervisor) struct Reload {
    pub(super) stage: Stage,
    pub(super) next_id: CandidateId,
    /// Whether another reload was requested meanwhile: many signals are one more reload.
    pub(super) again: bool,
    /// The outcome of the last reload.
    pub(super) last: watch::Sender<Option<ReloadStatus>>,
}

impl Reload {
    /// Reports outcomes to `reports`.
    pub(in crate::supervisor) fn new(reports: watch::Sender<Option<ReloadStatus>>) -> Self {
        Self {
            stage: Stage::default(),
            next_id: 0,
            again: false,
            last: reports,
        }
    }

    /// Takes the candidate with this id out of its validation. Returns `None` if it is not validated
    /// any more.
    pub(super) fn take(&mut self, id: CandidateId) -> Option<Box<Candidate>> {
        match std::mem::take(&mut self.stage) {
            Stage::Validating(candidate) if candidate.id == id => Some(candidate),
            other => {
                self.stage = other;
                None
            }
        }
    }

    /// Takes whatever backend is being validated: the process stops.
    pub(in crate::supervisor) fn abandon(&mut self) -> Option<Backend> {
        match std::mem::take(&mut self.stage) {
            Stage::Validating(candidate) => candidate.backend,
            Stage::Idle | Stage::Reading => None,
        }
    }

    /// The outcome of the last reload.
    pub(in crate::supervisor) fn last(&self) -> watch::Receiver<Option<ReloadStatus>> {
        self.last.subscribe()
    }
}

#[derive(Debug, Default)]
pub(super) enum Stage {
    #[default]
    Idle,
    Reading,
    Validating(Box<Candidate>),
}

/// What will be applied if it works.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) id: CandidateId,
    pub(super) config: Box<Config>,
    pub(super) changes: Changes,
    pub(super) socket: Option<BoundSocket>,
    pub(super) backend: Option<Backend>,
    /// Whether a replaced key was accepted: nothing of what was known of the key before holds.
    pub(super) replaces_key: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;

    fn candidate(id: CandidateId) -> Stage {
        let variables = [
            ("VAULT_ADDR", "http://127.0.0.1:9"),
            ("VAULT_KMS_PLUGIN_TRANSIT_KEY", "kms"),
            ("VAULT_TOKEN", "t"),
        ];
        let source = Source {
            file: Some("/dev/null".into()),
            environment: variables
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            drop_in: None,
        };
        let config = source.load().expect("a configuration");
        let changes = Changes::between(&config, &config, false).expect("no changes");
        Stage::Validating(Box::new(Candidate {
            id,
            config: Box::new(config),
            changes,
            socket: None,
            backend: None,
            replaces_key: false,
        }))
    }

    /// A candidate that was rejected reports once more; by then another one may be validated.
    #[test]
    fn the_outcome_of_one_candidate_ends_no_other() {
        let mut reload = Reload::new(watch::channel(None).0);
        reload.stage = candidate(2);
        assert!(reload.take(1).is_none());
        assert!(matches!(&reload.stage, Stage::Validating(one) if one.id == 2));
        assert_eq!(reload.take(2).map(|one| one.id), Some(2));
        assert!(matches!(reload.stage, Stage::Idle));
        reload.stage = Stage::Reading;
        assert!(reload.take(2).is_none());
        assert!(matches!(reload.stage, Stage::Reading));
    }
}

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
pub struct ValidationOutcome(pub(super) Result<bool, String>);

/// The state of reloading.
#[derive(Debug)]
pub(in crate::supervisor) struct Reload {
    pub(super) stage: Stage,
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
            again: false,
            last: reports,
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
    pub(super) config: Box<Config>,
    pub(super) changes: Changes,
    pub(super) socket: Option<BoundSocket>,
    pub(super) backend: Option<Backend>,
    /// Whether a replaced key was accepted: nothing of what was known of the key before holds.
    pub(super) replaces_key: bool,
}

//! SIGHUP: the configuration is read, checked, compared, validated, and only then applied. On any
//! error the running configuration is kept.

pub(super) mod stage;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use ractor::{ActorCell, ActorId, ActorRef};
use rustix::process::geteuid;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use super::backend::Backend;
use super::changes::Changes;
use super::message::SupervisorMsg;
use super::state::{State, log_warnings};
use crate::config::Config;
use crate::grpc::BoundSocket;
use crate::keys::{self, KeyMsg, KeyView, SeedCache};
use crate::session::{LoginFault, SessionView};
use crate::system::blocking::spawn_blocking;
use crate::system::notify;
use crate::telemetry::ReloadStatus;
use crate::telemetry::events;
use crate::telemetry::metrics::Reloaded;
use crate::vault::Client;
use stage::{Candidate, CandidateId, Read, ReloadOutcome, Stage, ValidationOutcome};

/// How long the configuration and its files may take to be read.
const READ_LIMIT: Duration = Duration::from_secs(4);
/// How long a new backend may take to prove that it works.
const VALIDATION_LIMIT: Duration = Duration::from_secs(10);
/// The same for the whole reload: files are read before the validation, actors stopped after it.
const RELOAD_LIMIT: Duration = Duration::from_secs(15);
/// How often systemd is asked for more time. Shorter than any sensible `TimeoutStartSec=`.
const EXTEND_INTERVAL: Duration = Duration::from_secs(1);

impl State {
    pub(super) fn reload(&mut self, myself: &ActorRef<SupervisorMsg>) {
        if !matches!(self.reload.stage, Stage::Idle) {
            self.reload.again = true;
            return;
        }
        self.reload.stage = Stage::Reading;
        notify::reloading(RELOAD_LIMIT);
        let source = self.args.source.clone();
        let myself = myself.clone();
        let metrics = self.args.children.metrics().clone();
        // In a task of its own: a parser that panics is a refusal, too.
        let reading = spawn_blocking(move || {
            let read = source
                .load_trusted(Some(geteuid().as_raw()))
                .map_err(|errors| errors.to_string());
            read.and_then(|config| {
                let client =
                    Client::new(&config.vault, metrics).map_err(|error| error.to_string())?;
                Ok(Read {
                    config: Box::new(config),
                    client: Arc::new(client),
                })
            })
        });
        self.tasks.spawn(async move {
            let read = match timeout(READ_LIMIT, reading).await {
                Ok(Ok(read)) => read,
                Ok(Err(error)) => Err(format!("the configuration cannot be read: {error}")),
                Err(_) => Err(format!(
                    "the configuration, or a file that it names, cannot be read within {} s: does its \
                     file system answer?",
                    READ_LIMIT.as_secs()
                )),
            };
            let _ = myself.cast(SupervisorMsg::Reloaded(ReloadOutcome(read)));
        });
    }

    pub(super) async fn reloaded(
        &mut self,
        myself: &ActorRef<SupervisorMsg>,
        ReloadOutcome(outcome): ReloadOutcome,
    ) {
        while self.tasks.try_join_next().is_some() {}
        let built = match outcome {
            Ok(read) => self.build(read),
            Err(reason) => Err(reason),
        };
        let candidate = match built {
            Ok(candidate) => candidate,
            Err(reason) => return self.reject(myself, &reason),
        };
        match &candidate.backend {
            None => self.apply(myself, candidate).await,
            Some(backend) => {
                let id = candidate.id;
                if let Err(reason) = self.start_validation(id, backend, myself).await {
                    let serving = self.args.children.backend().session_view().subscribe();
                    backend.stop(&serving).await;
                    return self.reject(myself, &reason);
                }
                self.reload.stage = Stage::Validating(Box::new(candidate));
            }
        }
    }

    /// Of the running backend: it is switched on before anything is applied, as there may be no locked page.
    fn prepare_seed_cache(&self, config: &Config) -> Result<(), String> {
        let cache = self.args.children.backend().seed_cache();
        cache
            .set(config.outage.settings())
            .map_err(|error| error.to_string())
    }

    /// Does everything that can fail without Vault.
    fn build(&mut self, Read { config, client }: Read) -> Result<Candidate, String> {
        if !config.outage.seed_cache {
            // Whatever becomes of the rest: who no longer wants seeds in memory may fear for them.
            let cache = self.args.children.backend().seed_cache();
            cache.wipe("a reload switches it off");
        }
        let metrics = self.args.children.metrics().clone();
        let present = self.args.children.backend().keys_view().borrow().clone();
        let mut changes = Changes::between(&self.args.config, &config, present.pinned().is_some())?;
        if self.args.children.socket_is_passed()
            && (changes.socket_path || changes.socket_permissions)
        {
            events::SocketFromSystemd {}.emit();
            changes.socket_path = false;
            changes.socket_permissions = false;
        }
        if changes.admin {
            // The admin server restarts at the end.
            config.admin.try_after(&self.args.config.admin)?;
        }
        let socket = if changes.socket_path {
            Some(BoundSocket::bind(&config.socket).map_err(|error| error.to_string())?)
        } else {
            None
        };
        // Starts without knowledge of the key: it may be another key of the same name.
        let backend = if changes.backend {
            let cache = SeedCache::new(config.outage.settings(), metrics)
                .map_err(|error| error.to_string())?;
            Some(Backend::new(&config, client, KeyView::default(), cache))
        } else {
            self.prepare_seed_cache(&config)?;
            None
        };
        let id = self.reload.next_id;
        self.reload.next_id += 1;
        Ok(Candidate {
            id,
            config,
            changes,
            socket,
            backend,
            replaces_key: false,
        })
    }

    /// Starts the new actors beside the old ones and validates them.
    async fn start_validation(
        &mut self,
        candidate: CandidateId,
        backend: &Backend,
        myself: &ActorRef<SupervisorMsg>,
    ) -> Result<(), String> {
        backend.start_session(myself.get_cell()).await?;
        backend.start_keys(myself.get_cell()).await?;
        let Some(actor) = backend.keys.borrow().clone() else {
            return Err("its KeyManager did not start".to_owned());
        };
        let before = self.args.children.backend().keys_view().borrow().clone();
        let accepted = backend.accepted_replacement();
        let sessions = backend.session_view().subscribe();
        let known = backend.keys_view().subscribe();
        let myself = myself.clone();
        self.tasks.spawn(async move {
            let result = validate_candidate(actor, known, before, accepted, sessions).await;
            let outcome = ValidationOutcome { candidate, result };
            let _ = myself.cast(SupervisorMsg::Validated(outcome));
        });
        Ok(())
    }

    pub(super) async fn validated(
        &mut self,
        myself: &ActorRef<SupervisorMsg>,
        ValidationOutcome { candidate, result }: ValidationOutcome,
    ) {
        let Some(mut candidate) = self.reload.take(candidate) else {
            return;
        };
        let backend = candidate.backend.as_ref();
        let result = match backend.and_then(Backend::ended) {
            Some(child) if result.is_ok() => Err(format!("{child} ended during the validation")),
            _ => result,
        };
        match result {
            Ok(replaces_key) => {
                candidate.replaces_key = replaces_key;
                self.apply(myself, *candidate).await;
            }
            Err(reason) => {
                if let Some(backend) = candidate.backend {
                    self.retire(backend);
                }
                self.reject(myself, &reason);
            }
        }
    }

    /// Ends the validation if the failed actor belongs to the candidate.
    pub(super) fn candidate_failed(
        &self,
        myself: &ActorRef<SupervisorMsg>,
        id: ActorId,
        reason: &str,
    ) {
        if let Stage::Validating(candidate) = &self.reload.stage
            && let Some(child) = candidate.backend.as_ref().and_then(|it| it.owner_of(id))
        {
            let outcome = ValidationOutcome {
                candidate: candidate.id,
                result: Err(format!("{child} failed: {reason}")),
            };
            let _ = myself.cast(SupervisorMsg::Validated(outcome));
        }
    }

    /// Applies the candidate. Nothing can fail from here on.
    async fn apply(&mut self, myself: &ActorRef<SupervisorMsg>, candidate: Candidate) {
        let Candidate {
            id: _,
            config,
            changes,
            socket,
            backend,
            replaces_key,
        } = candidate;
        let parent: ActorCell = myself.get_cell();
        match backend {
            Some(backend) => self.replace_backend(backend, &config, replaces_key),
            None => {
                self.args.children.set_limits(&config);
                self.args.children.retry_login();
            }
        }
        if changes.admission {
            let children = &mut self.args.children;
            children
                .reconfigure_listener(&config, socket, parent.clone())
                .await;
        }
        if changes.socket_permissions
            && let Err(error) = self.args.children.set_socket_permissions(&config)
        {
            events::SocketUnchanged {
                error: error.to_string(),
            }
            .emit();
        }
        if changes.admin || changes.backend || changes.limits || changes.drop_in {
            self.args.children.reconfigure_admin(&config, parent).await;
        }
        if let Err(error) = self.args.log.set(config.log) {
            events::LogUnchanged {
                error: error.to_string(),
            }
            .emit();
        }
        self.reload.last.send_replace(Some(ReloadStatus::now(None)));
        self.args.children.metrics().reloaded(Reloaded::Applied);
        events::ConfigurationReloaded {
            level: config.log.level.to_string(),
            changes: changes.to_string(),
        }
        .emit();
        log_warnings(&config);
        self.args.config = config;
        self.done(myself);
    }

    fn replace_backend(&mut self, backend: Backend, config: &Config, replaces_key: bool) {
        let same_key = self.args.config.keys.key == config.keys.key;
        let before = self.args.children.backend().keys_view().borrow().clone();
        if replaces_key {
            let key_id = |view: &KeyView| view.writing().map(|it| it.key_id.to_string());
            events::ReplacementAccepted {
                before: key_id(&before).unwrap_or_default(),
                key_id: key_id(&backend.keys_view().borrow()).unwrap_or_default(),
            }
            .emit();
        } else if same_key {
            let mut before = before.clone();
            if let Some(proven) = &mut before.proven {
                // The suffix may be another one now.
                proven.key_id = config.keys.key_id(proven.stamp);
            }
            backend
                .keys_view()
                .send_modify(|view| view.inherit(&before));
        }
        backend
            .keys_view()
            .send_modify(|view| view.inherit_key_ids(&before));
        self.args.children.backend().give_way();
        let before = self.args.children.replace_backend(backend, config);
        self.keep_status_line();
        self.retire(before);
    }

    /// Stops replaced actors in the background.
    fn retire(&mut self, backend: Backend) {
        let serving = self.args.children.backend().session_view().subscribe();
        self.tasks
            .spawn(async move { backend.stop(&serving).await });
    }

    fn reject(&mut self, myself: &ActorRef<SupervisorMsg>, reason: &str) {
        events::ReloadRefused {
            error: reason.to_owned(),
        }
        .emit();
        let report = ReloadStatus::now(Some(reason.to_owned()));
        self.reload.last.send_replace(Some(report));
        self.args.children.metrics().reloaded(Reloaded::Refused);
        self.done(myself);
    }

    fn done(&mut self, myself: &ActorRef<SupervisorMsg>) {
        self.reload.stage = Stage::Idle;
        notify::ready();
        if std::mem::take(&mut self.reload.again) {
            debug!("another reload was requested meanwhile");
            self.reload(myself);
        }
    }
}

/// Proves a round trip, and that earlier data decrypts. Ends at once when the login is rejected.
async fn validate_candidate(
    actor: ActorRef<KeyMsg>,
    candidate: watch::Receiver<KeyView>,
    before: KeyView,
    accepted: Option<String>,
    mut sessions: watch::Receiver<SessionView>,
) -> Result<bool, String> {
    let refused = sessions.wait_for(|view| view.fault.as_ref().is_some_and(|it| it.rejected));
    tokio::select! {
        validated = keys::verify(&actor, &candidate, &before, accepted.as_deref(), Instant::now() + VALIDATION_LIMIT) => {
            validated.map_err(|error| error.to_string())
        }
        Ok(view) = refused => {
            Err(view.fault.as_ref().map_or_else(String::new, LoginFault::to_string))
        }
        never = extend_reload() => match never {},
    }
}

/// Keeps systemd from timing the reload out.
async fn extend_reload() -> Infallible {
    loop {
        notify::still_reloading(RELOAD_LIMIT);
        sleep(EXTEND_INTERVAL).await;
    }
}

//! SIGHUP: the configuration is read, checked, compared, tried, and only then taken over. Whatever
//! is wrong with it, everything stays as it was.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use ractor::{ActorCell, ActorId, ActorRef};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::backend::Backend;
use super::changes::Changes;
use super::run::log_warnings;
use super::{STOP_LIMIT, State, SupervisorMsg};
use crate::admin::{self, report};
use crate::config::Config;
use crate::grpc::BoundSocket;
use crate::keys::{self, KeyMsg, KeyView};
use crate::session::{LoginFault, SessionView};
use crate::system::notify;
use crate::telemetry::events;
use crate::telemetry::metrics::Reloaded;
use crate::vault::Client;

/// How long a new way to Vault may take to show that it works.
const TRIAL_LIMIT: Duration = Duration::from_secs(10);
/// The same for a reload as a whole: files are read before the trial, actors stopped after it.
const RELOAD_LIMIT: Duration = Duration::from_secs(15);
/// How often systemd is told so. Shorter than any `TimeoutStartSec=` that makes sense.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// What was read.
#[derive(Debug)]
pub struct ReloadOutcome(Result<Read, String>);

#[derive(Debug)]
struct Read {
    config: Box<Config>,
    client: Arc<Client>,
}

/// How the trial of a new way to Vault ended.
#[derive(Debug)]
pub struct TrialOutcome(Result<(), String>);

/// Where a reload stands.
#[derive(Debug)]
pub(super) struct Reload {
    stage: Stage,
    /// Whether another one was asked for meanwhile: many signals are one reload more.
    again: bool,
    /// The last one that ended.
    last: watch::Sender<Option<report::Reload>>,
}

impl Reload {
    /// Those that are reported to `reports`.
    pub(super) fn new(reports: watch::Sender<Option<report::Reload>>) -> Self {
        Self {
            stage: Stage::default(),
            again: false,
            last: reports,
        }
    }

    /// The last one that ended.
    pub(super) fn last(&self) -> watch::Receiver<Option<report::Reload>> {
        self.last.subscribe()
    }
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Idle,
    Reading,
    Trying(Box<Candidate>),
}

/// What will be taken over if it works.
#[derive(Debug)]
struct Candidate {
    config: Box<Config>,
    changes: Changes,
    socket: Option<BoundSocket>,
    backend: Option<Backend>,
}

impl State {
    pub(super) fn reload(&mut self, myself: &ActorRef<SupervisorMsg>) {
        if !matches!(self.reload.stage, Stage::Idle) {
            self.reload.again = true;
            return;
        }
        self.reload.stage = Stage::Reading;
        notify::reloading(RELOAD_LIMIT);
        let (source, myself) = (self.args.source.clone(), myself.clone());
        let metrics = self.args.children.metrics().clone();
        self.tasks.spawn_blocking(move || {
            let read = source.load().map_err(|errors| errors.to_string());
            let read = read.and_then(|config| {
                let client =
                    Client::new(&config.vault, metrics).map_err(|error| error.to_string())?;
                Ok(Read {
                    config: Box::new(config),
                    client: Arc::new(client),
                })
            });
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
            Err(reason) => return self.refuse(myself, &reason),
        };
        match &candidate.backend {
            None => self.take_over(myself, candidate).await,
            Some(backend) => {
                if let Err(reason) = self.start_trial(backend, myself).await {
                    backend.stop(STOP_LIMIT).await;
                    return self.refuse(myself, &reason);
                }
                self.reload.stage = Stage::Trying(Box::new(candidate));
            }
        }
    }

    /// Everything that can fail without Vault.
    fn build(&self, Read { config, client }: Read) -> Result<Candidate, String> {
        let present = self.args.children.backend().keys_view().borrow().clone();
        let mut changes = Changes::between(&self.args.config, &config, present.pinned().is_some())?;
        if self.args.children.socket_is_passed() && (changes.place || changes.dress) {
            events::SocketFromSystemd {}.emit();
            (changes.place, changes.dress) = (false, false);
        }
        if changes.admin {
            // Whether it is free: the probes are started again at the end.
            if let admin::Address::Tcp(place) = config.admin {
                TcpListener::bind(place)
                    .map_err(|error| format!("admin.listen: cannot bind {place}: {error}"))?;
            }
        }
        let socket = match changes.place {
            true => Some(BoundSocket::bind(&config.socket).map_err(|error| error.to_string())?),
            false => None,
        };
        // What is known of the key is found out again: it may be another one of the same name.
        let backend = changes
            .way
            .then(|| Backend::new(&config, client, KeyView::default()));
        Ok(Candidate {
            config,
            changes,
            socket,
            backend,
        })
    }

    /// Starts the new actors beside the old ones, and tries them out.
    async fn start_trial(
        &mut self,
        backend: &Backend,
        myself: &ActorRef<SupervisorMsg>,
    ) -> Result<(), String> {
        backend.start_session(myself.get_cell()).await?;
        backend.start_keys(myself.get_cell()).await?;
        let Some(actor) = backend.keys.borrow().clone() else {
            return Err("its KeyManager did not start".to_owned());
        };
        let before = self.args.children.backend().keys_view().borrow().clone();
        let (sessions, myself) = (backend.session_view().subscribe(), myself.clone());
        self.tasks.spawn(async move {
            let outcome = trial(actor, before, sessions).await;
            let _ = myself.cast(SupervisorMsg::Tried(TrialOutcome(outcome)));
        });
        Ok(())
    }

    pub(super) async fn tried(
        &mut self,
        myself: &ActorRef<SupervisorMsg>,
        TrialOutcome(outcome): TrialOutcome,
    ) {
        let Stage::Trying(candidate) = std::mem::take(&mut self.reload.stage) else {
            return;
        };
        match outcome {
            Ok(()) => self.take_over(myself, *candidate).await,
            Err(reason) => {
                if let Some(backend) = candidate.backend {
                    self.retire(backend);
                }
                self.refuse(myself, &reason);
            }
        }
    }

    /// An actor of the candidate failed: that is an answer, too.
    pub(super) fn candidate_failed(
        &self,
        myself: &ActorRef<SupervisorMsg>,
        id: ActorId,
        reason: &str,
    ) {
        if let Stage::Trying(candidate) = &self.reload.stage
            && let Some(child) = candidate.backend.as_ref().and_then(|it| it.owner_of(id))
        {
            let outcome = TrialOutcome(Err(format!("{child} failed: {reason}")));
            let _ = myself.cast(SupervisorMsg::Tried(outcome));
        }
    }

    /// From here on nothing can fail.
    async fn take_over(&mut self, myself: &ActorRef<SupervisorMsg>, candidate: Candidate) {
        let Candidate {
            config,
            changes,
            socket,
            backend,
        } = candidate;
        let parent: ActorCell = myself.get_cell();
        match backend {
            Some(backend) => self.change_backend(backend, &config),
            None => {
                self.args.children.set_limits(&config);
                self.args.children.try_login_again();
            }
        }
        if changes.doors {
            let children = &mut self.args.children;
            children
                .reconfigure_listener(&config, socket, parent.clone())
                .await;
        }
        if changes.dress
            && let Err(error) = self.args.children.dress_socket(&config)
        {
            events::SocketUnchanged {
                error: error.to_string(),
            }
            .emit();
        }
        if changes.admin || changes.way || changes.limits {
            self.args.children.move_admin(&config, parent).await;
        }
        if let Err(error) = self.args.log.set(config.log) {
            events::LogUnchanged {
                error: error.to_string(),
            }
            .emit();
        }
        self.reload
            .last
            .send_replace(Some(report::Reload::now(None)));
        self.args.children.metrics().reloaded(Reloaded::Applied);
        events::ConfigurationReloaded {
            level: config.log.level.to_string(),
            changes: format!("{changes:?}"),
        }
        .emit();
        log_warnings(&config);
        self.args.config = config;
        self.done(myself);
    }

    fn change_backend(&mut self, backend: Backend, config: &Config) {
        let same_key = self.args.config.keys.key == config.keys.key;
        if same_key {
            let before = self.args.children.backend().keys_view().borrow().clone();
            backend
                .keys_view()
                .send_modify(|view| view.inherit(&before));
        }
        let before = self.args.children.change_backend(backend, config);
        self.keep_status_line();
        self.retire(before);
    }

    /// Ends actors that nobody asks any more, beside everything else.
    fn retire(&mut self, backend: Backend) {
        self.tasks
            .spawn(async move { backend.stop(STOP_LIMIT).await });
    }

    fn refuse(&mut self, myself: &ActorRef<SupervisorMsg>, reason: &str) {
        events::ReloadRefused {
            error: reason.to_owned(),
        }
        .emit();
        let report = report::Reload::now(Some(reason.to_owned()));
        self.reload.last.send_replace(Some(report));
        self.args.children.metrics().reloaded(Reloaded::Refused);
        self.done(myself);
    }

    fn done(&mut self, myself: &ActorRef<SupervisorMsg>) {
        self.reload.stage = Stage::Idle;
        notify::ready();
        if std::mem::take(&mut self.reload.again) {
            debug!("another reload was asked for meanwhile");
            self.reload(myself);
        }
    }
}

/// A round trip, and what was written before; a login that is refused ends it at once.
async fn trial(
    actor: ActorRef<KeyMsg>,
    before: KeyView,
    mut sessions: watch::Receiver<SessionView>,
) -> Result<(), String> {
    let refused = sessions.wait_for(|view| view.fault.as_ref().is_some_and(|it| it.rejected));
    tokio::select! {
        tried = keys::verify(&actor, &before, Instant::now() + TRIAL_LIMIT) => {
            tried.map_err(|error| error.to_string())
        }
        Ok(view) = refused => {
            Err(view.fault.as_ref().map_or_else(String::new, LoginFault::to_string))
        }
        never = ask_for_time() => match never {},
    }
}

/// Keeps systemd from giving the reload up.
async fn ask_for_time() -> Infallible {
    loop {
        notify::still_reloading(RELOAD_LIMIT);
        sleep(TELL_EVERY).await;
    }
}

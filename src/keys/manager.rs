//! The KeyManager's state and what each message does to it.

use std::sync::Arc;
use std::time::Duration;

use ractor::{ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use super::caller::Caller;
use super::crypt::{self, Wrapped};
use super::error::KeyError;
use super::key_id::KeyId;
use super::look::{self, Found, Known};
use super::news::{Lag, Reading};
use super::status::{Policy, StatusReport, status_now};
use super::view::{Canary, KeyFault, KeyView, ProvenKey};
use super::{Arguments, KeyMsg, Pin, state_file};
use crate::actor::reap;
use crate::vault::{Ciphertext, KeyVersion, Plaintext, Refusal, TransitKey};

/// How often the key is looked at when all is well; jittered by a tenth.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// The longest wait after a failed look, once there is a proven key to work with.
const RETRY_MOST: Duration = Duration::from_secs(10);
/// The same while there is none: calls are waiting.
const RETRY_UNPROVEN: Duration = Duration::from_secs(1);
/// Looks that callers provoke are at least this far apart.
const LOOK_SPACING: Duration = Duration::from_secs(1);
/// How old a proof may grow while no real call repeats it.
const PROOF_AGE: Duration = Duration::from_secs(300);
/// Two refusals make a verdict only when they are this far apart.
const VERDICT_AFTER: Duration = Duration::from_secs(2);

/// The actor's state. What has to outlive a crash is in the view instead.
#[derive(Debug)]
pub struct State {
    args: Arguments,
    caller: Caller,
    /// The writing key.
    key: Arc<TransitKey>,
    /// All keys that decrypt, the writing one first.
    readers: Arc<[Arc<TransitKey>]>,
    lag: Lag,
    believe_earlier: bool,
    /// The first of the refusals that may become a verdict.
    suspected: Option<Instant>,
    failed_looks: u32,
    looking: bool,
    last_look: Option<Instant>,
    timer: Option<AbortHandle>,
    /// When that timer fires.
    due: Option<Instant>,
    /// When the proven version last encrypted, and when the writing key last decrypted.
    worked: (Option<Instant>, Option<Instant>),
    tasks: JoinSet<()>,
}

/// How a look ended.
#[derive(Debug)]
pub struct LookOutcome(Result<Found, KeyError>);

/// What a call of kube-apiserver's showed.
#[derive(Debug)]
pub enum Observation {
    /// An Encrypt worked, with this version.
    Encrypted(KeyVersion),
    /// A Decrypt by the writing key worked.
    Decrypted,
    /// A Decrypt by another key worked, which says nothing of the writing one.
    DecryptedByOther,
    /// Vault contradicted what is known of the key.
    Contradicted,
    /// The call failed in a way that says nothing of the key.
    Nothing,
}

impl State {
    pub(super) fn new(args: Arguments) -> Self {
        let key = Arc::new(args.settings.key.clone());
        let also = args.settings.decrypt_also.iter().cloned().map(Arc::new);
        let readers: Vec<_> = std::iter::once(key.clone()).chain(also).collect();
        let mut tasks = JoinSet::new();
        let path = args.settings.state_file.clone();
        tasks.spawn(state_file::keep(path, args.view.subscribe()));
        Self {
            caller: Caller {
                client: args.client.clone(),
                sessions: args.sessions.clone(),
            },
            key,
            readers: readers.into(),
            lag: Lag::default(),
            believe_earlier: false,
            suspected: None,
            failed_looks: 0,
            looking: false,
            last_look: None,
            timer: None,
            due: None,
            worked: (None, None),
            tasks,
            args,
        }
    }

    pub(super) fn reap(&mut self) -> Result<(), ActorProcessingErr> {
        reap(&mut self.tasks)
    }

    /// Answers from the snapshot, and announces what it answers.
    pub(super) fn status(
        &mut self,
        myself: &ActorRef<KeyMsg>,
        deadline: Instant,
        reply: RpcReplyPort<Result<StatusReport, KeyError>>,
    ) {
        let limits = self.args.settings.limits;
        let sessions = self.caller.sessions.view();
        let policy = status_now(&self.args.view.borrow(), &sessions, limits);
        match policy {
            Policy::Answer(report) => {
                self.announce();
                let _ = reply.send(Ok(report));
            }
            Policy::Fail(error) => {
                let _ = reply.send(Err(error));
            }
            Policy::Wait(_) => self.status_later(myself, deadline, reply),
        }
    }

    fn announce(&self) {
        let announced = self.args.view.send_if_modified(|view| {
            let news = view.announced != view.proven;
            view.announced.clone_from(&view.proven);
            news
        });
        if announced && let Some(proven) = &self.args.view.borrow().announced {
            info!(key_id = %proven.key_id, "announced a key version");
        }
    }

    /// Parks a Status until there is something to say.
    fn status_later(
        &mut self,
        myself: &ActorRef<KeyMsg>,
        deadline: Instant,
        reply: RpcReplyPort<Result<StatusReport, KeyError>>,
    ) {
        let (myself, caller, view) = (myself.clone(), self.caller.clone(), self.args.view.clone());
        self.tasks.spawn(async move {
            match crypt::pinned(&caller, &view, deadline).await {
                Ok(_) => {
                    let _ = myself.cast(KeyMsg::Status { deadline, reply });
                }
                Err(error) => {
                    let _ = reply.send(Err(error));
                }
            }
        });
    }

    pub(super) fn encrypt(
        &mut self,
        myself: &ActorRef<KeyMsg>,
        plaintext: Arc<Plaintext>,
        pin: Pin,
        deadline: Instant,
        reply: RpcReplyPort<Result<Wrapped, KeyError>>,
    ) {
        let (myself, caller) = (myself.clone(), self.caller.clone());
        let (view, key) = (self.args.view.clone(), self.key.clone());
        self.tasks.spawn(async move {
            let work = async {
                let pinned = crypt::pinned(&caller, &view, deadline).await?;
                let version = (pin == Pin::Announced).then_some(pinned.moment.version);
                let done = crypt::encrypt(&caller, &key, &plaintext, version, deadline).await?;
                Ok((
                    done.version,
                    Wrapped {
                        ciphertext: done.ciphertext,
                        key_id: pinned.key_id,
                    },
                ))
            };
            let (seen, answer) = match work.await {
                Ok((version, wrapped)) => (Observation::Encrypted(version), Ok(wrapped)),
                Err(error) => (observe(&error), Err(error)),
            };
            let _ = reply.send(answer);
            let _ = myself.cast(KeyMsg::Observed(seen));
        });
    }

    pub(super) fn decrypt(
        &mut self,
        myself: &ActorRef<KeyMsg>,
        ciphertext: Ciphertext,
        key_id: Option<String>,
        deadline: Instant,
        reply: RpcReplyPort<Result<Plaintext, KeyError>>,
    ) {
        let (myself, caller, readers) = (myself.clone(), self.caller.clone(), self.readers.clone());
        self.tasks.spawn(async move {
            let key_id = key_id.as_deref();
            let answer = crypt::decrypt(&caller, &readers, &ciphertext, key_id, deadline).await;
            let seen = match &answer {
                Ok((_, key)) if Arc::ptr_eq(key, &readers[0]) => Observation::Decrypted,
                Ok(_) => Observation::DecryptedByOther,
                Err(error) => observe(error),
            };
            let _ = reply.send(answer.map(|(plaintext, _)| plaintext));
            let _ = myself.cast(KeyMsg::Observed(seen));
        });
    }

    /// Takes note of what a call showed.
    pub(super) fn observed(&mut self, myself: &ActorRef<KeyMsg>, observation: Observation) {
        let now = Instant::now();
        match observation {
            Observation::Encrypted(version) => {
                let proven = self
                    .args
                    .view
                    .borrow()
                    .proven
                    .as_ref()
                    .map(|p| p.moment.version);
                if proven == Some(version) {
                    self.worked.0 = Some(now);
                } else if proven < Some(version) {
                    self.look_soon(myself);
                }
            }
            Observation::Decrypted => self.worked.1 = Some(now),
            Observation::DecryptedByOther => {}
            Observation::Contradicted => return self.look_soon(myself),
            Observation::Nothing => return,
        }
        // Readers of the view need not be woken for a time.
        self.args.view.send_if_modified(|view| {
            view.last_success = Some(now);
            false
        });
    }

    pub(super) fn look(&mut self, myself: &ActorRef<KeyMsg>) {
        if self.looking {
            return;
        }
        self.looking = true;
        self.due = None;
        self.last_look = Some(Instant::now());
        let known = self.known();
        let (myself, caller, key) = (myself.clone(), self.caller.clone(), self.key.clone());
        self.tasks.spawn(async move {
            let outcome = look::look(&caller, &key, known).await;
            let _ = myself.cast(KeyMsg::Looked(LookOutcome(outcome)));
        });
    }

    fn known(&self) -> Known {
        let view = self.args.view.borrow();
        let fresh = |at: Option<Instant>| at.is_some_and(|at| at.elapsed() < PROOF_AGE);
        Known {
            proven: view.proven.as_ref().map(|proven| proven.moment),
            canary: view.canary.clone(),
            proof_due: view.fault.is_some() || !fresh(self.worked.0) || !fresh(self.worked.1),
            believe_earlier: self.believe_earlier,
        }
    }

    pub(super) fn looked(&mut self, myself: &ActorRef<KeyMsg>, LookOutcome(outcome): LookOutcome) {
        self.looking = false;
        // A caller that met a contradiction during this look may know more than it saw.
        let contradicted = self.due.is_some();
        let next = match outcome {
            Ok(found) => {
                self.note_found(found);
                match contradicted {
                    true => LOOK_SPACING,
                    false => LOOK_EVERY.mul_f64(0.9 + 0.2 * fastrand::f64()),
                }
            }
            Err(error) => self.note_failed_look(error),
        };
        self.look_in(myself, next);
    }

    fn note_found(&mut self, found: Found) {
        (self.failed_looks, self.suspected) = (0, None);
        let now = Instant::now();
        let earlier_is_true = self.lag.note(found.reading, found.seen, now);
        if let Some(error) = &found.spurned {
            error!(%error, version = %found.seen.version, "the latest key version does not work, the one before goes on writing");
        }
        self.believe_earlier = earlier_is_true && found.proof.is_none();
        if found.proof.is_some() {
            self.worked = (Some(now), Some(now));
        }
        if found.reading == Reading::Earlier && found.proof.is_some() && found.spurned.is_none() {
            warn!(version = %found.seen.version, "vault has an earlier key version than before: a restored snapshot");
        }
        let key = &self.key;
        self.args.view.send_modify(|view| {
            view.last_success = Some(now);
            if let Some(error) = view.fault.take() {
                info!(ended = %error.error, "the transit key works again");
            }
            if let Some(canary) = found.proof {
                take_proof(view, key, canary);
            }
        });
    }

    /// Publishes why the look failed and returns how long to wait for the next.
    fn note_failed_look(&mut self, error: KeyError) -> Duration {
        let now = Instant::now();
        let suspicious = error.may_be_verdict();
        let since = *self.suspected.get_or_insert(now);
        if !suspicious {
            self.suspected = None;
        }
        let verdict = suspicious && now.duration_since(since) >= VERDICT_AFTER;
        self.failed_looks = self.failed_looks.saturating_add(1);
        self.publish_fault(KeyFault { error, verdict });
        if suspicious && !verdict {
            return VERDICT_AFTER;
        }
        let proven = self.args.view.borrow().proven.is_some();
        let most = if proven { RETRY_MOST } else { RETRY_UNPROVEN };
        Duration::from_secs(1 << (self.failed_looks - 1).min(6)).min(most)
    }

    fn publish_fault(&self, fault: KeyFault) {
        let news = self.args.view.borrow().fault.as_ref() != Some(&fault);
        if !news {
            return;
        }
        match fault.verdict {
            true => {
                error!(error = %fault.error, "the transit key cannot be used until an operator acts")
            }
            false => warn!(error = %fault.error, "a look at the transit key failed"),
        }
        self.args.view.send_modify(|view| {
            // A verdict stands until something succeeds, whatever passing fault comes after.
            if fault.verdict || view.verdict().is_none() {
                view.fault = Some(fault);
            }
        });
    }

    /// Looks before the timer says so, but not in a storm.
    fn look_soon(&mut self, myself: &ActorRef<KeyMsg>) {
        let since = self.last_look.map_or(LOOK_SPACING, |at| at.elapsed());
        let wait = LOOK_SPACING.saturating_sub(since);
        // Setting a timer anew for each of many callers would keep it from ever firing.
        if self.due.is_none_or(|due| due > Instant::now() + wait) {
            self.look_in(myself, wait);
        }
    }

    fn look_in(&mut self, myself: &ActorRef<KeyMsg>, wait: Duration) {
        if let Some(timer) = self.timer.take() {
            timer.abort();
        }
        debug!(wait_ms = wait.as_millis() as u64, "next look at the key");
        let timer = myself.send_after(wait, || KeyMsg::Look);
        (self.timer, self.due) = (Some(timer.abort_handle()), Some(Instant::now() + wait));
    }
}

fn take_proof(view: &mut KeyView, key: &TransitKey, canary: Canary) {
    let proven = ProvenKey {
        key_id: KeyId::new(key, canary.moment),
        moment: canary.moment,
    };
    if view.proven.as_ref() != Some(&proven) {
        info!(key_id = %proven.key_id, "a key version works");
    }
    view.proven = Some(proven);
    view.canary = Some(canary);
}

/// What a failed call says of the key.
fn observe(error: &KeyError) -> Observation {
    match error.refusal {
        None | Some(Refusal::Passing | Refusal::Throttled | Refusal::Other) => Observation::Nothing,
        Some(_) => Observation::Contradicted,
    }
}

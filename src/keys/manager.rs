//! The KeyManager's state, and what the calls of kube-apiserver do to it. The looks at the key are
//! in `looking`.

mod batches;
mod looking;

use std::pin::{self, pin};
use std::sync::Arc;

use ractor::{ActorProcessingErr, ActorRef};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::caller::Caller;
use super::crypt::{self, Wrapped};
use super::error::KeyError;
use super::view::ProvenKey;
use super::{Arguments, KeyMsg, Pin, Reply, state_file};
use crate::actor::reap;
use crate::telemetry::spans::Parent;
use crate::vault::{ApiErrorKind, Ciphertext, KeyVersion, Plaintext, TransitKey};
pub use batches::BatchMsg;
use batches::Batches;
pub(super) use batches::{Event, Operation, Unwrap, Wrap};
pub use looking::LookOutcome;
use looking::Looks;

/// The actor's state. What has to outlive a crash is in the view instead.
#[derive(Debug)]
pub struct State {
    args: Arguments,
    caller: Caller,
    /// The writing key.
    key: Arc<TransitKey>,
    /// All keys that decrypt, the writing one first.
    readers: Arc<[Arc<TransitKey>]>,
    looks: Looks,
    batches: Batches,
    tasks: JoinSet<()>,
}

/// What a call of kube-apiserver's showed.
#[derive(Debug)]
pub enum Observation {
    /// An Encrypt worked, with this version.
    Encrypted(KeyVersion),
    /// A Decrypt worked. By which version of which key is not told, so it proves no version.
    Decrypted,
    /// Vault contradicted what is known of the key.
    Contradicted,
    /// The call failed in a way that says nothing of the key.
    Nothing,
}

impl State {
    pub(super) fn new(args: Arguments, myself: ActorRef<KeyMsg>) -> Self {
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
                manager: myself,
                parent: Parent::NOBODY,
            },
            batches: Batches::new(args.client.clone(), args.settings.max_in_flight),
            key,
            readers: readers.into(),
            looks: Looks::default(),
            tasks,
            args,
        }
    }

    pub(super) fn reap(&mut self) -> Result<(), ActorProcessingErr> {
        reap(&mut self.tasks)
    }

    pub(super) fn batch(&mut self, myself: &ActorRef<KeyMsg>, message: BatchMsg) {
        self.batches.handle(message, myself, &mut self.tasks);
    }

    pub(super) fn encrypt(
        &mut self,
        myself: &ActorRef<KeyMsg>,
        plaintext: Arc<Plaintext>,
        pin: Pin,
        deadline: Instant,
        parent: Parent,
        mut reply: Reply<Wrapped>,
    ) {
        let (myself, caller) = (myself.clone(), self.caller.of(parent));
        let (view, key) = (self.args.view.clone(), self.key.clone());
        let spurned = self.looks.latest_is_spurned();
        self.tasks.spawn(async move {
            let work = pin!(async {
                let ProvenKey { key_id, stamp } = crypt::pinned(&caller, &view, deadline).await?;
                let announced = stamp.version;
                // Under KMS v1 nobody may ever ask for a Status, so what works is what counts.
                let proven = view.borrow().proven.as_ref().map(|it| it.stamp.version);
                let (version, free) = match pin {
                    Pin::Announced => (announced, false),
                    Pin::Latest => (proven.unwrap_or(announced), !spurned),
                };
                let (done, latest) = if free {
                    // Boxed: under KMS v2 nobody needs it, and each call would reserve room for it.
                    let latest =
                        crypt::encrypt_latest(&caller, &key, &plaintext, version, deadline);
                    Box::pin(latest).await?
                } else {
                    let pinned = Some(version);
                    let done = crypt::encrypt(&caller, &key, &plaintext, pinned, deadline).await?;
                    (done, version)
                };
                let ciphertext = done.ciphertext;
                Ok((latest, Wrapped { ciphertext, key_id }))
            });
            let Some(done) = unless_gone(&mut reply, work).await else {
                return;
            };
            let (seen, answer) = match done {
                Ok((latest, wrapped)) => (Observation::Encrypted(latest), Ok(wrapped)),
                Err(error) => (observe(&error), Err(error)),
            };
            let _ = reply.send(answer);
            let _ = myself.cast(KeyMsg::Observed(seen));
        });
    }

    pub(super) fn decrypt(
        &mut self,
        myself: &ActorRef<KeyMsg>,
        ciphertext: Arc<Ciphertext>,
        key_id: Option<String>,
        deadline: Instant,
        parent: Parent,
        mut reply: Reply<Plaintext>,
    ) {
        let (myself, caller) = (myself.clone(), self.caller.of(parent));
        let readers = self.readers.clone();
        self.tasks.spawn(async move {
            let key_id = key_id.as_deref();
            let work = crypt::decrypt(&caller, &readers, &ciphertext, key_id, deadline);
            let work = pin!(work);
            let Some(answer) = unless_gone(&mut reply, work).await else {
                return;
            };
            let seen = answer
                .as_ref()
                .map_or_else(observe, |_| Observation::Decrypted);
            let _ = reply.send(answer);
            let _ = myself.cast(KeyMsg::Observed(seen));
        });
    }

    /// Takes note of what a call showed.
    pub(super) fn observed(&mut self, myself: &ActorRef<KeyMsg>, observation: Observation) {
        match observation {
            Observation::Encrypted(version) => self.note_encrypted(myself, version),
            Observation::Decrypted => {}
            Observation::Contradicted => return self.note_contradiction(myself),
            Observation::Nothing => return,
        }
        if self.args.view.borrow().fault.is_some() {
            // What failed may be over: nobody should wait for the timer to find out.
            self.look_soon(myself);
        }
        // Readers of the view need not be woken for a time.
        self.args.view.send_if_modified(|view| {
            view.last_success = Some(Instant::now());
            false
        });
    }
}

/// Does the work while somebody waits for it: what waits to be sent is dropped with its caller.
/// By reference, because what an async function is given it holds twice.
async fn unless_gone<T, W: Future>(
    reply: &mut Reply<T>,
    work: pin::Pin<&mut W>,
) -> Option<W::Output> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = reply.closed() => None,
    }
}

/// What a failed call says of the key.
fn observe(error: &KeyError) -> Observation {
    if error.is_transient() || error.refusal == Some(ApiErrorKind::Other) {
        return Observation::Nothing;
    }
    Observation::Contradicted
}

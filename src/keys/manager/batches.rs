//! Sends what the lanes let go, and takes back what comes of it.

use std::sync::Arc;
use std::time::Duration;

use ractor::ActorRef;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::keys::KeyMsg;
use crate::keys::lane::{Ask, Batch, BatchId, Lane, Load};
use crate::telemetry::spans::BatchSpan;
use crate::vault::{
    CallError, Ciphertext, Client, Encrypted, KeyVersion, Outcomes, Plaintext, ToEncrypt,
};

/// Vault answers a batch in a few milliseconds. One that takes longer than this waits for something
/// else, and must not hold up the next.
const USUAL: Duration = Duration::from_millis(100);

/// Encrypts and Decrypts, apart: a queue of one never holds up the other.
#[derive(Debug)]
pub(in crate::keys) struct Batches {
    client: Arc<Client>,
    wraps: Lane<Wrap>,
    unwraps: Lane<Unwrap>,
}

/// A seed to wrap.
#[derive(Debug, Clone)]
pub(in crate::keys) struct Wrap {
    pub(in crate::keys) plaintext: Arc<Plaintext>,
    pub(in crate::keys) version: Option<KeyVersion>,
}

/// A seed to unwrap.
#[derive(Debug, Clone)]
pub(in crate::keys) struct Unwrap(pub(in crate::keys) Arc<Ciphertext>);

/// Something happened to one of the lanes.
#[derive(Debug)]
pub struct BatchMsg(Of);

#[derive(Debug)]
enum Of {
    Wraps(Event<Wrap>),
    Unwraps(Event<Unwrap>),
}

/// What can happen to a lane.
#[derive(Debug)]
pub(in crate::keys) enum Event<L: Load> {
    /// Line this up.
    Asked(Ask<L>),
    /// A batch is out for longer than usual.
    Late(BatchId),
    /// A batch came back.
    Returned(BatchId, Result<Outcomes<L::Made>, CallError>),
}

/// What the two lanes differ in.
pub(in crate::keys) trait Operation: Load + Sized {
    /// The last part of the path.
    const NAME: &'static str;
    fn message(event: Event<Self>) -> BatchMsg;
    fn lane(batches: &mut Batches) -> &mut Lane<Self>;
    /// Sends a batch in one request.
    fn send(
        client: &Client,
        batch: &Batch<Self>,
    ) -> impl Future<Output = Result<Outcomes<Self::Made>, CallError>> + Send;
}

impl Batches {
    /// At most `most_out` requests of each lane are out at a time.
    pub(super) fn new(client: Arc<Client>, most_out: usize) -> Self {
        Self {
            client,
            wraps: Lane::new(most_out),
            unwraps: Lane::new(most_out),
        }
    }

    /// Does what a message asks for, and sends in `tasks` what may leave then.
    pub(super) fn handle(
        &mut self,
        BatchMsg(of): BatchMsg,
        myself: &ActorRef<KeyMsg>,
        tasks: &mut JoinSet<()>,
    ) {
        match of {
            Of::Wraps(event) => self.happened(event, myself, tasks),
            Of::Unwraps(event) => self.happened(event, myself, tasks),
        }
    }

    fn happened<O: Operation>(
        &mut self,
        event: Event<O>,
        myself: &ActorRef<KeyMsg>,
        tasks: &mut JoinSet<()>,
    ) {
        let lane = O::lane(self);
        match event {
            Event::Asked(ask) => lane.push(ask),
            Event::Late(id) => lane.late(id),
            Event::Returned(id, outcome) => lane.returned(id, outcome),
        }
        while let Some(batch) = O::lane(self).next(Instant::now()) {
            tasks.spawn(carry(self.client.clone(), batch, myself.clone()));
        }
    }
}

/// Sends a batch, and tells the lane what came of it.
async fn carry<O: Operation>(client: Arc<Client>, batch: Batch<O>, myself: ActorRef<KeyMsg>) {
    let tell = |event| drop(myself.cast(KeyMsg::Batch(O::message(event))));
    let span = BatchSpan::begin(O::NAME, batch.loads.len(), &batch.callers);
    let sent = span.around(O::send(&client, &batch));
    tokio::pin!(sent);
    let outcome = match timeout(USUAL, &mut sent).await {
        Ok(outcome) => outcome,
        Err(_) => {
            tell(Event::Late(batch.id));
            sent.await
        }
    };
    span.end(&outcome);
    tell(Event::Returned(batch.id, outcome));
}

impl Load for Wrap {
    type Made = Encrypted;

    fn size(&self) -> usize {
        // In base64.
        self.plaintext.expose_secret().len() / 3 * 4
    }

    /// Every Encrypt is one of its own: the nonce may not be shared.
    fn is_same(&self, _: &Self) -> bool {
        false
    }

    fn copy(made: &Encrypted) -> Encrypted {
        made.clone()
    }
}

impl Load for Unwrap {
    type Made = Plaintext;

    fn size(&self) -> usize {
        self.0.as_str().len()
    }

    fn is_same(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    fn copy(made: &Plaintext) -> Plaintext {
        Plaintext::new(made.expose_secret().to_vec())
    }
}

impl Operation for Wrap {
    const NAME: &'static str = "encrypt";

    fn message(event: Event<Self>) -> BatchMsg {
        BatchMsg(Of::Wraps(event))
    }

    fn lane(batches: &mut Batches) -> &mut Lane<Self> {
        &mut batches.wraps
    }

    async fn send(client: &Client, batch: &Batch<Self>) -> Result<Outcomes<Encrypted>, CallError> {
        let to_encrypt = batch.loads.iter().map(|load| ToEncrypt {
            plaintext: &load.plaintext,
            version: load.version,
        });
        let items: Vec<_> = to_encrypt.collect();
        let (key, token) = (&batch.route.key, &batch.route.session.token);
        client.encrypt(key, &items, token, batch.deadline).await
    }
}

impl Operation for Unwrap {
    const NAME: &'static str = "decrypt";

    fn message(event: Event<Self>) -> BatchMsg {
        BatchMsg(Of::Unwraps(event))
    }

    fn lane(batches: &mut Batches) -> &mut Lane<Self> {
        &mut batches.unwraps
    }

    async fn send(client: &Client, batch: &Batch<Self>) -> Result<Outcomes<Plaintext>, CallError> {
        let items: Vec<&Ciphertext> = batch.loads.iter().map(|load| &*load.0).collect();
        let (key, token) = (&batch.route.key, &batch.route.session.token);
        client.decrypt(key, &items, token, batch.deadline).await
    }
}

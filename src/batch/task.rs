//! The task of one operation: receives calls, sends batches, and completes calls as they return.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::operation::Operation;
use super::queue::failed::TokenCheck;
use super::queue::{Batch, BatchId, Queue};
use super::request::{Error, Request};
use crate::session::{Sessions, TokenStatus};
use crate::telemetry::spans::BatchSpan;
use crate::vault::{CallError, Client, Outcomes};

/// Longer than any call may take: a timer that is not needed.
const FAR: Duration = Duration::from_secs(3600);

/// Something that took time has ended.
enum Finished<O: Operation> {
    Batch(BatchId, Result<Outcomes<O::Output>, CallError>),
    TokenCheck(u64, TokenStatus),
}

/// What is under way. Dropped with the task, so nothing outlives its actor.
type UnderWay<O> = FuturesUnordered<BoxFuture<'static, Finished<O>>>;

/// Runs until every sending end of `requests` is gone.
pub(super) async fn run<O: Operation>(
    client: Arc<Client>,
    sessions: Sessions,
    max_in_flight: Option<usize>,
    mut requests: mpsc::UnboundedReceiver<Request<O>>,
) {
    let mut queue = Queue::new(max_in_flight, client.address());
    let mut under_way = UnderWay::<O>::new();
    let mut changes = sessions.subscribe();
    let mut received = Vec::new();
    let mut timer = pin!(sleep_until(Instant::now() + FAR));
    loop {
        let needs_session = send(&mut queue, &mut under_way, &client, &sessions);
        if let Some(wake) = queue.wake()
            && wake < timer.deadline()
        {
            timer.as_mut().reset(wake);
        }
        tokio::select! {
            Some(finished) = under_way.next(), if !under_way.is_empty() => {
                finish(&mut queue, &under_way, &sessions, finished);
            }
            count = requests.recv_many(&mut received, usize::MAX) => {
                if count == 0 {
                    return;
                }
                for request in received.drain(..) {
                    queue.push(request);
                }
            }
            // Without a publisher the daemon is going down, and this task with it.
            Ok(()) = changes.changed(), if needs_session => {}
            () = &mut timer => {
                let now = Instant::now();
                let fault = || sessions.current().is_none().then(|| sessions.fault());
                queue.expire(now, || fault().map(Error::NoSession));
                timer.as_mut().reset(queue.wake().unwrap_or(now + FAR));
            }
        }
    }
}

/// Sends what may leave. Returns whether something waits for a session.
fn send<O: Operation>(
    queue: &mut Queue<O>,
    under_way: &mut UnderWay<O>,
    client: &Arc<Client>,
    sessions: &Sessions,
) -> bool {
    if !queue.is_waiting() {
        return false;
    }
    let Some(session) = sessions.current() else {
        sessions.request();
        return true;
    };
    while let Some(batch) = queue.next(&session, Instant::now()) {
        under_way.push(Box::pin(send_batch(client.clone(), batch)));
    }
    false
}

fn finish<O: Operation>(
    queue: &mut Queue<O>,
    under_way: &UnderWay<O>,
    sessions: &Sessions,
    finished: Finished<O>,
) {
    let now = Instant::now();
    let random = fastrand::f64();
    match finished {
        Finished::Batch(id, outcome) => {
            if let Some(check) = queue.returned(id, outcome, now, random) {
                under_way.push(Box::pin(check_token(sessions.clone(), check)));
            }
        }
        Finished::TokenCheck(generation, status) => {
            queue.token_checked(generation, status, now, random);
        }
    }
}

async fn send_batch<O: Operation>(client: Arc<Client>, batch: Batch<O>) -> Finished<O> {
    let span = BatchSpan::begin(O::NAME, batch.items.len(), &batch.callers);
    let token = &batch.session.token;
    let sent = O::send(&client, &batch.key, &batch.items, token, batch.deadline);
    let outcome = span.around(sent).await;
    span.end(&outcome);
    Finished::Batch(batch.id, outcome)
}

async fn check_token<O: Operation>(sessions: Sessions, check: TokenCheck) -> Finished<O> {
    let status = sessions.check_token(check.generation, check.deadline).await;
    Finished::TokenCheck(check.generation, status)
}

//! Clients of several kube-apiservers: Secrets are written through one and read through another, and whatever
//! was written has to be readable, always.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::super::harness::http::{self, Request};
use super::node::{LIMIT, Node};

const SECRETS: &str = "api/v1/namespaces/default/secrets";
const PAUSE: Duration = Duration::from_millis(200);

/// Where the kube-apiservers are, and a token that may write.
#[derive(Clone)]
pub(super) struct Clients {
    addresses: Vec<Ipv4Addr>,
    ca_pem: Vec<u8>,
    token: String,
}

/// What it came to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The names of what was written.
    written: Vec<String>,
    /// How many reads returned what was written.
    reads: usize,
    /// How many calls a kube-apiserver did not answer, such as one that was restarting.
    unanswered: usize,
    /// What came back of the last write that did not succeed.
    last_refusal: String,
    /// What must not be: another value, or an error of kube-apiserver that is about the content.
    unreadable: Vec<String>,
}

/// Calls until it is stopped.
pub(super) struct Workload {
    clients: Clients,
    outcome: Arc<Mutex<Outcome>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Clients {
    /// Of all nodes, with a token of the first.
    pub(super) async fn new(nodes: &[Node]) -> Self {
        let first = &nodes[0];
        first
            .sh(
                "kubectl create serviceaccount writer && \
                 kubectl create rolebinding writer --clusterrole=edit --serviceaccount=default:writer",
            )
            .await;
        let token = first
            .sh("kubectl create token writer --duration 3h 2>/dev/null")
            .await;
        let ca = nodes[0].machine.path("/etc/kubernetes/pki/ca.crt");
        Self {
            addresses: nodes.iter().map(|node| node.address).collect(),
            ca_pem: std::fs::read(ca).unwrap(),
            token: format!("Bearer {}", token.trim()),
        }
    }

    async fn call(
        &self,
        method: &str,
        index: usize,
        path: &str,
        body: Option<Value>,
    ) -> Option<(u16, Value)> {
        let url = format!("https://{}:6443/{path}", self.addresses[index]);
        let request = Request {
            method,
            url: &url,
            credential: Some(("authorization", &self.token)),
            ca_pem: Some(&self.ca_pem),
        };
        let limit = Duration::from_secs(5);
        let answer = tokio::time::timeout(limit, http::json(request, body.as_ref())).await;
        answer.ok()?.ok()
    }

    async fn write(&self, index: usize, name: &str) -> Option<(u16, Value)> {
        let body =
            json!({ "metadata": { "name": name }, "data": { "value": STANDARD.encode(name) } });
        self.call("POST", index, SECRETS, Some(body)).await
    }

    /// `None` if it was not answered, else what is wrong with it.
    async fn read(&self, index: usize, name: &str) -> Option<Result<(), String>> {
        let (code, answer) = self
            .call("GET", index, &format!("{SECRETS}/{name}"), None)
            .await?;
        match code {
            200 if answer["data"]["value"] == STANDARD.encode(name) => Some(Ok(())),
            // It is not ready yet, or no longer: it knows no token, no right, or has no storage.
            401 | 403 | 429 | 503 | 504 => None,
            _ => Some(Err(format!("{name} by {index}: {code} {answer}"))),
        }
    }

    /// Panics unless each of them can read all that was written, from etcd.
    pub(super) async fn expect_readable(&self, outcome: &Outcome) {
        for index in 0..self.addresses.len() {
            for name in &outcome.written {
                let read = self.read(index, name).await;
                assert_eq!(read, Some(Ok(())), "{name} by {index}");
            }
        }
    }
}

impl Workload {
    /// Begins to write and to read.
    pub(super) fn start(clients: &Clients) -> Self {
        let outcome = Arc::new(Mutex::new(Outcome::default()));
        let stop = CancellationToken::new();
        let (own, shared) = (clients.clone(), Arc::clone(&outcome));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut count = 0;
            while !stopped.is_cancelled() {
                step(&own, count, &shared).await;
                count += 1;
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self {
            clients: clients.clone(),
            outcome,
            stop,
            task,
        }
    }

    /// How many Secrets were written so far.
    pub(super) fn written(&self) -> usize {
        lock(&self.outcome).written.len()
    }

    /// Waits for so many more writes.
    pub(super) async fn progress(&self, count: usize) {
        let before = self.written();
        let reached = tokio::time::timeout(LIMIT, async {
            while self.written() < before + count {
                tokio::time::sleep(PAUSE).await;
            }
        });
        let refusal = || lock(&self.outcome).last_refusal.clone();
        assert!(reached.await.is_ok(), "no more writes: {}", refusal());
    }

    /// Ends it, and panics if anything could not be read.
    pub(super) async fn stop(self) -> Outcome {
        self.stop.cancel();
        self.task.await.unwrap();
        let outcome = std::mem::take(&mut *lock(&self.outcome));
        assert!(outcome.unreadable.is_empty(), "{:#?}", outcome.unreadable);
        assert!(outcome.reads > 0);
        self.clients.expect_readable(&outcome).await;
        outcome
    }
}

impl Outcome {
    /// In figures.
    pub(super) fn summary(&self) -> String {
        format!(
            "{} Secrets written, {} reads, {} calls unanswered, {} unreadable",
            self.written.len(),
            self.reads,
            self.unanswered,
            self.unreadable.len()
        )
    }
}

/// One write by one of them, and reads of it and of an earlier one by another.
async fn step(clients: &Clients, count: usize, outcome: &Mutex<Outcome>) {
    let name = format!("of-the-workload-{count}");
    let all = clients.addresses.len();
    let (writer, reader) = (count % all, (count / all + count + 1) % all);
    match clients.write(writer, &name).await {
        Some((201, _)) => lock(outcome).written.push(name.clone()),
        // Not sure: it may have been written before the connection ended.
        other => {
            let mut outcome = lock(outcome);
            outcome.unanswered += 1;
            outcome.last_refusal = format!("{other:?}");
        }
    }
    let earlier = fastrand::choice(lock(outcome).written.clone());
    if let Some(name) = earlier {
        let read = clients.read(reader, &name).await;
        let mut outcome = lock(outcome);
        match read {
            Some(Ok(())) => outcome.reads += 1,
            Some(Err(wrong)) => outcome.unreadable.push(wrong),
            None => outcome.unanswered += 1,
        }
    }
}

fn lock(outcome: &Mutex<Outcome>) -> std::sync::MutexGuard<'_, Outcome> {
    outcome.lock().unwrap_or_else(PoisonError::into_inner)
}

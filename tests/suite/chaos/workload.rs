//! What goes on while faults happen: Secrets that are read and replaced through any kube-apiserver, and seeds that are
//! encrypted by one plugin and decrypted by another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use fastrand::Rng;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::history::{History, Operation, Outcome, Register};
use super::site::{NODES, Node, Site};
use crate::cluster::NAMESPACE;
use crate::harness::kms::KmsClient;

/// The Secrets, and who uses them.
pub(super) const REGISTERS: Register = 12;
const CLIENTS: u64 = 5;
/// Between two operations of a client.
const PAUSE: Duration = Duration::from_millis(250);
/// Longer than any answer of a kube-apiserver that is alive.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many seeds are kept to be decrypted later, of any version.
const SEEDS_KEPT: usize = 200;

/// A running workload.
pub(super) struct Workload {
    stops: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Workload {
    /// Ends it; panics if it found anything wrong.
    pub(super) async fn stop(mut self) {
        self.stops.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

pub(super) fn name(register: Register) -> String {
    format!("register-{register}")
}

pub(super) fn path(register: Register) -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/secrets/{}", name(register))
}

/// Starts it.
pub(super) fn start(site: &Site, history: &History, seed: u64) -> Workload {
    let stops = Arc::new(AtomicBool::new(false));
    let counter = Arc::new(AtomicU64::new(1));
    let mut tasks = JoinSet::new();
    for number in 0..CLIENTS {
        let client = Client {
            nodes: site.nodes.clone(),
            history: history.clone(),
            counter: counter.clone(),
        };
        let random = Rng::with_seed(seed ^ ((number + 1) << 32));
        tasks.spawn(client.run(random, stops.clone()));
    }
    let seeds = Seeds {
        nodes: site.nodes.clone(),
        history: history.clone(),
        kept: Vec::new(),
    };
    tasks.spawn(seeds.run(Rng::with_seed(!seed), stops.clone()));
    Workload { stops, tasks }
}

struct Client {
    nodes: Vec<Arc<Node>>,
    history: History,
    counter: Arc<AtomicU64>,
}

impl Client {
    async fn run(self, mut random: Rng, stops: Arc<AtomicBool>) {
        while !stops.load(Ordering::Relaxed) {
            let (node, register) = (random.usize(..NODES), random.usize(..REGISTERS));
            let read = self.read(node, register).await;
            if let (Some((object, revision)), true) = (read, random.u8(..10) < 4) {
                self.write(node, register, object, revision).await;
            }
            sleep(PAUSE.mul_f64(0.5 + random.f64())).await;
        }
    }

    async fn read(&self, node: usize, register: Register) -> Option<(Value, i64)> {
        let began = self.history.now();
        let answer = call(&self.nodes[node], "GET", register, None).await;
        let (outcome, object) = match answer {
            Ok((200, object)) => {
                let revision = revision(&object);
                let value = value(&object);
                (Outcome::Read { value, revision }, Some((object, revision)))
            }
            Ok((code, answer)) => (failed(None, &format!("{code} {answer}")), None),
            Err(error) => (failed(None, &error), None),
        };
        self.add(node, "read", register, began, outcome);
        object
    }

    async fn write(&self, node: usize, register: Register, mut object: Value, base: i64) {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let value = format!("value {number} of register {register}");
        object["data"]["value"] = json!(STANDARD.encode(&value));
        let began = self.history.now();
        let outcome = match call(&self.nodes[node], "PUT", register, Some(object)).await {
            Ok((200, object)) => Outcome::Written {
                value,
                base,
                revision: revision(&object),
            },
            Ok((409, _)) => Outcome::Conflict,
            Ok((code, answer)) => failed(Some(value), &format!("{code} {answer}")),
            Err(error) => failed(Some(value), &error),
        };
        self.add(node, "write", register, began, outcome);
    }

    fn add(
        &self,
        node: usize,
        what: &'static str,
        register: Register,
        began: Duration,
        outcome: Outcome,
    ) {
        self.history.add(Operation {
            node,
            what,
            register: Some(register),
            began,
            ended: self.history.now(),
            outcome,
        });
    }
}

/// A call whose failure is an outcome.
async fn call(
    node: &Node,
    method: &str,
    register: Register,
    body: Option<Value>,
) -> Result<(u16, Value), String> {
    let path = path(register);
    let answer = node.kubernetes.try_request(method, &path, body);
    match timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(error),
        Err(_) => Err("no answer".to_owned()),
    }
}

fn failed(value: Option<String>, error: &str) -> Outcome {
    let error = error.chars().take(300).collect();
    Outcome::Failed { value, error }
}

pub(super) fn revision(object: &Value) -> i64 {
    let text = object["metadata"]["resourceVersion"].as_str();
    text.expect("a revision").parse().expect("a number")
}

pub(super) fn value(object: &Value) -> String {
    let text = object["data"]["value"].as_str().expect("a value");
    String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
}

/// What plays kube-apiserver at the sockets.
struct Seeds {
    nodes: Vec<Arc<Node>>,
    history: History,
    kept: Vec<(Vec<u8>, String, Vec<u8>)>,
}

impl Seeds {
    async fn run(mut self, mut random: Rng, stops: Arc<AtomicBool>) {
        let clients = self
            .nodes
            .iter()
            .map(|node| KmsClient::connect(node.daemon.socket()));
        let clients: Vec<_> = clients.collect();
        while !stops.load(Ordering::Relaxed) {
            let writer = random.usize(..NODES);
            let seed: Vec<u8> = (0..32).map(|_| random.u8(..)).collect();
            if let Some((ciphertext, key_id)) = self.encrypt(&clients[writer], writer, &seed).await
            {
                self.keep(&mut random, (ciphertext, key_id, seed));
            }
            if !self.kept.is_empty() {
                let reader = random.usize(..NODES);
                let chosen = self.kept[random.usize(..self.kept.len())].clone();
                self.decrypt(&clients[reader], reader, chosen).await;
            }
            sleep(PAUSE).await;
        }
    }

    fn keep(&mut self, random: &mut Rng, made: (Vec<u8>, String, Vec<u8>)) {
        if self.kept.len() < SEEDS_KEPT {
            self.kept.push(made);
        } else {
            let index = random.usize(..SEEDS_KEPT);
            self.kept[index] = made;
        }
    }

    /// The version in the ciphertext is that of the key_id.
    async fn encrypt(
        &self,
        client: &KmsClient,
        node: usize,
        seed: &[u8],
    ) -> Option<(Vec<u8>, String)> {
        let began = self.history.now();
        let answer = client.encrypt(seed).await;
        let (error, made) = match answer {
            Ok((ciphertext, key_id)) => {
                let text = String::from_utf8(ciphertext.clone()).unwrap();
                let version = text.split(':').nth(1).unwrap().to_owned();
                assert!(
                    key_id.contains(&format!(":{version}:")),
                    "{key_id} for {text}"
                );
                (None, Some((ciphertext, key_id)))
            }
            Err(error) => (Some(error.to_string()), None),
        };
        self.add(node, "Encrypt", began, error);
        made
    }

    async fn decrypt(
        &self,
        client: &KmsClient,
        node: usize,
        (ciphertext, key_id, seed): (Vec<u8>, String, Vec<u8>),
    ) {
        let began = self.history.now();
        let answer = client.decrypt(&ciphertext, &key_id).await;
        let error = match answer {
            Ok(back) => {
                assert!(back == seed, "another plaintext for {key_id}");
                None
            }
            Err(error) => Some(error.to_string()),
        };
        self.add(node, "Decrypt", began, error);
    }

    fn add(&self, node: usize, what: &'static str, began: Duration, error: Option<String>) {
        let outcome = match error {
            None => Outcome::Answered,
            Some(error) => failed(None, &error),
        };
        self.history.add(Operation {
            node,
            what,
            register: None,
            began,
            ended: self.history.now(),
            outcome,
        });
    }
}

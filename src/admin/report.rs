//! How things stand, in one piece: what `vault-kms-plugin status` shows. Holds no secret.

use std::time::SystemTime;

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use super::readiness::Readiness;
use super::{Arguments, key_id_hash};
use crate::grpc;
use crate::keys::ProvenKey;
use crate::telemetry::metrics::RecentCalls;

/// The whole report. Times are in UTC.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What runs.
    pub version: String,
    /// For how long, in seconds.
    pub uptime_seconds: u64,
    /// Whether kube-apiserver is told that all is well.
    pub ready: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who is logged in to Vault.
    pub session: Session,
    /// The key.
    pub key: Key,
    /// The gRPC calls.
    pub calls: Calls,
    /// Who is connected, with how many connections.
    pub peers: Vec<Peer>,
    /// The last SIGHUP, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_reload: Option<Reload>,
}

/// The session with Vault.
#[derive(Debug, Clone, Serialize)]
pub struct Session {
    /// How it is logged in: `auth.method`.
    pub method: String,
    /// Whether there is one now.
    pub active: bool,
    /// When it ends unless it is renewed; absent where it never does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// When it is renewed, or the next login tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_step: Option<Timestamp>,
    /// How many logins of this process succeeded.
    pub logins: u64,
    /// Why the last login failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What is known of the key.
#[derive(Debug, Clone, Serialize)]
pub struct Key {
    /// What Status said last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub announced: Option<Version>,
    /// The latest that works; announced by the next Status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proven: Option<Version>,
    /// When Vault last did what was asked of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Timestamp>,
    /// Why the last look failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether only an operator can fix that.
    pub verdict: bool,
}

/// A version of the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Version {
    /// Its number.
    pub version: u32,
    /// Its key_id.
    pub key_id: String,
    /// The same as kube-apiserver's metrics show it.
    pub key_id_hash: String,
    /// When it was made.
    pub created: Timestamp,
}

/// Calls of the last minutes.
#[derive(Debug, Clone, Serialize)]
pub struct Calls {
    /// How many minutes.
    pub minutes: u64,
    /// All of them.
    pub all: u64,
    /// Those with another code than OK.
    pub failed: u64,
    /// Encrypts and Decrypts that wait now.
    pub waiting: u64,
}

/// A process that is connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Peer {
    /// Absent where it is in a pid namespace that the plugin does not see into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// How many connections it has.
    pub connections: usize,
}

/// A reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reload {
    /// When it ended.
    pub at: Timestamp,
    /// Why it was refused; absent where it was taken over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl Report {
    /// How things stand now.
    pub(super) fn of(args: &Arguments) -> Self {
        let readiness = Readiness::of(args);
        let RecentCalls { calls, failed } = args.metrics.recent();
        let peers = args.connections.peers();
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: args.metrics.uptime().as_secs(),
            ready: readiness.is_ready(),
            reason: readiness.reason().map(str::to_owned),
            session: Session::of(args),
            key: Key::of(args),
            calls: Calls {
                minutes: RecentCalls::COUNT,
                all: calls,
                failed,
                waiting: args.metrics.calls_waiting(),
            },
            peers: peers.into_iter().map(Peer::of).collect(),
            last_reload: args.last_reload.borrow().clone(),
        }
    }
}

impl Session {
    fn of(args: &Arguments) -> Self {
        let view = args.sessions.borrow();
        let session = view.current.as_deref();
        Self {
            method: args.method.to_owned(),
            active: session.is_some(),
            until: session.and_then(|it| it.expires).and_then(timestamp),
            next_step: view.next_step.and_then(timestamp),
            logins: view.logins,
            error: view.fault.as_ref().map(ToString::to_string),
        }
    }
}

impl Key {
    fn of(args: &Arguments) -> Self {
        let view = args.keys.borrow();
        let fault = view.fault.as_ref();
        Self {
            announced: view.announced.as_ref().and_then(Version::of),
            proven: view.proven.as_ref().and_then(Version::of),
            last_success: view.last_success.and_then(timestamp),
            error: fault.map(|fault| fault.error.to_string()),
            verdict: fault.is_some_and(|fault| fault.verdict),
        }
    }
}

impl Version {
    fn of(ProvenKey { key_id, stamp }: &ProvenKey) -> Option<Self> {
        let key_id = key_id.to_string();
        Some(Self {
            version: stamp.version.get(),
            key_id_hash: key_id_hash(&key_id),
            key_id,
            created: Timestamp::from_second(stamp.created).ok()?,
        })
    }
}

impl Peer {
    fn of((grpc::Peer { pid, uid, gid }, connections): (grpc::Peer, usize)) -> Self {
        Self {
            pid,
            uid,
            gid,
            connections,
        }
    }
}

impl Reload {
    /// One that ends now.
    #[must_use]
    pub fn now(refused: Option<String>) -> Self {
        let at = Timestamp::now();
        Self { at, refused }
    }
}

/// Of a moment on this machine's steady clock, by its clock on the wall.
pub(crate) fn timestamp(moment: Instant) -> Option<Timestamp> {
    let (now, wall) = (Instant::now(), SystemTime::now());
    let when = match moment.checked_duration_since(now) {
        Some(ahead) => wall.checked_add(ahead),
        None => wall.checked_sub(now.saturating_duration_since(moment)),
    };
    let when = Timestamp::try_from(when?).ok()?;
    // Nobody reads more than that.
    when.round(jiff::Unit::Second).ok()
}

//! The state of the daemon as `vault-kms-plugin status` shows it. Contains no secret.

use jiff::Timestamp;
use serde::Serialize;

use super::arguments::Arguments;
use super::readiness::Readiness;
use crate::grpc;
use crate::keys::{ProvenKey, SeedCacheReport};
use crate::reason::Reason;
use crate::session;
use crate::system::clock::wall_time;
use crate::system::pid_namespace;
use crate::telemetry::ReloadStatus;
use crate::telemetry::metrics::RecentCalls;

/// The whole report. Times are in UTC.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    /// The version of the plugin.
    pub(super) version: String,
    /// Its process.
    pub(super) pid: u32,
    /// Where that is its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pid_namespace: Option<String>,
    /// How long it has run, in seconds.
    pub(super) uptime_seconds: u64,
    /// Whether Status returns `ok`.
    pub(super) ready: bool,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    /// The code of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason_code: Option<&'static str>,
    /// The session with Vault.
    pub(super) session: Session,
    /// The key.
    pub(super) key: Key,
    /// The seed cache, if it is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seed_cache: Option<SeedCache>,
    /// The gRPC calls.
    pub(super) calls: Calls,
    /// The connected processes.
    pub(super) peers: Vec<Peer>,
    /// The last SIGHUP, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_reload: Option<ReloadStatus>,
}

/// The session with Vault.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Session {
    /// How it logs in: `auth.method`.
    pub(super) method: String,
    /// Whether there is one now.
    pub(super) active: bool,
    /// When it expires unless it is renewed; absent if it never does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<Timestamp>,
    /// When it is renewed, or the next login attempted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_step: Option<Timestamp>,
    /// How many logins of this process succeeded.
    pub(super) logins: u64,
    /// Why the last login failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    /// The code of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error_code: Option<&'static str>,
}

/// What is known about the key.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Key {
    /// The version that Status returned last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) announced: Option<Version>,
    /// The latest version that works; announced by the next Status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) proven: Option<Version>,
    /// When Vault last served a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_success: Option<Timestamp>,
    /// Why the last refresh failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    /// The code of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error_code: Option<&'static str>,
    /// Whether only an operator can fix that.
    pub(super) verdict: bool,
}

/// The seeds that are kept for an outage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct SeedCache {
    /// How many.
    pub(super) entries: usize,
    /// Whether they are answered now, because Vault fails.
    pub(super) serving: bool,
    /// How long ago Vault last did something with their key, in seconds; absent before it ever did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) age_seconds: Option<u64>,
    /// Up to which age they are answered, in seconds.
    pub(super) max_age_seconds: u64,
    /// Whether a local KEK is ready; absent if `outage.local_kek` is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) local_kek_ready: Option<bool>,
}

/// A version of the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Version {
    /// Its number.
    pub(super) version: u32,
    /// Its key_id.
    pub(super) key_id: String,
    /// The same as kube-apiserver's metrics show it.
    pub(super) key_id_hash: String,
    /// When it was created.
    pub(super) created: Timestamp,
}

/// Calls of the last minutes.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Calls {
    /// How many minutes.
    pub(super) minutes: u64,
    /// All of them.
    pub(super) all: u64,
    /// Those with another code than OK.
    pub(super) failed: u64,
    /// Encrypts and Decrypts that wait now.
    pub(super) waiting: u64,
}

/// A process that is connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Peer {
    /// Absent if it is in a pid namespace that is not visible to the plugin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pid: Option<u32>,
    /// Its user.
    pub(super) uid: u32,
    /// Its group.
    pub(super) gid: u32,
    /// How many connections it has.
    pub(super) connections: usize,
}

impl Report {
    /// The state now.
    pub(super) fn of(args: &Arguments) -> Self {
        let readiness = Readiness::of(args);
        let RecentCalls { calls, failed } = args.metrics.recent();
        let peers = args.connections.peers();
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            pid_namespace: pid_namespace::id(),
            uptime_seconds: args.metrics.uptime().as_secs(),
            ready: readiness.is_ready(),
            reason: readiness.reason().map(str::to_owned),
            reason_code: readiness.reason_code().map(Reason::code),
            session: Session::of(args),
            key: Key::of(args),
            seed_cache: args.seed_cache.report().map(SeedCache::of),
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
            until: session.and_then(session::Session::end),
            next_step: view.next_step.and_then(wall_time),
            logins: view.logins,
            error: view.fault.as_ref().map(ToString::to_string),
            error_code: view.fault.as_ref().map(|it| it.reason.code()),
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
            last_success: view.last_success.and_then(|at| at.wall_time()),
            error: fault.map(|fault| fault.error.to_string()),
            error_code: fault.map(|fault| fault.error.reason.code()),
            verdict: fault.is_some_and(|fault| fault.verdict),
        }
    }
}

impl SeedCache {
    fn of(report: SeedCacheReport) -> Self {
        Self {
            entries: report.entries,
            serving: report.serving,
            age_seconds: report.age.map(|age| age.as_secs()),
            max_age_seconds: report.max_age.as_secs(),
            local_kek_ready: report.local_kek,
        }
    }
}

impl Version {
    fn of(ProvenKey { key_id, stamp }: &ProvenKey) -> Option<Self> {
        Some(Self {
            version: stamp.version.get(),
            key_id_hash: key_id.hash(),
            key_id: key_id.to_string(),
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

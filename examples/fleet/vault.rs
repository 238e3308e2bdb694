//! A Vault that is made up: up or away, with a rate limit on logins and a lockout per role, as
//! Vault's own are.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;
use vault_kms_plugin::session::{Event, Failure};
use vault_kms_plugin::vault::Lease;

/// What a rate limit quota on `auth/` lets through.
pub(crate) const LOGINS_PER_SECOND: u32 = 500;
/// What Vault's answer 429 asks to wait.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long a token lives unless it is renewed.
const TTL: Duration = Duration::from_secs(300);
/// Vault's own lockout: so many refusals in this time.
const LOCKOUT: (usize, Duration) = (5, Duration::from_secs(15 * 60));

/// When it is away.
#[derive(Clone, Copy)]
pub(crate) struct Outage {
    /// From here on.
    pub(crate) begins: Instant,
    /// Up to here.
    pub(crate) ends: Instant,
}

/// A role that the nodes of a cluster share.
pub(crate) struct Role {
    /// Its number.
    pub(crate) id: usize,
    /// Whether their secret_id is wrong.
    pub(crate) wrong_secret: bool,
}

/// The server, and what it has seen.
pub(crate) struct VirtualVault {
    outage: Outage,
    second: Instant,
    admitted: u32,
    tried: u32,
    busiest: u32,
    throttled: u64,
    asked_while_away: u64,
    refusals: HashMap<usize, VecDeque<Instant>>,
    refused: u64,
    locked_out: u64,
    /// Logins tried since the outage, by node.
    tries: HashMap<usize, u32>,
    back: HashMap<usize, Duration>,
}

impl VirtualVault {
    /// One that will be away then.
    pub(crate) fn new(outage: Outage) -> Self {
        Self {
            outage,
            second: Instant::now(),
            admitted: 0,
            tried: 0,
            busiest: 0,
            throttled: 0,
            asked_while_away: 0,
            refusals: HashMap::new(),
            refused: 0,
            locked_out: 0,
            tries: HashMap::new(),
            back: HashMap::new(),
        }
    }

    /// `sys/health`, which no quota limits.
    pub(crate) fn health(&mut self) -> Event {
        if self.is_away() {
            self.asked_while_away += 1;
            return Event::VaultUnavailable;
        }
        Event::VaultReady
    }

    /// A login by AppRole.
    pub(crate) fn login(&mut self, node: usize, role: &Role) -> Event {
        if self.is_away() {
            return Event::Failed(Failure::Unreachable);
        }
        let now = Instant::now();
        let since = now.checked_duration_since(self.outage.ends);
        if since.is_some() {
            *self.tries.entry(node).or_default() += 1;
        }
        if !self.admits(now, since.is_some()) {
            self.throttled += 1;
            return Event::Failed(Failure::Transient(Some(RETRY_AFTER)));
        }
        if role.wrong_secret {
            self.refuse(role, now);
            return Event::Failed(Failure::RejectedAndCounted);
        }
        if let Some(since) = since {
            self.back.entry(node).or_insert(since);
        }
        Event::Granted(lease())
    }

    /// A renewal: no quota stands before it here.
    pub(crate) fn renew(&self) -> Event {
        if self.is_away() {
            return Event::NotRenewed(Failure::Unreachable);
        }
        Event::Renewed(Some(lease()))
    }

    /// How long after Vault's return each node had a session again.
    pub(crate) fn back_after(&self) -> Vec<Duration> {
        self.back.values().copied().collect()
    }

    /// Logins tried in the busiest second after the return.
    pub(crate) fn busiest_second(&self) -> u32 {
        self.busiest.max(self.tried)
    }

    /// Logins that the quota refused.
    pub(crate) fn throttled(&self) -> u64 {
        self.throttled
    }

    /// The most logins that one node tried after the return.
    pub(crate) fn most_tries(&self) -> u32 {
        self.tries.values().copied().max().unwrap_or_default()
    }

    /// How often health was asked for in vain.
    pub(crate) fn asked_while_away(&self) -> u64 {
        self.asked_while_away
    }

    /// Logins with a wrong secret_id.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    /// How often a role was locked out.
    pub(crate) fn locked_out(&self) -> u64 {
        self.locked_out
    }

    fn is_away(&self) -> bool {
        (self.outage.begins..self.outage.ends).contains(&Instant::now())
    }

    fn admits(&mut self, now: Instant, counts: bool) -> bool {
        if now - self.second >= Duration::from_secs(1) {
            self.busiest = self.busiest.max(self.tried);
            (self.second, self.admitted, self.tried) = (now, 0, 0);
        }
        self.tried += u32::from(counts);
        self.admitted += 1;
        self.admitted <= LOGINS_PER_SECOND
    }

    fn refuse(&mut self, role: &Role, now: Instant) {
        self.refused += 1;
        let (most, window) = LOCKOUT;
        let refusals = self.refusals.entry(role.id).or_default();
        refusals.push_back(now);
        while refusals.front().is_some_and(|&at| now - at > window) {
            refusals.pop_front();
        }
        self.locked_out += u64::from(refusals.len() >= most);
    }
}

fn lease() -> Lease {
    Lease {
        ttl: Some(TTL),
        renewable: true,
        num_uses: 0,
    }
}

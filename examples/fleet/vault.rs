//! A simulated Vault: up or down, with a rate limit on logins and a lockout per role, as in Vault.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;
use vault_kms_plugin::session::{Event, Failure};
use vault_kms_plugin::vault::Lease;

/// What a rate limit quota on `auth/` admits.
pub(crate) const LOGINS_PER_SECOND: u32 = 500;
/// The Retry-After of Vault's 429.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The lifetime of a token unless it is renewed.
const TTL: Duration = Duration::from_secs(300);
/// Vault's lockout: so many rejections in this time.
const LOCKOUT: (usize, Duration) = (5, Duration::from_secs(15 * 60));

/// When Vault is down.
#[derive(Clone, Copy)]
pub(crate) struct Outage {
    /// From then on.
    pub(crate) begins: Instant,
    /// Until then.
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
    attempted: u32,
    busiest: u32,
    throttled: u64,
    checks_in_outage: u64,
    rejections: HashMap<usize, VecDeque<Instant>>,
    rejected: u64,
    locked_out: u64,
    /// Login attempts since the outage, by node.
    attempts: HashMap<usize, u32>,
    back: HashMap<usize, Duration>,
}

impl VirtualVault {
    /// A Vault with this outage.
    pub(crate) fn new(outage: Outage) -> Self {
        Self {
            outage,
            second: Instant::now(),
            admitted: 0,
            attempted: 0,
            busiest: 0,
            throttled: 0,
            checks_in_outage: 0,
            rejections: HashMap::new(),
            rejected: 0,
            locked_out: 0,
            attempts: HashMap::new(),
            back: HashMap::new(),
        }
    }

    /// `sys/health`, which no quota limits.
    pub(crate) fn health(&mut self) -> Event {
        if self.is_down() {
            self.checks_in_outage += 1;
            return Event::VaultUnavailable;
        }
        Event::VaultReady
    }

    /// A login by AppRole.
    pub(crate) fn login(&mut self, node: usize, role: &Role) -> Event {
        if self.is_down() {
            return Event::Failed(Failure::Unreachable);
        }
        let now = Instant::now();
        let since = now.checked_duration_since(self.outage.ends);
        if since.is_some() {
            *self.attempts.entry(node).or_default() += 1;
        }
        if !self.admits(now, since.is_some()) {
            self.throttled += 1;
            return Event::Failed(Failure::Transient(Some(RETRY_AFTER)));
        }
        if role.wrong_secret {
            self.reject(role, now);
            return Event::Failed(Failure::RejectedAndCounted);
        }
        if let Some(since) = since {
            self.back.entry(node).or_insert(since);
        }
        Event::Granted(lease())
    }

    /// A renewal, which no quota limits here.
    pub(crate) fn renew(&self) -> Event {
        if self.is_down() {
            return Event::NotRenewed(Failure::Unreachable);
        }
        Event::Renewed(Some(lease()))
    }

    /// How long after the outage each node had a session again.
    pub(crate) fn back_after(&self) -> Vec<Duration> {
        self.back.values().copied().collect()
    }

    /// Login attempts in the busiest second after the outage.
    pub(crate) fn busiest_second(&self) -> u32 {
        self.busiest.max(self.attempted)
    }

    /// Logins that the quota refused.
    pub(crate) fn throttled(&self) -> u64 {
        self.throttled
    }

    /// The most login attempts of one node after the outage.
    pub(crate) fn most_attempts(&self) -> u32 {
        self.attempts.values().copied().max().unwrap_or_default()
    }

    /// Health checks during the outage.
    pub(crate) fn checks_in_outage(&self) -> u64 {
        self.checks_in_outage
    }

    /// Logins with a wrong secret_id.
    pub(crate) fn rejected(&self) -> u64 {
        self.rejected
    }

    /// How often a role was locked out.
    pub(crate) fn locked_out(&self) -> u64 {
        self.locked_out
    }

    fn is_down(&self) -> bool {
        (self.outage.begins..self.outage.ends).contains(&Instant::now())
    }

    fn admits(&mut self, now: Instant, counts: bool) -> bool {
        if now - self.second >= Duration::from_secs(1) {
            self.busiest = self.busiest.max(self.attempted);
            self.second = now;
            self.admitted = 0;
            self.attempted = 0;
        }
        self.attempted += u32::from(counts);
        self.admitted += 1;
        self.admitted <= LOGINS_PER_SECOND
    }

    fn reject(&mut self, role: &Role, now: Instant) {
        self.rejected += 1;
        let (most, window) = LOCKOUT;
        let rejections = self.rejections.entry(role.id).or_default();
        rejections.push_back(now);
        while rejections.front().is_some_and(|&at| now - at > window) {
            rejections.pop_front();
        }
        self.locked_out += u64::from(rejections.len() >= most);
    }
}

fn lease() -> Lease {
    Lease {
        ttl: Some(TTL),
        renewable: true,
        num_uses: 0,
    }
}

//! An honest client that keeps calling during an attack, and the attack's cost.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::daemon::Daemon;
use super::kms::KmsClient;
use super::load::{Load, Outcome};
use super::wait;

/// Calls before an attack: buffers and pools have their size then.
const WARM: u64 = 300;
/// Calls that have to end after an attack before it counts as over.
const AFTER: u64 = 20;
/// A pause between calls, so that two cores are enough for client, server and attacker.
const PAUSE: Duration = Duration::from_millis(5);
/// No test waits for it when all is well.
const LIMIT: Duration = Duration::from_secs(30);

/// A daemon under attack.
pub struct Flood<'a> {
    daemon: &'a Daemon,
    load: Load,
    calm_kib: u64,
}

/// What an attack did.
#[derive(Debug)]
pub struct Damage {
    /// What became of the genuine client's calls.
    pub outcome: Outcome,
    /// By how much the daemon's memory had grown when it was largest, in KiB.
    pub grown_kib: u64,
    /// What it had before, in KiB.
    pub calm_kib: u64,
}

impl<'a> Flood<'a> {
    /// `client` has a connection already. Measures the daemon after some calls, and goes on calling.
    pub async fn lay(daemon: &'a Daemon, client: &KmsClient) -> Self {
        let load = Load::start(vec![client.clone()], PAUSE);
        load.progress(WARM, LIMIT).await;
        Self {
            daemon,
            load,
            calm_kib: daemon.rss_kib(),
        }
    }

    /// Attacks from a thread that may block, until it is done.
    pub async fn attack<T: Send + 'static>(
        &self,
        attack: impl FnOnce(&Path) -> T + Send + 'static,
    ) -> T {
        let socket: PathBuf = self.daemon.socket().to_owned();
        let thread = tokio::task::spawn_blocking(move || attack(&socket));
        thread.await.expect("an attacker does not panic")
    }

    /// The attackers are gone: the genuine client calls on for a moment, and that was it.
    pub async fn lift(self) -> Damage {
        self.load.progress(AFTER, LIMIT).await;
        Damage {
            grown_kib: self.daemon.peak_rss_kib().saturating_sub(self.calm_kib),
            outcome: self.load.stop().await,
            calm_kib: self.calm_kib,
        }
    }
}

impl Damage {
    /// Waits until the daemon's memory is as it was, give or take `slack_kib`.
    pub async fn healed(&self, daemon: &Daemon, slack_kib: u64) {
        let most = self.calm_kib + slack_kib;
        let what = format!("memory to come back to {most} KiB");
        wait::until_true(&what, LIMIT, async || daemon.rss_kib() <= most).await;
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} calls, memory grown by {} KiB from {} KiB",
            self.outcome.calls, self.grown_kib, self.calm_kib
        )
    }
}

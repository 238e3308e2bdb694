//! What surrounds the daemon, and outlives its process.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fastrand::Rng;
use tempfile::TempDir;
use tokio::time::Instant;

use super::checks::Checks;
use super::conditions::Conditions;
use super::trace::Trace;
use super::vault::Vault;

/// After the last fault, errors are explained by it for so long.
pub(super) const GRACE: Duration = Duration::from_secs(60);

/// All of it.
#[derive(Debug)]
pub(super) struct World {
    dir: TempDir,
    state: Mutex<State>,
}

/// What changes.
#[derive(Debug)]
pub(super) struct State {
    pub(super) rng: Rng,
    pub(super) vault: Vault,
    /// Of each address.
    pub(super) conditions: [Conditions; 2],
    pub(super) checks: Checks,
    pub(super) trace: Trace,
    /// Seconds that the clock on the wall is wrong.
    pub(super) wall_step: i64,
    pub(super) boots: u32,
    /// The simulated time at the start of the current process, and when that was by its clock.
    began: (Duration, Option<Instant>),
    /// Whether something is wrong that an operator will correct, and when anything last was.
    is_disturbed: bool,
    disturbed: Duration,
    pub(super) settings: Settings,
}

/// The configuration of the daemon.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) addresses: usize,
    pub(super) seed_cache: bool,
    pub(super) local_kek: bool,
    pub(super) max_waiting: u32,
    pub(super) tolerance: u64,
    pub(super) suffix: u32,
    pub(super) accepted: Option<String>,
}

impl World {
    pub(super) fn new(seed: u64, prints: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let settings = Settings {
            addresses: rng.usize(1..3),
            seed_cache: rng.u8(..3) == 0,
            local_kek: rng.bool(),
            max_waiting: 64,
            tolerance: 120,
            suffix: 0,
            accepted: None,
        };
        let shared = std::path::Path::new("/dev/shm");
        let dir = tempfile::tempdir_in(shared).or_else(|_| tempfile::tempdir());
        Self {
            dir: dir.expect("a directory"),
            state: Mutex::new(State {
                rng,
                vault: Vault::new(),
                conditions: [Conditions::calm(), Conditions::calm()],
                checks: Checks::default(),
                trace: Trace::new(prints),
                wall_step: 0,
                boots: 1,
                began: (Duration::ZERO, None),
                is_disturbed: false,
                disturbed: Duration::ZERO,
                settings,
            }),
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Duration {
        self.state().now()
    }

    pub(super) fn note(&self, event: &str) {
        self.state().note(event);
    }

    /// Writes the configuration as it is to be.
    pub(super) fn write_config(&self) {
        let settings = self.state().settings.clone();
        let path = |name| self.path(name).display().to_string();
        let addresses = ["http://127.0.0.1:8200", "http://127.0.0.1:8201"];
        let Settings {
            addresses: count,
            max_waiting,
            tolerance,
            ..
        } = settings;
        let mut text = format!(
            "[socket]\npath = {:?}\n[vault]\naddress = {:?}\n[auth]\nmethod = \"approle\"\n\
             role_id = \"role\"\nsecret_id = \"secret\"\n[state]\ndir = {:?}\n[admin]\nlisten = \"\"\n\
             [limits]\nmax_waiting = {max_waiting}\n[health]\ntolerance = \"{tolerance}s\"\n\
             fail_after = \"900s\"\n[transit]\nkey = \"kms\"\n",
            path("kms.sock"),
            &addresses[..count],
            path(""),
        );
        if settings.suffix > 0 {
            text += &format!("key_id_suffix = \"s{}\"\n", settings.suffix);
        }
        if let Some(key_id) = &settings.accepted {
            text += &format!("accept_replaced = {key_id:?}\n");
        }
        if settings.seed_cache {
            text += "[outage]\nseed_cache = \"memory\"\n";
            text += &format!("local_kek = {}\n", settings.local_kek);
        }
        std::fs::write(self.path("config.toml"), text).expect("written");
    }
}

impl State {
    pub(super) fn now(&self) -> Duration {
        self.began.0 + self.began.1.map_or(Duration::ZERO, |began| began.elapsed())
    }

    /// A process begins, by its own clock.
    pub(super) fn process_begins(&mut self) {
        self.began.1 = Some(Instant::now());
        self.disturb();
    }

    /// The process ends. Called while its clock runs.
    pub(super) fn process_ends(&mut self) {
        self.began = (self.now(), None);
    }

    pub(super) fn wall_time(&self) -> SystemTime {
        let seconds = 1_700_000_000_i64 + self.wall_step;
        UNIX_EPOCH + Duration::from_secs(seconds as u64) + self.now()
    }

    pub(super) fn note(&mut self, event: &str) {
        let now = self.now();
        self.trace.add(now, event);
    }

    /// Something is wrong now, and explains errors for a while.
    pub(super) fn disturb(&mut self) {
        self.disturbed = self.now();
    }

    /// Something is wrong until it is corrected.
    pub(super) fn set_disturbed(&mut self, is_disturbed: bool) {
        self.is_disturbed = is_disturbed;
        self.disturb();
    }

    /// Whether nothing explains an error of a call that began then.
    pub(super) fn was_calm_at(&self, began: Duration) -> bool {
        !self.is_disturbed && began > self.disturbed + GRACE
    }

    pub(super) fn violation(&mut self, what: &str) {
        let text = format!("VIOLATION {what}");
        self.note(&text);
        self.checks.violations.push(text);
    }
}

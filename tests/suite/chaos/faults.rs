//! The faults: a schedule that follows from its seed alone, and what each of them does.

use std::time::Duration;

use fastrand::Rng;
use rustix::process::Signal;
use tokio::time::sleep;

use super::history::{History, Window};
use super::site::{NODES, Node, Site};
use crate::harness::proxy;

/// How long a fault lasts, in seconds.
const LASTS: std::ops::Range<u64> = 3..40;
/// From the end of one to the next, in seconds; every [`CALM_EACH`]th time long enough for each failure to have ended.
const REST: std::ops::Range<u64> = 2..15;
const CALM: Duration = Duration::from_secs(130);
const CALM_EACH: usize = 12;

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// SIGKILL of the plugin, which starts again at the end.
    KillPlugin(usize),
    /// SIGSTOP of it.
    PausePlugin(usize),
    /// It ends in order and starts again, as in an upgrade.
    UpgradePlugin(usize),
    /// SIGHUP.
    ReloadPlugin(usize),
    /// SIGKILL of kube-apiserver, and its start at the end.
    KillApiserver(usize),
    /// No way from the plugin to any Vault server: refused, or without an answer.
    Partition(usize, bool),
    /// A third of its requests is cut off.
    Loss(usize),
    /// A second more for each request.
    Delay(usize),
    /// Its disk is full.
    FullDisk(usize),
    /// Its clock is so many seconds off.
    Clock(usize, i64),
    /// The leader of Vault gives its office up.
    StepDown,
    /// It is killed, and comes back at the end.
    KillLeader,
    /// It is sealed.
    SealLeader,
    /// The policy is gone.
    Policy,
    /// The key is rotated.
    Rotate,
}

/// One or two faults at a time.
#[derive(Debug)]
struct Step {
    faults: Vec<Fault>,
    lasts: Duration,
    rest: Duration,
}

/// All steps.
pub(super) struct Schedule(Vec<Step>);

/// What ends a fault.
enum End {
    Nothing,
    BringBack(usize),
}

impl Schedule {
    /// As long as this, or a step more.
    pub(super) fn new(mut random: Rng, length: Duration) -> Self {
        let mut steps = Vec::new();
        let mut sum = Duration::ZERO;
        while sum < length {
            let first = Fault::any(&mut random);
            let second = Fault::any(&mut random);
            let both = random.u8(..3) == 0 && first.goes_with(second);
            let step = Step {
                faults: if both {
                    vec![first, second]
                } else {
                    vec![first]
                },
                lasts: Duration::from_millis(random.u64(LASTS.start * 1000..LASTS.end * 1000)),
                rest: if steps.len() % CALM_EACH == CALM_EACH - 1 {
                    CALM
                } else {
                    Duration::from_millis(random.u64(REST.start * 1000..REST.end * 1000))
                },
            };
            sum += step.lasts + step.rest;
            steps.push(step);
        }
        Self(steps)
    }

    /// Carries it out. Returns when what happened.
    pub(super) async fn run(self, site: &Site, history: &History) -> Vec<Window> {
        let mut windows = Vec::new();
        for step in self.0 {
            let began = history.now();
            let mut ends = Vec::new();
            for fault in &step.faults {
                ends.push((*fault, fault.begin(site).await));
            }
            sleep(step.lasts).await;
            while let Some((fault, end)) = ends.pop() {
                fault.end(site, end).await;
            }
            let ended = history.now();
            eprintln!(
                "{:>5} to {:>5} s: {:?}",
                began.as_secs(),
                ended.as_secs(),
                step.faults
            );
            windows.extend(step.faults.iter().map(|fault| Window {
                name: format!("{fault:?}").split('(').next().unwrap().to_owned(),
                node: fault.node(),
                began,
                ended,
            }));
            sleep(step.rest).await;
        }
        windows
    }
}

impl Fault {
    fn any(random: &mut Rng) -> Self {
        let node = random.usize(..NODES);
        match random.u8(..15) {
            0 => Self::KillPlugin(node),
            1 => Self::PausePlugin(node),
            2 => Self::UpgradePlugin(node),
            3 => Self::ReloadPlugin(node),
            4 => Self::KillApiserver(node),
            5 => Self::Partition(node, random.bool()),
            6 => Self::Loss(node),
            7 => Self::Delay(node),
            8 => Self::FullDisk(node),
            9 => Self::Clock(node, random.i64(-7_200..7_200)),
            10 => Self::StepDown,
            11 => Self::KillLeader,
            12 => Self::SealLeader,
            13 => Self::Policy,
            _ => Self::Rotate,
        }
    }

    /// The node that it happens to; `None` is Vault, and so all of them.
    fn node(self) -> Option<usize> {
        match self {
            Self::KillPlugin(node)
            | Self::PausePlugin(node)
            | Self::UpgradePlugin(node)
            | Self::ReloadPlugin(node)
            | Self::KillApiserver(node)
            | Self::Partition(node, _)
            | Self::Loss(node)
            | Self::Delay(node)
            | Self::FullDisk(node)
            | Self::Clock(node, _) => Some(node),
            Self::StepDown | Self::KillLeader | Self::SealLeader | Self::Policy | Self::Rotate => {
                None
            }
        }
    }

    /// Two for Vault at a time would leave no leader to do the second; two for one node would undo each other.
    fn goes_with(self, other: Self) -> bool {
        self.node() != other.node()
    }

    async fn begin(self, site: &Site) -> End {
        if let Some(index) = self.node() {
            self.begin_on(&site.nodes[index]).await;
            return End::Nothing;
        }
        match self {
            Self::StepDown => drop(site.vaults.step_down().await),
            Self::KillLeader => return End::BringBack(site.vaults.kill_leader().await),
            Self::SealLeader => return End::BringBack(site.vaults.seal_leader().await),
            Self::Policy => site.write_policy(false).await,
            _ => {
                let leader = site.vaults.leader().await;
                let (mount, key) = (&site.fixture.mount, &site.fixture.key);
                site.vaults.node(leader).rotate(mount, key).await;
            }
        }
        End::Nothing
    }

    async fn begin_on(self, node: &Node) {
        let on_each_way = |fault: proxy::Fault, share: f64| {
            for way in &node.ways {
                way.fault_share("", fault.clone(), share);
            }
        };
        match self {
            Self::KillPlugin(_) => node.daemon.kill(),
            Self::PausePlugin(_) => node.daemon.signal(Signal::STOP),
            Self::UpgradePlugin(_) => drop(node.daemon.stop().await),
            Self::ReloadPlugin(_) => node.daemon.signal(Signal::HUP),
            Self::KillApiserver(_) => node.kubernetes.kill(),
            Self::Partition(_, true) => on_each_way(proxy::Fault::Refuse, 1.0),
            Self::Partition(_, false) => on_each_way(proxy::Fault::Hang, 1.0),
            Self::Loss(_) => on_each_way(proxy::Fault::Cut, 1.0 / 3.0),
            Self::Delay(_) => on_each_way(proxy::Fault::Delay(Duration::from_secs(1)), 1.0),
            Self::FullDisk(_) => node.disk.fill(),
            Self::Clock(_, seconds) => node.clock.jump(seconds),
            _ => unreachable!("of Vault"),
        }
    }

    async fn end(self, site: &Site, end: End) {
        if let End::BringBack(index) = end {
            site.vaults.bring_back(index).await;
        }
        if self == Self::Policy {
            site.write_policy(true).await;
        }
        let Some(node) = self.node().map(|index| &site.nodes[index]) else {
            return;
        };
        match self {
            Self::KillPlugin(_) | Self::UpgradePlugin(_) => node.start_daemon_again(),
            Self::PausePlugin(_) => node.daemon.signal(Signal::CONT),
            Self::KillApiserver(_) => node.kubernetes.start_again(),
            Self::Partition(..) | Self::Loss(_) | Self::Delay(_) => {
                node.ways.iter().for_each(proxy::Proxy::clear);
            }
            Self::FullDisk(_) => node.disk.free(),
            Self::Clock(..) => node.clock.jump(0),
            _ => {}
        }
    }
}

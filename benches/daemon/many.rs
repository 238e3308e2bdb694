//! All numbers of callers, near Vault and far from it.

use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;

use super::busy;
use super::crowd::{self, Ends, Kind};
use super::distance::Distance;
use super::harness::daemon::Daemon;
use super::harness::kms::KmsClient;
use super::harness::vault::{Fixture, Vault};
use super::table::{self, Cell};
use super::{READY_LIMIT, say};

const CALLERS: [usize; 4] = [1, 16, 64, 256];
const ROUNDS: usize = 3;
const FAR: Duration = Duration::from_millis(5);
/// So many objects with keys of their own.
const CIPHERTEXTS: usize = 2_048;
const CHART: &str = "docs/performance.svg";

pub(super) async fn measured() {
    let vault = Vault::start().await;
    let fixture = vault.fixture().await;
    let mut cells = Vec::new();
    let near = super::daemon(&vault.address(), &fixture).await;
    at_distance(&vault, &fixture, &near, None, &mut cells).await;
    let busy = busy::measured(&vault, &fixture, &near).await;
    let peak = near.peak_rss_kib();
    assert_eq!(near.stop().await, 0, "{}", near.log());
    let wire = Distance::start(vault.socket_address(), FAR);
    let far = super::daemon(&format!("http://{}", wire.address()), &fixture).await;
    at_distance(&vault, &fixture, &far, Some(&wire), &mut cells).await;
    assert_eq!(far.stop().await, 0, "{}", far.log());
    say(&table::table(&cells));
    say(&table::goals(&cells, FAR));
    say(&busy);
    say(&format!(
        "resident memory, most with 256 callers: {:.1} MiB (goal: at most 24)\n",
        peak as f64 / 1024.0
    ));
    table::chart(&cells, &Path::new(env!("CARGO_MANIFEST_DIR")).join(CHART));
}

/// Round by round, every kind in each.
async fn at_distance(
    vault: &Vault,
    fixture: &Fixture,
    daemon: &Daemon,
    wire: Option<&Distance>,
    cells: &mut Vec<Cell>,
) {
    let ciphertexts = ciphertexts(daemon).await;
    let ends = Ends {
        socket: daemon.socket(),
        daemon: daemon.pid(),
        vault,
        wire,
        fixture,
        ciphertexts: &ciphertexts,
    };
    let round_trip = wire.map_or(Duration::ZERO, |_| FAR);
    for callers in CALLERS {
        let begin = cells.len();
        cells.extend(Kind::ALL.map(|kind| Cell {
            kind,
            callers,
            round_trip,
            seen: Vec::new(),
        }));
        for _ in 0..ROUNDS {
            for (place, kind) in Kind::ALL.into_iter().enumerate() {
                let seen = crowd::measure(&ends, kind, callers).await;
                cells[begin + place].seen.push(seen);
            }
        }
    }
}

async fn ciphertexts(daemon: &Daemon) -> Vec<(Vec<u8>, String)> {
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(READY_LIMIT).await;
    let wrap = async |_| {
        let seed: [u8; 32] = std::array::from_fn(|_| fastrand::u8(..));
        client.encrypt(&seed).await.expect("Encrypt works")
    };
    let mut all = Vec::new();
    while all.len() < CIPHERTEXTS {
        all.extend(join_all((0..64).map(wrap)).await);
    }
    all
}

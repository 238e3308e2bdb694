//! The daemon beside another build of it, in turns on one Vault: processor time of each call.
//! `BASELINE_BIN=… cargo bench --bench daemon -- compare`.

use std::path::PathBuf;

use super::crowd::{self, Ends, Kind};
use super::harness::daemon::Daemon;
use super::harness::vault::Vault;
use super::{builder, many, say};

const CALLERS: [usize; 3] = [1, 16, 64];
const ROUNDS: usize = 5;
const KINDS: [Kind; 3] = [Kind::Status, Kind::Encrypt, Kind::Decrypt];

pub(super) async fn measured(baseline: PathBuf) {
    let vault = Vault::start().await;
    let fixture = vault.fixture().await;
    let other = builder(&vault.address(), &fixture).binary(baseline);
    let daemons = [
        ("baseline", other.spawn().await),
        (
            "this build",
            super::daemon(&vault.address(), &fixture).await,
        ),
    ];
    let mut text = format!(
        "{:<12}{:>8}{:>12}{:>12}{:>12}{:>10}{:>10}\n",
        "", "callers", "Status us", "Encrypt us", "Decrypt us", "Encrypt", "Decrypt"
    );
    let ciphertexts = [
        many::ciphertexts(&daemons[0].1).await,
        many::ciphertexts(&daemons[1].1).await,
    ];
    for callers in CALLERS {
        let mut costs: [[Vec<f64>; 3]; 2] = Default::default();
        for _ in 0..ROUNDS {
            for (place, kind) in KINDS.into_iter().enumerate() {
                for ((_, daemon), (ciphertexts, costs)) in
                    daemons.iter().zip(ciphertexts.iter().zip(&mut costs))
                {
                    let ends = ends(&vault, &fixture, daemon, ciphertexts);
                    costs[place].push(crowd::measure(&ends, kind, callers).await.cpu);
                }
            }
        }
        for ((name, _), costs) in daemons.iter().zip(&mut costs) {
            let [status, encrypt, decrypt] = costs.each_mut().map(|costs| median(costs));
            text += &format!(
                "{name:<12}{callers:>8}{status:>12.1}{encrypt:>12.1}{decrypt:>12.1}{:>8.2} x{:>8.2} x\n",
                encrypt / status,
                decrypt / status
            );
        }
    }
    say(&text);
}

fn ends<'a>(
    vault: &'a Vault,
    fixture: &'a super::harness::vault::Fixture,
    daemon: &'a Daemon,
    ciphertexts: &'a [(Vec<u8>, String)],
) -> Ends<'a> {
    Ends {
        socket: daemon.socket(),
        daemon: daemon.pid(),
        vault,
        wire: None,
        fixture,
        ciphertexts,
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

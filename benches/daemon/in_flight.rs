//! How many requests to Vault should be out at a time: `transit.max_in_flight`, near Vault and far.

use std::time::Duration;

use super::crowd::{self, Ends, Kind, Seen};
use super::distance::Distance;
use super::figures::millis;
use super::harness::daemon::Daemon;
use super::harness::vault::Vault;
use super::{builder, many};

/// Without a number it adapts.
const VALUES: [Option<usize>; 5] = [Some(1), Some(2), Some(4), Some(8), None];
const CALLERS: [usize; 2] = [16, 64];
const VARIABLE: &str = "VAULT_KMS_PLUGIN_TRANSIT_MAX_IN_FLIGHT";
const ROUNDS: usize = 3;
const FAR: Duration = Duration::from_millis(5);

/// A daemon with its value.
struct Tried {
    value: Option<usize>,
    daemon: Daemon,
    ciphertexts: Vec<(Vec<u8>, String)>,
}

/// Round by round, every value in each.
pub(super) async fn measured() -> String {
    let vault = Vault::start().await;
    let fixture = vault.fixture().await;
    let wire = Distance::start(vault.socket_address(), FAR);
    let mut text = format!(
        "{:<10}{:>10}{:>16}{:>14}{:>12}\n",
        "distance", "callers", "max_in_flight", "Encrypts/s", "p50"
    );
    for wire in [None, Some(&wire)] {
        let address = wire.map_or(vault.address(), |it| format!("http://{}", it.address()));
        let mut all = Vec::new();
        for value in VALUES {
            let builder = builder(&address, &fixture);
            let builder = match value {
                Some(value) => builder.env(VARIABLE, &value.to_string()),
                None => builder,
            };
            let daemon = builder.spawn().await;
            let ciphertexts = many::ciphertexts(&daemon).await;
            all.push(Tried {
                value,
                daemon,
                ciphertexts,
            });
        }
        for callers in CALLERS {
            let mut seen: [Vec<Seen>; VALUES.len()] = Default::default();
            for _ in 0..ROUNDS {
                for (tried, seen) in all.iter().zip(&mut seen) {
                    let ends = Ends {
                        socket: tried.daemon.socket(),
                        daemon: tried.daemon.pid(),
                        vault: &vault,
                        wire,
                        fixture: &fixture,
                        ciphertexts: &tried.ciphertexts,
                    };
                    seen.push(crowd::measure(&ends, Kind::Encrypt, callers).await);
                }
            }
            let distance = if wire.is_some() { "5 ms" } else { "none" };
            for (tried, seen) in all.iter().zip(seen) {
                text += &row(distance, callers, tried.value, seen);
            }
        }
    }
    text
}

/// The round in the middle.
fn row(distance: &str, callers: usize, value: Option<usize>, mut seen: Vec<Seen>) -> String {
    seen.sort_by(|one, other| one.rate.total_cmp(&other.rate));
    let middle = &seen[seen.len() / 2];
    let value = value.map_or("adapts".to_owned(), |it| it.to_string());
    let p50 = millis(middle.taken.percentile(50));
    format!(
        "{distance:<10}{callers:>10}{value:>16}{:>14.0}{p50:>12}\n",
        middle.rate
    )
}

//! What the fuzz targets of `fuzz/` call where they need what is not public: for any bytes, the properties hold.
//! Compiled for fuzzing and for tests, in which the seeds are inputs.

mod go_duration;

pub use crate::commands::check::fuzzing::encryption_config;
use crate::keys::fuzzing::state_file;
#[cfg(feature = "kmsctl")]
use crate::kmsctl::migrate::fuzzing::migrate_state;
use crate::session::fuzzing::secret_ids;
pub use crate::vault::fuzzing::{vault_items, vault_response};
pub use go_duration::go_duration;

/// Any bytes as each of the files that are kept: what is accepted is read back from what is written of it. The first
/// byte is the file.
///
/// # Panics
/// If that does not hold.
pub fn state_files(input: &[u8]) {
    match input.split_first() {
        Some((b'0', file)) => state_file(file),
        Some((b'1', file)) => secret_ids(file),
        #[cfg(feature = "kmsctl")]
        Some((b'2', file)) => migrate_state(file),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    type Target = fn(&[u8]);

    const CHANGES_OF_A_SEED: usize = 50;

    fn targets() -> Vec<(&'static str, Target)> {
        vec![
            ("encryption_config", encryption_config),
            ("go_duration", go_duration),
            ("state_files", state_files),
            ("vault_items", vault_items),
            ("vault_response", vault_response),
        ]
    }

    fn seeds(target: &str) -> Vec<Vec<u8>> {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/seeds")
            .join(target);
        let files = std::fs::read_dir(&seeds).expect("seeds");
        let files = files.map(|file| std::fs::read(file.expect("a seed").path()).expect("a seed"));
        files.collect()
    }

    /// Without the coverage that leads a fuzzer: what was once found, and that the targets still run.
    #[test]
    fn the_properties_hold_for_every_seed_and_for_changed_ones() {
        let mut random = fastrand::Rng::with_seed(22);
        for (name, target) in targets() {
            let seeds = seeds(name);
            assert!(seeds.len() > 3, "{name}: {} seeds", seeds.len());
            for seed in &seeds {
                target(seed);
                for _ in 0..CHANGES_OF_A_SEED {
                    target(&changed(seed, &mut random));
                }
            }
        }
    }

    fn changed(seed: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..=bytes.len());
            match random.usize(..3) {
                0 => bytes.insert(at, random.u8(..)),
                1 => bytes.truncate(at),
                _ => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << random.u8(..8);
                    }
                }
            }
        }
        bytes
    }
}

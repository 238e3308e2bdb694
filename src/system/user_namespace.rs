//! The user namespace of the process: whether user ids mean the same here as on the host.

/// `nobody`. Users of other namespaces that have no number in this one appear as it, so it
/// identifies nobody there.
pub const NOBODY: u32 = 65534;

/// Whether every user of the host has its own number here, so that [`NOBODY`] is a user like others.
#[must_use]
pub fn maps_every_user() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map");
    map.is_ok_and(|map| is_identity(&map))
}

/// Whether a `uid_map` maps each number to itself.
fn is_identity(map: &str) -> bool {
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_range_mapped_to_itself_is_the_identity() {
        assert!(is_identity("         0          0 4294967295\n"));
        for other in [
            "",
            "0 100000 65536\n",
            "0 0 65536\n",
            "0 1000 1\n1 100000 65536\n",
            "0 0 4294967295\n0 0 1\n",
        ] {
            assert!(!is_identity(other), "{other:?}");
        }
    }
}

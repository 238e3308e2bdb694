//! Which boot of the host this is.

use std::{env, fs};

/// Has the id where `/proc/sys` is hidden (`ProcSubset=pid`): `%b` of a systemd unit.
pub const VARIABLE: &str = "VAULT_KMS_PLUGIN_BOOT_ID";

/// Random, and another one after each boot; the same in all containers of a host (`random(4)`). `None`
/// if it cannot be read.
#[must_use]
pub fn id() -> Option<String> {
    #[cfg(test)]
    if let Some(outside) = super::simulated::outside() {
        return Some(outside.boot());
    }
    let id = env::var(VARIABLE).or_else(|_| fs::read_to_string("/proc/sys/kernel/random/boot_id"));
    // systemd writes it without hyphens.
    let id = id.ok()?.trim().replace('-', "");
    Some(id).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_has_one_id() {
        let boot = id().expect("readable");
        assert_eq!(boot.len(), 32, "{boot}");
        assert_eq!(id(), Some(boot));
    }
}

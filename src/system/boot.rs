//! Which boot of the host this is.

use std::fs;

/// Random, and another one after each boot; the same in all containers of a host (`random(4)`). `None`
/// if it cannot be read.
#[must_use]
pub fn id() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_has_one_id() {
        let boot = id().expect("readable");
        assert_eq!(boot.len(), 36, "{boot}");
        assert_eq!(id(), Some(boot));
    }
}

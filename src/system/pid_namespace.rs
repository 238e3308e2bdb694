//! The pid namespace of the process: where its process id means the same.

use std::fs;

/// Names the namespace: equal in two processes that see each other under the same ids. `None` if it
/// cannot be read.
#[must_use]
pub fn id() -> Option<String> {
    let link = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(link.to_string_lossy().into_owned())
}

/// Whether the first process that is visible here is this program, as in the container of the daemon.
#[must_use]
pub fn is_the_daemons() -> bool {
    let name = |process: &str| fs::read_to_string(format!("/proc/{process}/comm")).ok();
    let first = name("1");
    first.is_some() && first == name("self")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_one() {
        let namespace = id().expect("readable");
        assert!(namespace.starts_with("pid:["), "{namespace}");
    }
}

//! One page of memory that holds a key: locked, so that it is never swapped, in no core dump, and in no child
//! process.
//!
//! `memfd_secret` would also take it out of the kernel's own map, but needs `mmap` of its descriptor, for which
//! there is no safe interface: this crate forbids unsafe code.

use std::fmt;
use std::io;

use memmap2::{Advice, MmapMut};
use zeroize::Zeroize;

use crate::diagnosis::Diagnosis;

/// The smallest page of any platform: it is locked as a whole, however much of it is used.
const LENGTH: usize = 4096;

/// The page. Wiped when dropped.
pub struct LockedPage(MmapMut);

impl LockedPage {
    /// Allocates and locks it.
    ///
    /// # Errors
    /// If the kernel refuses, with what to do about it.
    pub fn new() -> Result<Self, Diagnosis> {
        let page = MmapMut::map_anon(LENGTH).map_err(|error| refused("allocate", &error))?;
        page.lock().map_err(|error| refused("lock", &error))?;
        for advice in [Advice::DontDump, Advice::DontFork] {
            page.advise(advice)
                .map_err(|error| refused("protect", &error))?;
        }
        Ok(Self(page))
    }

    /// Its content.
    #[must_use]
    pub fn expose_secret(&self) -> &[u8] {
        &self.0
    }

    /// Its content, to be written.
    pub fn expose_secret_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

fn refused(what: &str, error: &io::Error) -> Diagnosis {
    Diagnosis::new(format!(
        "the kernel refused to {what} a page of memory: {error}"
    ))
    .with_remedy(
        "let the process lock at least 64 KiB: LimitMEMLOCK= of the systemd unit, or RLIMIT_MEMLOCK of the \
         container",
    )
}

impl Drop for LockedPage {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for LockedPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockedPage(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_locked_and_in_no_dump() {
        let mut page = LockedPage::new().expect("a page");
        page.expose_secret_mut()[..4].copy_from_slice(b"seed");
        let address = page.expose_secret().as_ptr() as usize;
        let maps = std::fs::read_to_string("/proc/self/smaps").expect("the maps");
        let start = format!("{address:x}-");
        let of_page = maps.split_inclusive("\nVmFlags:").collect::<Vec<_>>();
        let at = of_page
            .iter()
            .position(|text| text.lines().any(|line| line.starts_with(&start)))
            .expect("a mapping of its own");
        let flags = of_page[at + 1].lines().next().expect("flags");
        for flag in ["lo", "dd", "dc"] {
            assert!(
                flags.split_whitespace().any(|it| it == flag),
                "{flag}: {flags}"
            );
        }
        assert_eq!(format!("{page:?}"), "LockedPage(redacted)");
    }
}

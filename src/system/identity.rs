//! Another user: taken on by this thread for a while, to see what that one may reach and whom the other end
//! of a socket sees; or by the whole process for good.

use std::io;

use rustix::process::{
    DumpableBehavior, Gid, Uid, getegid, geteuid, getgroups, set_dumpable_behavior,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use super::pid_namespace;

/// Who a process is to the file system and to sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
    /// Its supplementary groups.
    pub groups: Vec<u32>,
    /// Whether it may read and write what its user and groups may not, as root usually may.
    pub overrides: bool,
}

/// The thread is somebody else until this is dropped.
#[derive(Debug)]
pub struct Assumed {
    before: Identity,
    capabilities: CapabilitySets,
}

/// What lets root pass by the modes of files.
const OVERRIDES: CapabilitySet = CapabilitySet::DAC_OVERRIDE.union(CapabilitySet::DAC_READ_SEARCH);

impl Identity {
    /// Of this process.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn own() -> io::Result<Self> {
        Ok(Self {
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            groups: getgroups()?.into_iter().map(Gid::as_raw).collect(),
            overrides: capabilities(None)?.effective.intersects(OVERRIDES),
        })
    }

    /// A user of one group, who is not root.
    #[must_use]
    pub fn of_user(uid: u32, gid: u32) -> Self {
        Self {
            uid,
            gid,
            groups: Vec::new(),
            overrides: false,
        }
    }

    /// Of the process whose `/proc/<pid>/status` this is.
    #[must_use]
    pub fn read(status: &str) -> Option<Self> {
        let numbers = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let numbers = line.split_ascii_whitespace().map(str::parse);
            numbers.collect::<Result<Vec<u32>, _>>().ok()
        };
        let effective = status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))?;
        let effective = u64::from_str_radix(effective.trim(), 16).ok()?;
        // Real, effective, saved, file system.
        Some(Self {
            uid: *numbers("Uid:")?.get(1)?,
            gid: *numbers("Gid:")?.get(1)?,
            groups: numbers("Groups:")?,
            overrides: CapabilitySet::from_bits_retain(effective).intersects(OVERRIDES),
        })
    }

    /// In a container whose first process is this program, root that is bound by the modes of files becomes
    /// the user of that process for good: so a command that a container runtime starts beside the daemon sees
    /// what the daemon sees.
    ///
    /// # Errors
    /// If it may not.
    pub fn join_the_daemon() -> io::Result<()> {
        let own = Self::own()?;
        if own.uid != 0 || own.overrides {
            return Ok(());
        }
        if !pid_namespace::is_the_daemons() {
            return Ok(());
        }
        let first = std::fs::read_to_string("/proc/1/status").ok();
        let first = first.and_then(|status| Self::read(&status));
        match first.filter(|first| first.uid != 0) {
            Some(first) => first.assume_for_good(),
            None => Ok(()),
        }
    }

    /// Makes this thread that one.
    ///
    /// # Errors
    /// If it is another one, and this thread is not root.
    pub fn assume(&self) -> io::Result<Assumed> {
        let capabilities = capabilities(None)?;
        let assumed = Assumed {
            before: Self::own()?,
            capabilities,
        };
        self.take()?;
        if !self.overrides {
            let effective = rustix::thread::capabilities(None)?.effective - OVERRIDES;
            set_capabilities(
                None,
                CapabilitySets {
                    effective,
                    ..capabilities
                },
            )?;
        }
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        Ok(assumed)
    }

    /// Makes this process that one, without a way back and without a capability. Has to come before any
    /// thread, which would stay what it is.
    ///
    /// # Errors
    /// If the process has threads, if it is neither root nor that user, or if anything is left of what it
    /// was: then it must not go on.
    pub fn assume_for_good(&self) -> io::Result<()> {
        if std::fs::read_dir("/proc/self/task")?.count() != 1 {
            return Err(io::Error::other("the process has other threads"));
        }
        set_no_new_privs(true)?;
        if !self.is_own()? {
            let groups: Vec<_> = self.groups.iter().copied().map(Gid::from_raw).collect();
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            for capability in CapabilitySet::all().iter() {
                // Needs CAP_SETPCAP; without new privileges it makes no difference.
                let _ = remove_capability_from_bounding_set(capability);
            }
            set_thread_groups(&groups)?;
            set_thread_res_gid(Some(gid), Some(gid), Some(gid))?;
            set_thread_res_uid(Some(uid), Some(uid), Some(uid))?;
        }
        let none = CapabilitySet::empty();
        set_capabilities(
            None,
            CapabilitySets {
                effective: none,
                permitted: none,
                inheritable: none,
            },
        )?;
        let is_back = self.uid != 0 && set_thread_res_uid(None, Some(Uid::ROOT), None).is_ok();
        if is_back || !self.is_own()? || !capabilities(None)?.permitted.is_empty() {
            return Err(io::Error::other("the system kept a way back"));
        }
        // A change of the user resets it.
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        Ok(())
    }

    /// Whether this thread is that one. Container runtimes list the group among the supplementary ones, too.
    fn is_own(&self) -> io::Result<bool> {
        let own = Self::own()?;
        let same = |groups: &[u32]| {
            let mut groups: Vec<_> = groups
                .iter()
                .copied()
                .filter(|it| *it != self.gid)
                .collect();
            groups.sort_unstable();
            groups
        };
        Ok((own.uid, own.gid) == (self.uid, self.gid) && same(&own.groups) == same(&self.groups))
    }

    /// The user last: with it goes the right to change the groups.
    fn take(&self) -> io::Result<()> {
        if self.is_own()? {
            return Ok(());
        }
        let groups: Vec<_> = self.groups.iter().copied().map(Gid::from_raw).collect();
        set_thread_groups(&groups)?;
        set_thread_res_gid(None, Some(Gid::from_raw(self.gid)), None)?;
        set_thread_res_uid(None, Some(Uid::from_raw(self.uid)), None)?;
        Ok(())
    }
}

impl Drop for Assumed {
    fn drop(&mut self) {
        // The user first: with it comes the right to change the groups back.
        let _ = set_thread_res_uid(None, Some(Uid::from_raw(self.before.uid)), None);
        let _ = self.before.take();
        let _ = set_capabilities(None, self.capabilities);
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_ids_of_a_process_are_read() {
        let status = "Name:\tkube-apiserver\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t9 10 \nCapEff:\t0000000000000400\n";
        let mut identity = Identity {
            uid: 2,
            gid: 6,
            groups: vec![9, 10],
            overrides: false,
        };
        assert_eq!(Identity::read(status), Some(identity.clone()));
        identity.overrides = true;
        let of_root = status.replace("0400", "0402");
        assert_eq!(Identity::read(&of_root), Some(identity));
        assert_eq!(Identity::read("Uid:\t1\t2\n"), None);
    }

    #[test]
    fn this_process_is_itself() {
        let status = std::fs::read_to_string("/proc/thread-self/status").expect("its status");
        let mut read = Identity::read(&status).expect("its ids");
        let mut own = Identity::own().expect("its ids");
        read.groups.sort_unstable();
        own.groups.sort_unstable();
        assert_eq!(own, read);
        let _assumed = own.assume().expect("nothing to change");
    }

    #[test]
    fn the_group_among_the_supplementary_ones_makes_no_difference() {
        let own = Identity::own().expect("its ids");
        let mut twice = own.clone();
        twice.groups.push(own.gid);
        assert!(twice.is_own().expect("its ids"));
        twice.groups.push(own.gid + 12_345);
        assert!(!twice.is_own().expect("its ids"));
    }
}

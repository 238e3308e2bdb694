//! `prepare-dir`: gives the socket's directory to the user that the plugin runs as. kubelet creates it
//! for root, and the image has no shell.
//!
//! It runs as root with no capability but `CAP_CHOWN`. It follows no link and checks each file before
//! it changes it, through a descriptor and not by name: the directory's owner could swap them.

use std::fmt::Display;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::str::FromStr;

use rustix::fs::{self, AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;
use thiserror::Error;

use crate::system::identity::Identity;

/// The suffixes of the files that the plugin keeps beside its socket.
const OUR_FILES: [&str; 5] = [
    ".lock",
    ".state.json",
    ".state.new",
    ".secret-id.json",
    ".secret-id.new",
];
/// A user who may write here could replace the plugin's socket.
const OTHERS_WRITE: u32 = 0o022;

/// A user and a group by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    uid: u32,
    gid: u32,
}

/// Why the directory was not prepared.
#[derive(Debug, Error)]
#[error("{path}: {problem}")]
pub struct PrepareError {
    path: String,
    problem: String,
}

impl FromStr for Owner {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| {
            // The kernel reads the highest number as "do not change".
            text.parse::<u32>().ok().filter(|id| *id != u32::MAX)
        };
        let owner = text.split_once(':').and_then(|(uid, gid)| {
            Some(Self {
                uid: number(uid)?,
                gid: number(gid)?,
            })
        });
        owner.ok_or_else(|| format!("{text:?} is not of the form UID:GID, in numbers"))
    }
}

impl Owner {
    /// Makes this process that user for good.
    ///
    /// # Errors
    /// If it is neither root nor that user already.
    pub fn become_it(self) -> Result<(), PrepareError> {
        let Self { uid, gid } = self;
        Identity::of_user(uid, gid).assume_for_good().map_err(|error| {
            let problem = format!(
                "this process cannot become user {uid} of group {gid}: {error}; run it as root with the capabilities SETUID and \
                 SETGID, or as that user without other groups"
            );
            refused(&"--user", problem)
        })
    }

    fn has(self, stat: &Stat) -> bool {
        (stat.st_uid, stat.st_gid) == (self.uid, self.gid)
    }
}

/// Gives the directory to `owner`, and what an earlier plugin left in it: its state, and sockets,
/// because only their owner can find out that nothing listens there. Other files are not changed.
///
/// # Errors
/// As [`PrepareError`]. What was changed before stays changed; the next run continues.
pub fn prepare(dir: &Path, owner: Owner) -> Result<(), PrepareError> {
    let path = dir.display();
    if !dir.is_absolute() {
        return Err(refused(&path, "is no absolute path"));
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = fs::openat(CWD, dir, flags, Mode::empty());
    let opened = opened.map_err(|error| match error {
        Errno::NOTDIR | Errno::LOOP => refused(&path, "is no directory"),
        Errno::ACCESS => {
            let cause = "cannot be opened: Permission denied; as root a security module such as SELinux \
                forbids it: its audit log names the rule (ausearch -m avc)";
            refused(&path, cause)
        }
        error => refused(&path, format!("cannot be opened: {error}")),
    })?;
    let stat = fs::fstat(&opened).map_err(|error| refused(&path, error))?;
    if stat.st_mode & OTHERS_WRITE != 0 {
        let problem = "others than its owner may write here: remove that permission (chmod 0755)";
        return Err(refused(&path, problem));
    }
    // The directory last: its new owner could add files meanwhile.
    for name in names(&opened).map_err(|error| refused(&path, error))? {
        let path = dir.join(&name);
        give_file(&opened, &name, owner).map_err(|error| cannot_give(&path.display(), error))?;
    }
    give(&opened, &stat, owner).map_err(|error| cannot_give(&path, error))
}

fn names(dir: &OwnedFd) -> Result<Vec<String>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        // A name that is not UTF-8 is none of the plugin's.
        names.extend(entry?.file_name().to_str().map(str::to_owned));
    }
    Ok(names)
}

/// Gives one file to the owner, if it is the plugin's.
fn give_file(dir: &OwnedFd, name: &str, owner: Owner) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match fs::openat(dir, name, flags, Mode::empty()) {
        Ok(file) => file,
        // A running plugin replaces its files.
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error),
    };
    let stat = fs::fstat(&file)?;
    let ours = match FileType::from_raw_mode(stat.st_mode) {
        // A file with a second hard link is not only the plugin's.
        _ if stat.st_nlink != 1 => false,
        FileType::Socket => true,
        FileType::RegularFile => OUR_FILES.iter().any(|end| name.ends_with(end)),
        _ => false,
    };
    if ours {
        give(&file, &stat, owner)
    } else {
        Ok(())
    }
}

/// Changes nothing, and so needs no capability, if the owner is already right.
fn give(file: impl AsFd, stat: &Stat, owner: Owner) -> Result<(), Errno> {
    if owner.has(stat) {
        return Ok(());
    }
    let uid = Uid::from_raw(owner.uid);
    let gid = Gid::from_raw(owner.gid);
    fs::chownat(file, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
}

fn cannot_give(path: &dyn Display, error: Errno) -> PrepareError {
    let remedy = match error {
        Errno::PERM => "; run this as root with the capability CAP_CHOWN",
        // Root has every permission that is one of the file's.
        Errno::ACCESS => {
            "; a security module such as SELinux forbids it: its audit log names the rule (ausearch -m avc)"
        }
        _ => "",
    };
    refused(
        path,
        format!("its owner cannot be changed: {error}{remedy}"),
    )
}

fn refused(path: &dyn Display, problem: impl Display) -> PrepareError {
    PrepareError {
        path: path.to_string(),
        problem: problem.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir, set_permissions, write};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use rustix::process::{getegid, geteuid};

    use super::*;

    /// The user who runs the tests: giving to them needs no capability.
    fn me() -> Owner {
        Owner {
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
        }
    }

    #[test]
    fn an_owner_is_two_numbers() {
        let owner = Owner { uid: 7, gid: 8 };
        assert_eq!("7:8".parse(), Ok(owner));
        for wrong in [
            "7",
            "7:",
            ":8",
            "root:root",
            "7:8:9",
            "-1:0",
            "4294967295:0",
        ] {
            assert!(wrong.parse::<Owner>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_directory_is_refused() {
        let dir = tempfile::tempdir().expect("directory");
        let (real, link, file) = (
            dir.path().join("real"),
            dir.path().join("link"),
            dir.path().join("file"),
        );
        create_dir(&real).expect("made");
        symlink(&real, &link).expect("linked");
        write(&file, "").expect("written");
        for wrong in [link.as_path(), &file, Path::new("relative")] {
            assert!(prepare(wrong, me()).is_err(), "{}", wrong.display());
        }
        prepare(&real, me()).expect("prepared");
    }

    #[test]
    fn a_directory_that_others_write_to_is_refused() {
        let dir = tempfile::tempdir().expect("directory");
        set_permissions(dir.path(), PermissionsExt::from_mode(0o1777)).expect("it is ours");
        let error = prepare(dir.path(), me()).expect_err("refused");
        assert!(error.to_string().contains("chmod 0755"), "{error}");
    }

    /// Only root can change owners; for others it is refused, and nothing changes.
    #[test]
    fn our_own_files_go_with_the_directory_and_others_stay() {
        let dir = tempfile::tempdir().expect("directory");
        let path = |name: &str| dir.path().join(name);
        let outside = tempfile::tempdir().expect("directory");
        let passwd = outside.path().join("passwd");
        let linked = outside.path().join("linked");
        let lock = path("kms.sock.lock");
        for file in [
            &passwd,
            &linked,
            &lock,
            &path("kms.state.json"),
            &path("other"),
        ] {
            write(file, "").expect("written");
        }
        symlink(&passwd, path("a.state.json")).expect("linked");
        std::fs::hard_link(&linked, path("b.state.json")).expect("linked");
        let _stale = UnixListener::bind(path("kms.sock")).expect("bound");
        let owner = Owner {
            uid: 60_790,
            gid: 60_791,
        };
        let given = prepare(dir.path(), owner);
        let owner_of = |path: &Path| {
            let data = std::fs::symlink_metadata(path).expect("there");
            (data.uid(), data.gid())
        };
        let mine = (me().uid, me().gid);
        for kept in [&passwd, &linked, &path("other"), &path("a.state.json")] {
            assert_eq!(owner_of(kept), mine, "{}", kept.display());
        }
        let ours = [
            dir.path(),
            &lock,
            &path("kms.state.json"),
            &path("kms.sock"),
        ];
        if me().uid == 0 {
            given.expect("given away");
            for given in ours {
                assert_eq!(owner_of(given), (60_790, 60_791), "{}", given.display());
            }
        } else {
            let error = given.expect_err("refused").to_string();
            assert!(error.contains("CAP_CHOWN"), "{error}");
        }
    }
}

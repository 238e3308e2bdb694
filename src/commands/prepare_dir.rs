//! `prepare-dir`: gives the socket's directory to the user that the plugin runs as. kubelet makes it
//! for root, and there is no shell in the image.
//!
//! It runs as root with `CAP_CHOWN` and nothing else. It follows no link and looks at each file
//! before it changes it, by the file and not by its name: who owns the directory could swap them.

use std::fmt::Display;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::str::FromStr;

use rustix::fs::{self, AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;
use thiserror::Error;

/// What the plugin keeps beside its socket, and the same while it is written.
const OUR_FILES: [&str; 4] = [
    ".state.json",
    ".state.new",
    ".secret-id.json",
    ".secret-id.new",
];
/// Who may write here could put a socket of his own in the plugin's place.
const OTHERS_WRITE: u32 = 0o022;

/// A user and a group by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    uid: u32,
    gid: u32,
}

/// Why the directory was not given away.
#[derive(Debug, Error)]
#[error("{place}: {problem}")]
pub struct FolderError {
    place: String,
    problem: String,
}

impl FromStr for Owner {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| {
            // The kernel takes the highest number for "leave it as it is".
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
    fn has(self, stat: &Stat) -> bool {
        (stat.st_uid, stat.st_gid) == (self.uid, self.gid)
    }
}

/// Gives the directory to `owner`, and what an earlier plugin left in it: its state, and sockets, whose
/// owner alone can find out that nobody listens there any more. All else stays as it is.
///
/// # Errors
/// As [`FolderError`]. What was given away before stays so; the next try goes on from there.
pub fn prepare(dir: &Path, owner: Owner) -> Result<(), FolderError> {
    let place = dir.display();
    if !dir.is_absolute() {
        return Err(refused(&place, "is no absolute path"));
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = fs::openat(CWD, dir, flags, Mode::empty());
    let opened = opened.map_err(|error| match error {
        Errno::NOTDIR | Errno::LOOP => refused(&place, "is no directory"),
        error => refused(&place, format!("cannot be opened: {error}")),
    })?;
    let stat = fs::fstat(&opened).map_err(|error| refused(&place, error))?;
    if stat.st_mode & OTHERS_WRITE != 0 {
        let problem =
            "others than its owner may write here: take that right from them (chmod 0755)";
        return Err(refused(&place, problem));
    }
    // The directory at last: its owner could add files to it meanwhile.
    for name in names(&opened).map_err(|error| refused(&place, error))? {
        let place = dir.join(&name);
        give_file(&opened, &name, owner).map_err(|error| cannot_give(&place.display(), error))?;
    }
    give(&opened, &stat, owner).map_err(|error| cannot_give(&place, error))
}

fn names(dir: &OwnedFd) -> Result<Vec<String>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        // A name that is no text is none of ours.
        names.extend(entry?.file_name().to_str().map(str::to_owned));
    }
    Ok(names)
}

/// Gives one file away, if it is ours.
fn give_file(dir: &OwnedFd, name: &str, owner: Owner) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match fs::openat(dir, name, flags, Mode::empty()) {
        Ok(file) => file,
        // A plugin that runs replaces its files.
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error),
    };
    let stat = fs::fstat(&file)?;
    let ours = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Socket => true,
        // One with another name elsewhere is not only ours.
        FileType::RegularFile => {
            stat.st_nlink == 1 && OUR_FILES.iter().any(|end| name.ends_with(end))
        }
        _ => false,
    };
    match ours {
        true => give(&file, &stat, owner),
        false => Ok(()),
    }
}

/// What has the owner already needs no right to be given away.
fn give(file: impl AsFd, stat: &Stat, owner: Owner) -> Result<(), Errno> {
    if owner.has(stat) {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    fs::chownat(file, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
}

fn cannot_give(place: &dyn Display, error: Errno) -> FolderError {
    let remedy = match error {
        Errno::PERM => "; this has to run as root with the capability CAP_CHOWN",
        _ => "",
    };
    refused(place, format!("cannot be given away: {error}{remedy}"))
}

fn refused(place: &dyn Display, problem: impl Display) -> FolderError {
    FolderError {
        place: place.to_string(),
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

    /// Who runs the tests: giving to him needs no right.
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

    /// Only root can give anything away: elsewhere that is refused, and nothing changes.
    #[test]
    fn our_own_files_go_with_the_directory_and_others_stay() {
        let dir = tempfile::tempdir().expect("directory");
        let path = |name: &str| dir.path().join(name);
        let outside = tempfile::tempdir().expect("directory");
        let passwd = outside.path().join("passwd");
        let linked = outside.path().join("linked");
        for file in [&passwd, &linked, &path("kms.state.json"), &path("other")] {
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
        let ours = [dir.path(), &path("kms.state.json"), &path("kms.sock")];
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

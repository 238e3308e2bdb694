//! Who could change a file besides root and the user of the process: its owner, a mode that lets
//! others write, a directory in which others can replace it. As OpenSSH judges its files. All of it
//! blocks.

use std::fmt;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, major, minor, statvfs};

use super::user_namespace::{self, NOBODY};

const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
/// Only the owner of a file may replace it, as in /tmp.
const STICKY: u32 = 0o1000;
/// Its members may do what root may, or it has none.
const ROOT_GROUP: u32 = 0;

/// Somebody else could change a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weakness {
    /// The file, or a directory above it; symbolic links are followed.
    pub path: PathBuf,
    /// Who, and how.
    pub access: Access,
    owner: u32,
    is_dir: bool,
}

/// Who has access that they should not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The owner, who is neither root nor the user of this process.
    Owner {
        /// The owner.
        uid: u32,
    },
    /// Every user.
    Everybody {
        /// The mode that allows it.
        mode: u32,
    },
    /// The members of a group.
    Group {
        /// The group.
        gid: u32,
        /// The mode that allows it.
        mode: u32,
    },
}

/// The users that may change everything that is judged.
struct Trusted {
    own: Option<u32>,
    /// Whether [`NOBODY`] may be the host's root.
    nobody: bool,
}

/// What could be changed by others than root and the user `own`: this file, or a directory above it.
/// Nothing can if it is missing, or on a file system that is read-only. Of a directory that is only mounted
/// read-only here, such as the `ConfigMap` of a pod, the mode says nothing: kubelet makes it 0777 below a
/// directory of its own. Not so in a service of systemd, where `ProtectSystem=` makes all mounts read-only
/// that others can write through. `own` is `None` if the user is not known: then any owner is accepted.
#[must_use]
pub fn weaknesses(path: &Path, own: Option<u32>) -> Vec<Weakness> {
    // What cannot be found cannot be read either, which its reader reports.
    let Ok(path) = fs::canonicalize(path) else {
        return Vec::new();
    };
    let trusted = Trusted {
        own,
        nobody: !user_namespace::maps_every_user(),
    };
    let weakness = |path: &Path| {
        let data = fs::metadata(path).ok()?;
        if is_read_only(&data) || (data.is_dir() && is_mounted_read_only(path)) {
            return None;
        }
        Some(Weakness {
            path: path.to_owned(),
            access: trusted.others_access(&data)?,
            owner: data.uid(),
            is_dir: data.is_dir(),
        })
    };
    path.ancestors().filter_map(weakness).collect()
}

/// The same for the files of a directory, and the directory itself.
#[must_use]
pub fn weaknesses_in(dir: &Path, own: Option<u32>) -> Vec<Weakness> {
    let mut all = weaknesses(dir, own);
    for file in super::watched_file::files_in(dir).unwrap_or_default() {
        for weakness in weaknesses(&file, own) {
            if !all.contains(&weakness) {
                all.push(weakness);
            }
        }
    }
    all
}

/// Whether nobody can write to this file system, wherever it is mounted (proc_pid_mountinfo(5)).
fn is_read_only(data: &Metadata) -> bool {
    let device = format!("{}:{}", major(data.dev()), minor(data.dev()));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts.lines().any(|line| {
        let options = line.rsplit(' ').next().unwrap_or_default();
        line.split(' ').nth(2) == Some(&device) && options.split(',').any(|it| it == "ro")
    })
}

/// Whether a volume is mounted here: the fifth field of `proc_pid_mountinfo(5)`.
fn is_mount_point(path: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let path = path.to_str().unwrap_or_default().replace(' ', "\\040");
    mounts
        .lines()
        .any(|line| line.split(' ').nth(4) == Some(&path))
}

/// Whether it is mounted read-only here, and not only because systemd started this process.
fn is_mounted_read_only(path: &Path) -> bool {
    std::env::var_os("INVOCATION_ID").is_none()
        && statvfs(path).is_ok_and(|mount| mount.f_flag.contains(StatVfsMountFlags::RDONLY))
}

impl Trusted {
    fn others_access(&self, data: &Metadata) -> Option<Access> {
        let (uid, gid) = (data.uid(), data.gid());
        let mode = data.mode() & 0o7777;
        let is_trusted = uid == 0 || (self.nobody && uid == NOBODY);
        if !is_trusted && self.own.is_some_and(|own| uid != own) {
            return Some(Access::Owner { uid });
        }
        if data.is_dir() && mode & STICKY != 0 {
            return None;
        }
        if mode & OTHERS_WRITE != 0 {
            return Some(Access::Everybody { mode });
        }
        let is_open = mode & GROUP_WRITES != 0 && gid != ROOT_GROUP;
        is_open.then_some(Access::Group { gid, mode })
    }
}

impl Weakness {
    /// Whether it is a directory that a group may write to: some systems have such on purpose, as
    /// Debian has /usr/local.
    #[must_use]
    pub fn is_group_of_directory(&self) -> bool {
        self.is_dir && matches!(self.access, Access::Group { .. })
    }

    /// Whether it is how a pod's volumes are: a file belongs to the user of another container, or the root of a
    /// volume has mode 0777, as kubelet makes it. On the node all of them are below a directory of root's that
    /// nobody else may enter, so that only the containers that mount the volume reach it. A file that everybody may
    /// write is none of that.
    #[must_use]
    pub fn is_of_a_pod(&self) -> bool {
        match self.access {
            Access::Owner { .. } => true,
            Access::Everybody { .. } | Access::Group { .. } => {
                self.is_dir && is_mount_point(&self.path)
            }
        }
    }

    /// The command that ends it.
    #[must_use]
    pub fn remedy(&self) -> String {
        let command = match self.access {
            Access::Owner { .. } => "chown root",
            Access::Everybody { .. } => "chmod go-w",
            Access::Group { .. } => "chmod g-w",
        };
        format!("{command} {}", self.path.display())
    }

    /// The command that ends it, and leaves the directory to a user who writes there: without the
    /// mode that lets everybody, one who does not own it could not.
    #[must_use]
    pub fn remedy_for_writer(&self, writer: Option<u32>) -> String {
        let path = self.path.display();
        match writer {
            Some(writer) if writer != self.owner => {
                format!("chown {writer} {path} && chmod go-w {path}")
            }
            Some(_) => self.remedy(),
            None => format!("let it belong to the plugin's user, then chmod go-w {path}"),
        }
    }
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        let change = if self.is_dir {
            "replace what is in it"
        } else {
            "change it"
        };
        match self.access {
            Access::Owner { uid } => write!(f, "{path} belongs to uid {uid}, who can {change}"),
            Access::Everybody { mode } => {
                write!(f, "{path} has mode {mode:04o}: every user can {change}")
            }
            Access::Group { gid, mode } => {
                write!(f, "{path} has mode {mode:04o}: group {gid} can {change}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions");
    }

    /// The texts of what is weak from this path up to a directory of the test.
    fn found(path: &Path, below: &Path) -> Vec<String> {
        let below = fs::canonicalize(below).expect("a directory");
        let all = weaknesses(path, None).into_iter();
        let ours = all.filter(|it| it.path.starts_with(&below));
        ours.map(|it| format!("{it}; {}", it.remedy())).collect()
    }

    #[test]
    fn a_mode_that_lets_others_write_is_found_on_the_target_and_on_directories() {
        let root = tempfile::tempdir().expect("a directory");
        let dir = root.path().join("dir");
        fs::create_dir(&dir).expect("a directory");
        let (file, link) = (dir.join("file"), root.path().join("link"));
        fs::write(&file, "").expect("written");
        symlink(&file, &link).expect("linked");
        for (of_dir, of_file) in [(0o755, 0o644), (0o1777, 0o600)] {
            set_mode(&dir, of_dir);
            set_mode(&file, of_file);
            assert_eq!(found(&link, root.path()), Vec::<String>::new());
        }
        set_mode(&dir, 0o757);
        set_mode(&file, 0o646);
        let (dir, file) = (fs::canonicalize(&dir), fs::canonicalize(&file));
        let (dir, file) = (dir.expect("a directory"), file.expect("a file"));
        let (dir, file) = (dir.display(), file.display());
        let expected = [
            format!("{file} has mode 0646: every user can change it; chmod go-w {file}"),
            format!("{dir} has mode 0757: every user can replace what is in it; chmod go-w {dir}"),
        ];
        assert_eq!(found(&link, root.path()), expected);
        assert_eq!(weaknesses(Path::new("/nonexistent"), None), []);
    }

    #[test]
    fn another_owner_is_found_unless_it_is_root_or_may_be() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let data = file.as_file().metadata().expect("metadata");
        let access = |own, nobody| Trusted { own, nobody }.others_access(&data);
        assert_eq!(access(Some(data.uid()), false), None);
        assert_eq!(access(None, false), None);
        let other = match data.uid() {
            0 => None,
            uid => Some(Access::Owner { uid }),
        };
        assert_eq!(access(Some(4242), false), other);
    }

    #[test]
    fn the_remedy_leaves_a_directory_to_the_user_who_writes_there() {
        let root = tempfile::tempdir().expect("a directory");
        set_mode(root.path(), 0o777);
        let dir = fs::canonicalize(root.path()).expect("a directory");
        let weak = weaknesses(&dir, None);
        let weak = weak.iter().find(|it| it.path == dir).expect("weak");
        let (owner, dir) = (weak.owner, dir.display());
        assert_eq!(
            weak.remedy_for_writer(Some(owner)),
            format!("chmod go-w {dir}")
        );
        assert_eq!(
            weak.remedy_for_writer(Some(owner + 1)),
            format!("chown {} {dir} && chmod go-w {dir}", owner + 1)
        );
        assert_eq!(
            weak.remedy_for_writer(None),
            format!("let it belong to the plugin's user, then chmod go-w {dir}")
        );
    }
}

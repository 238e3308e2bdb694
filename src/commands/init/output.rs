//! Writes the files: all of them, or none.

use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use tempfile::NamedTempFile;

use crate::system::file_trust::{Access, weaknesses};

const OTHERS_WRITE: u32 = 0o002;

/// A file to be written.
pub(in crate::commands) struct OutputFile {
    pub(in crate::commands) name: &'static str,
    /// What it is for.
    pub(in crate::commands) about: &'static str,
    pub(in crate::commands) content: String,
}

/// Why nothing was written.
#[derive(Debug)]
pub(in crate::commands) struct WriteError {
    path: PathBuf,
    cause: io::Error,
}

impl OutputFile {
    pub(in crate::commands) fn new(
        name: &'static str,
        about: &'static str,
        content: String,
    ) -> Self {
        Self {
            name,
            about,
            content,
        }
    }
}

/// Without the content, which may be a secret.
impl fmt::Debug for OutputFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OutputFile").field(&self.name).finish()
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.cause.kind() {
            io::ErrorKind::AlreadyExists => write!(
                f,
                "{path} exists, and nothing was written: move it away, or name another directory with --out"
            ),
            _ => write!(
                f,
                "{path}: cannot be written, and nothing was: {}",
                self.cause
            ),
        }
    }
}

/// Writes the files into the directory, which is created if it is missing. They are for their owner alone:
/// credentials will lie beside them.
///
/// # Errors
/// If one exists, or cannot be written. What was written before is removed again.
pub(in crate::commands) fn write(dir: &Path, files: &[OutputFile]) -> Result<(), WriteError> {
    let error = |path: &Path, cause| WriteError {
        path: path.to_owned(),
        cause,
    };
    for file in files {
        let path = dir.join(file.name);
        match path.symlink_metadata() {
            Ok(_) => return Err(error(&path, io::ErrorKind::AlreadyExists.into())),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(error(&path, cause)),
        }
    }
    others_cannot_write(dir)?;
    let is_new = !dir.exists();
    let mut builder = fs::DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(dir);
    made.map_err(|cause| error(dir, cause))?;
    let mut done = Vec::new();
    let written = write_each(dir, files, &mut done);
    written.map_err(|(path, cause)| {
        for path in &done {
            let _ = fs::remove_file(path);
        }
        if is_new {
            let _ = fs::remove_dir(dir);
        }
        error(&path, cause)
    })
}

/// The operator of Vault runs one of the files, and credentials will lie beside it: nobody else may replace
/// them. Where only the owner of a file may, as in /tmp, another user could still make their directory first.
fn others_cannot_write(dir: &Path) -> Result<(), WriteError> {
    let existing = dir.ancestors().find(|path| path.exists());
    let existing = existing.unwrap_or(Path::new("."));
    let mut open = weaknesses(existing, None)
        .into_iter()
        .filter(|one| matches!(one.access, Access::Everybody { .. }))
        .map(|one| one.path);
    let open = open.next().or_else(|| {
        let data = dir.metadata().ok()?;
        (data.permissions().mode() & OTHERS_WRITE != 0).then(|| dir.to_owned())
    });
    open.map_or(Ok(()), |path| {
        let cause = "every user can write to it, and so replace what the operator of Vault runs: \
            name another directory with --out";
        Err(WriteError {
            path,
            cause: io::Error::other(cause),
        })
    })
}

fn write_each(
    dir: &Path,
    files: &[OutputFile],
    done: &mut Vec<PathBuf>,
) -> Result<(), (PathBuf, io::Error)> {
    let mut temporary = Vec::new();
    for file in files {
        let path = dir.join(file.name);
        let written = NamedTempFile::new_in(dir).and_then(|mut one| {
            one.write_all(file.content.as_bytes())?;
            Ok(one)
        });
        match written {
            Ok(one) => temporary.push((one, path)),
            Err(cause) => return Err((path, cause)),
        }
    }
    for (one, path) in temporary {
        // Another process may have made one meanwhile.
        match one.persist_noclobber(&path) {
            Ok(_) => done.push(path),
            Err(error) => return Err((path, error.error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> [OutputFile; 2] {
        ["one", "two"].map(|name| OutputFile::new(name, "", name.to_uppercase()))
    }

    #[test]
    fn all_are_written_for_their_owner_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let out = dir.path().join("a/b");
        write(&out, &two()).expect("written");
        for file in two() {
            let path = out.join(file.name);
            assert_eq!(fs::read_to_string(&path).expect("a file"), file.content);
            let mode = fs::metadata(&path).expect("a file").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(&out).expect("a directory").count(), 2);
    }

    #[test]
    fn what_exists_is_kept_and_nothing_is_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let two_path = dir.path().join("two");
        fs::write(&two_path, "mine").expect("written");
        let error = write(dir.path(), &two())
            .expect_err("it exists")
            .to_string();
        assert!(
            error.starts_with(&two_path.display().to_string()),
            "{error}"
        );
        assert_eq!(fs::read_to_string(&two_path).expect("a file"), "mine");
        assert_eq!(fs::read_dir(&dir).expect("a directory").count(), 1);
        // A link that leads nowhere exists, too.
        let out = dir.path().join("out");
        fs::create_dir(&out).expect("made");
        std::os::unix::fs::symlink("nowhere", out.join("one")).expect("linked");
        write(&out, &two()).expect_err("it exists");
        assert_eq!(fs::read_dir(&out).expect("a directory").count(), 1);
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        for (name, mode) in [("open", 0o777), ("sticky", 0o1777)] {
            let out = dir.path().join(name);
            fs::create_dir(&out).expect("made");
            fs::set_permissions(&out, fs::Permissions::from_mode(mode)).expect("set");
            let error = write(&out, &two()).expect_err("open").to_string();
            assert!(error.contains("every user can write to it"), "{error}");
            assert_eq!(fs::read_dir(&out).expect("a directory").count(), 0);
        }
        let below = dir.path().join("open/below");
        write(&below, &two()).expect_err("it could be moved away");
        assert!(!below.exists());
        write(&dir.path().join("sticky/below"), &two()).expect("nobody can");
    }

    #[test]
    fn what_was_written_before_a_failure_is_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let out = dir.path().join("out");
        let mut files = Vec::from(two());
        files.push(OutputFile::new("missing/three", "", String::new()));
        write(&out, &files).expect_err("its directory is missing");
        assert!(!out.exists());
        let taken = dir.path().join("file");
        fs::write(&taken, "").expect("written");
        write(&taken, &two()).expect_err("it is no directory");
    }
}

//! Builds a Go program once and keeps it under `target/servers/`, named after what it is made of.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{building, lock, on_path, servers_dir, short_hash};

/// A program, and what `go build` needs to make it.
pub(super) struct Recipe {
    /// What the program is called.
    pub(super) name: String,
    /// Where Go runs: the directory of a `go.mod`.
    pub(super) dir: PathBuf,
    /// Its pins and its source: when they change it is built again.
    pub(super) made_of: Vec<PathBuf>,
    /// More for the linker, after a space.
    pub(super) linked_in: String,
    /// The arguments of `go build`, the package last.
    pub(super) arguments: Vec<OsString>,
    /// What can be done where Go is missing.
    pub(super) remedy: String,
}

impl Recipe {
    /// The program; built if it is not there.
    pub(super) fn program(&self) -> PathBuf {
        let dir = servers_dir();
        let program = dir.join(format!("{}-{}", self.name, short_hash(&self.content())));
        if program.is_file() {
            return program;
        }
        let _lock = lock(&dir.join(format!("{}.lock", self.name)));
        if !program.is_file() {
            self.build(&program);
        }
        program
    }

    fn content(&self) -> Vec<u8> {
        let read = |file: &PathBuf| {
            fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
        };
        let files = self.made_of.iter().flat_map(read);
        files.chain(self.linked_in.bytes()).collect()
    }

    fn build(&self, program: &Path) {
        let Self {
            name,
            remedy,
            linked_in,
            ..
        } = self;
        assert!(on_path("go").is_some(), "this test needs {name}: {remedy}");
        let unfinished = program.with_extension("unfinished");
        let mut command = Command::new("go");
        command.args(["build", "-buildvcs=false", "-trimpath"]);
        command.arg(format!("-ldflags=-s -w{linked_in}"));
        command.arg("-o").arg(&unfinished).args(&self.arguments);
        command.env("CGO_ENABLED", "0").current_dir(&self.dir);
        building::run(name, &mut command);
        fs::rename(&unfinished, program).expect("a built program can be renamed");
    }
}

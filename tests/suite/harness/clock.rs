//! A clock that jumps, for one daemon alone: a small library between it and the system tells
//! another time of day. The time that only grows is not touched, as it is not on a real machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::daemon::Builder;

const LIBRARY: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    const char *path = getenv("TEST_CLOCK");
    if (result != 0 || clock != CLOCK_REALTIME || path == NULL) return result;
    FILE *file = fopen(path, "r");
    if (file == NULL) return result;
    long ahead = 0;
    if (fscanf(file, "%ld", &ahead) == 1) now->tv_sec += ahead;
    fclose(file);
    return 0;
}
"#;

/// Tells one daemon what time it is.
pub struct Clock {
    dir: TempDir,
}

impl Clock {
    /// A clock that is right yet.
    pub fn new() -> Self {
        let clock = Self {
            dir: tempfile::tempdir().expect("a temporary directory can be made"),
        };
        let source = clock.dir.path().join("clock.c");
        fs::write(&source, LIBRARY).expect("a file can be written");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(clock.library())
            .arg(&source)
            .arg("-ldl")
            .status();
        let done = compiled.expect("a C compiler, which building the plugin needs as well");
        assert!(done.success(), "cc: {done}");
        clock.jump(0);
        clock
    }

    /// From now on it is so many seconds ahead, or behind.
    pub fn jump(&self, ahead: i64) {
        // Renamed into place: a reader never sees half of it.
        let new = self.dir.path().join("new");
        fs::write(&new, ahead.to_string()).expect("a file can be written");
        fs::rename(&new, self.offset()).expect("a file can be renamed");
    }

    /// Gives the daemon this clock.
    pub fn of(&self, builder: Builder) -> Builder {
        builder
            .env("LD_PRELOAD", text(&self.library()))
            .env("TEST_CLOCK", text(&self.offset()))
    }

    fn library(&self) -> PathBuf {
        self.dir.path().join("clock.so")
    }

    fn offset(&self) -> PathBuf {
        self.dir.path().join("ahead")
    }
}

fn text(path: &Path) -> &str {
    path.to_str()
        .expect("temporary directories have plain names")
}

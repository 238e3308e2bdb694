//! `convert`: from each form in which users have another plugin's settings to files that `check --offline` accepts.

mod forms;
mod refusals;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use super::harness::child::clean_environment;

const PROGRAM: &str = env!("CARGO_BIN_EXE_vault-kms-plugin");

/// An operator's directory; the files of a node are in `out`.
struct Site {
    dir: TempDir,
}

impl Site {
    fn new() -> Self {
        let site = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        for name in ["run", "state", "certs"] {
            fs::create_dir(site.path(name)).unwrap();
        }
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Writes a file, in which `@` is this directory.
    fn write(&self, name: &str, content: &str) -> String {
        let content = content.replace('@', &self.dir.path().display().to_string());
        fs::write(self.path(name), content).unwrap();
        self.text(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(PROGRAM);
        clean_environment(&mut command);
        command.args(arguments).current_dir(self.dir.path());
        command.output().unwrap()
    }

    /// `convert` into `out`, which is where the files lie on the node, too.
    fn convert(&self, arguments: &[&str]) -> Output {
        let out = self.text("out");
        let common = ["convert", "--out", &out, "--install-dir", &out];
        self.run(&[&common[..], arguments].concat())
    }

    fn out(&self, name: &str) -> String {
        let path = self.path("out").join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Converts, and lets `check --offline` read the result. What was written to `config.toml`, and said.
    fn converted(&self, arguments: &[&str]) -> (String, String) {
        let output = self.convert(arguments);
        let (said, errors) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {errors}");
        let file = self.text("out/config.toml");
        let checked = self.run(&["check", "--offline", "--config", &file]);
        let report = text(&checked.stdout);
        let config = self.out("config.toml");
        assert!(
            checked.status.success(),
            "{report}{}\n{config}",
            text(&checked.stderr)
        );
        for entry in fs::read_dir(self.path("out")).unwrap() {
            let mode = entry.unwrap().metadata().unwrap().mode() & 0o777;
            assert_eq!(mode, 0o600, "a file that others can read");
        }
        (config, said)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether the text has all of these.
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
}

/// No file but its own has the secret, and nothing that was said.
fn is_only_in(site: &Site, secret: &str, file: &str, said: &str) {
    assert!(!said.contains(secret), "{said}");
    assert_eq!(site.out(file), format!("{secret}\n"));
    let others = fs::read_dir(site.path("out"))
        .unwrap()
        .map(|it| it.unwrap().path());
    for path in others.filter(|path| path.file_name() != Some(Path::new(file).as_os_str())) {
        assert!(
            !fs::read_to_string(&path).unwrap().contains(secret),
            "{}",
            path.display()
        );
    }
}

tests! {
    [forms, refusals]
}

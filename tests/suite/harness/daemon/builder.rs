//! Puts a daemon's directory together: configuration, credentials, environment.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tempfile::TempDir;
use toml::{Table, Value};

use super::super::{child, servers};
use super::Daemon;

pub(super) const CONFIG: &str = "config.toml";
pub(super) const TOKEN: &str = "token";

/// A daemon that is not started yet.
pub struct Builder {
    dir: TempDir,
    program: PathBuf,
    arguments: Option<Vec<String>>,
    environment: Vec<(String, String)>,
    socket: PathBuf,
    admin_address: String,
    table: Table,
    whole: Option<String>,
}

impl Builder {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let socket = dir.path().join("kms.sock");
        let admin_address = format!("127.0.0.1:{}", child::free_port());
        let builder = Self {
            program: PathBuf::from(env!("CARGO_BIN_EXE_vault-kms-plugin")),
            arguments: None,
            environment: Vec::new(),
            table: Table::new(),
            whole: None,
            dir,
            socket: socket.clone(),
            admin_address: admin_address.clone(),
        };
        builder
            .set(&["socket", "path"], &socket.to_string_lossy())
            .set(&["admin", "listen"], &admin_address)
            .set(&["log", "level"], "debug")
            .set(&["log", "format"], "json")
    }

    /// Runs the daemon as it is shipped, building it if it has to be.
    pub fn release(mut self) -> Self {
        self.program = servers::release_daemon();
        self
    }

    /// Runs another program.
    pub fn binary(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    /// Gives it other arguments than `serve --config FILE`.
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments = Some(arguments.iter().map(|text| (*text).to_owned()).collect());
        self
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Vault's address.
    pub fn vault(self, address: &str) -> Self {
        self.set(&["vault", "address"], address)
    }

    /// The key to use.
    pub fn transit(self, mount: &str, key: &str) -> Self {
        self.set(&["transit", "mount"], mount)
            .set(&["transit", "key"], key)
    }

    /// Writes a token file, mode 0600, and logs in with it.
    pub fn token(self, token: &str) -> Self {
        let path = self.write_file(TOKEN, token);
        self.set(&["auth", "method"], "token")
            .set(&["auth", "token_file"], &path.to_string_lossy())
    }

    /// Listens elsewhere: another path, or `@name`.
    pub fn listen(mut self, socket: &str) -> Self {
        self.socket = PathBuf::from(socket);
        self.set(&["socket", "path"], socket)
    }

    /// Merges more configuration into what is there; its values win.
    pub fn extra(mut self, toml: &str) -> Self {
        merge(&mut self.table, parsed(toml));
        self
    }

    /// The whole configuration, as it is, even if it is wrong. Its socket should be
    /// [`Builder::socket`].
    pub fn config(mut self, toml: &str) -> Self {
        self.whole = Some(toml.to_owned());
        self
    }

    /// Writes a file of mode 0600 into the directory, such as a credential.
    pub fn write_file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        replace(&path, content);
        path
    }

    /// The directory it will have.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The socket it will have.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its admin address.
    pub fn admin_address(&self) -> &str {
        &self.admin_address
    }

    /// The configuration as it will be written.
    pub fn config_text(&self) -> String {
        self.whole.clone().unwrap_or_else(|| self.table.to_string())
    }

    /// Starts it and waits until its socket accepts.
    pub async fn spawn(self) -> Daemon {
        let daemon = self.spawn_raw();
        daemon.wait_listening().await;
        daemon
    }

    /// Starts it without waiting for anything.
    pub fn spawn_raw(self) -> Daemon {
        let config = self.write_file(CONFIG, &self.config_text());
        let arguments = self.arguments.unwrap_or_else(|| {
            let config = config.to_string_lossy().into_owned();
            vec!["serve".to_owned(), "--config".to_owned(), config]
        });
        let child = super::launch(
            &self.program,
            &arguments,
            &self.environment,
            self.dir.path(),
        );
        Daemon {
            dir: self.dir,
            program: self.program,
            arguments,
            environment: self.environment,
            socket: self.socket,
            admin_address: self.admin_address,
            child: Mutex::new(child),
        }
    }

    fn set(mut self, [table, key]: &[&str; 2], value: &str) -> Self {
        let entry = Table::from_iter([((*key).to_owned(), Value::from(value))]);
        merge(
            &mut self.table,
            Table::from_iter([((*table).to_owned(), Value::Table(entry))]),
        );
        self
    }
}

/// Writes a file beside `path` and renames it over, as a careful operator does: the daemon never
/// reads half of it.
pub(super) fn replace(path: &Path, content: &str) {
    let fresh = path.with_extension("fresh");
    // The mode counts only for a file that this call creates.
    let _ = fs::remove_file(&fresh);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh);
    let written = file.as_mut().map(|file| file.write_all(content.as_bytes()));
    written
        .expect("the file can be made")
        .expect("the file can be written");
    fs::rename(&fresh, path).expect("the file can be renamed");
}

/// `text` with the values of `more` in it.
pub(super) fn merged(text: &str, more: &str) -> String {
    let mut table = parsed(text);
    merge(&mut table, parsed(more));
    table.to_string()
}

fn parsed(text: &str) -> Table {
    text.parse()
        .unwrap_or_else(|error| panic!("not TOML, {error}:\n{text}"))
}

fn merge(into: &mut Table, from: Table) {
    for (name, value) in from {
        match (into.get_mut(&name), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (_, value) => drop(into.insert(name, value)),
        }
    }
}

//! `check --offline`: reports about a configuration what the daemon would report, and changes
//! nothing. The steps that need Vault have modules of their own.

mod broken;
mod encryption;
mod page;
mod proof;
mod reported;
mod running;
mod spending;
mod values;

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::LIMIT;
use super::harness::certificates::Certificates;
use super::harness::daemon::{Builder, Daemon};

/// Where nobody has to be: nothing is connected to.
const NOBODY: &str = "http://127.0.0.1:9";
const SECRET: &str = "s3cret-of-the-test";

fn valid() -> Builder {
    Daemon::builder()
        .vault(NOBODY)
        .transit("transit", "kms")
        .token(SECRET)
}

/// The step with the defaults, which every valid configuration has.
const DEFAULTS: &str = "✓ defaults: ";

/// Runs the check of this configuration: its exit code and its lines, without the defaults.
pub(super) async fn checked(builder: Builder) -> (i32, Vec<String>) {
    let config = builder.dir().join("config.toml").display().to_string();
    let socket = builder.socket().to_owned();
    let was_there = socket.exists();
    let check = builder
        .arguments(&["check", "--offline", "--config", &config])
        .spawn_raw();
    let code = check.wait_exit(LIMIT).await;
    let said = check.log();
    assert_eq!(socket.exists(), was_there, "a socket was opened");
    assert!(!said.contains(SECRET), "{said}");
    let lines = said.lines().filter(|line| !line.starts_with(DEFAULTS));
    (code, lines.map(str::to_owned).collect())
}

/// What the whole check said.
pub(crate) struct Said {
    code: i32,
    pub(super) text: String,
    /// The directory that its configuration was in.
    dir: String,
}

/// Runs the check of this configuration, with more arguments.
pub(crate) async fn proven(builder: Builder, more: &[&str]) -> Said {
    let dir = builder.dir().display().to_string();
    let config = format!("{dir}/config.toml");
    let mut arguments = vec!["check", "--config", &config];
    arguments.extend(more);
    let check = builder.arguments(&arguments).spawn_raw();
    let code = check.wait_exit(LIMIT).await;
    let text = check.log();
    Said { code, text, dir }
}

impl Said {
    pub(crate) fn says(&self, line: &str) -> &Self {
        assert!(self.text.contains(line), "no {line:?} in:\n{}", self.text);
        self
    }

    /// A step that went wrong, and what to do under it.
    pub(crate) fn names(&self, cause: &str, remedy: &str) -> &Self {
        let lines: Vec<_> = self.text.lines().collect();
        let found = lines.windows(2).any(|two| {
            two[0].starts_with("✗ ")
                && two[0].contains(cause)
                && two[1].starts_with("    ")
                && two[1].contains(remedy)
        });
        assert!(found, "no {cause:?} with {remedy:?} in:\n{}", self.text);
        self
    }

    pub(crate) fn ends_with(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "{}", self.text);
        self
    }
}

fn path_of(builder: &Builder, name: &str) -> String {
    builder.dir().join(name).display().to_string()
}

async fn a_valid_file_is_one_line_and_nothing_is_connected_to() {
    let vault = TcpListener::bind("127.0.0.1:0").unwrap();
    vault.set_nonblocking(true).unwrap();
    let address = format!("http://{}", vault.local_addr().unwrap());
    let builder = valid().vault(&address);
    let expected = format!(
        "✓ configuration: {} is valid",
        path_of(&builder, "config.toml")
    );
    assert_eq!(checked(builder).await, (0, vec![expected]));
    assert!(vault.accept().is_err(), "something connected");
}

async fn a_running_daemon_does_not_notice() {
    let daemon = valid().spawn().await;
    let inode = || std::fs::metadata(daemon.socket()).unwrap().ino();
    let before = (inode(), daemon.pid());
    let same = valid().listen(daemon.socket().to_str().unwrap());
    let (code, lines) = checked(same).await;
    assert_eq!(code, 0, "{lines:?}");
    assert_eq!((inode(), daemon.pid()), before);
    assert_eq!(daemon.exited(), None);
}

async fn an_unusable_certificate_file_is_reported() {
    let builder = valid().vault("https://127.0.0.1:9");
    let file = builder.write_file("ca.pem", "no certificate");
    let builder = builder.extra(&format!("[vault]\nca_file = {file:?}"));
    let (code, lines) = checked(builder).await;
    assert_eq!(code, 78, "{lines:?}");
    let bad = "✗ certificates: vault.ca_file: ";
    assert!(lines[1].starts_with(bad), "{lines:?}");
    let remedy = "    correct that file, or name another one in vault.ca_file";
    assert_eq!(lines[2..], [remedy], "{lines:?}");
}

async fn another_file_in_the_sockets_place_is_reported() {
    let builder = valid();
    std::fs::write(builder.socket(), "something else").unwrap();
    let expected = format!(
        "✗ socket: socket.path: {} exists and is not a socket",
        builder.socket().display()
    );
    let (code, lines) = checked(builder).await;
    assert_eq!((code, &lines[1]), (78, &expected));
    assert_eq!(lines[2], "    move it away or choose another path");
}

async fn warnings_are_reported_and_are_not_a_failure() {
    let certificates = Certificates::new();
    certificates.client("kms");
    let both = certificates.path("kms.both");
    std::fs::set_permissions(&both, PermissionsExt::from_mode(0o644)).unwrap();
    let builder = valid();
    let token = path_of(&builder, "token");
    std::fs::remove_file(&token).unwrap();
    let both = both.display();
    let builder = builder.extra(&format!(
        "[vault]\naddress = [\"http://192.0.2.1:8200\", \"https://192.0.2.1:8200\"]\n\
         allow_plaintext = true\nclient_cert_file = \"{both}\""
    ));
    let (code, lines) = checked(builder).await;
    let expected = [
        "! configuration: vault.address: http://192.0.2.1:8200 sends the token and every seed \
         unencrypted over the network"
            .to_owned(),
        format!(
            "! credentials: auth.token_file: {token} cannot be opened: No such file or directory \
             (os error 2)"
        ),
        "    put the secret there".to_owned(),
        format!(
            "! files: vault.client_key_file: {both}: private key file is world-readable: chmod o-r"
        ),
    ];
    assert_eq!(code, 0, "{lines:?}");
    assert_eq!(lines[1..], expected);
}

async fn the_environment_is_read_as_by_the_daemon() {
    let builder = valid()
        .extra("[log]\nlevel = \"loud\"")
        .env("VAULT_KMS_PLUGIN_LOG_LEVEL", "info");
    assert_eq!(checked(builder).await.0, 0);
    let builder = valid().env("VAULT_KMS_PLUGIN_LOG_LEVEL", "loud");
    let (code, lines) = checked(builder).await;
    assert_eq!(code, 78);
    let expected = "✗ configuration: log.level: \"loud\" is not a level \
                    (from VAULT_KMS_PLUGIN_LOG_LEVEL)";
    let remedy = "    use error, warn, info, debug or trace";
    assert_eq!(lines, [expected, remedy]);
}

async fn no_secret_of_a_configuration_is_shown() {
    // Each is caught by `checked`.
    let token = Daemon::builder()
        .vault(NOBODY)
        .transit("transit", "kms")
        .env("VAULT_TOKEN", SECRET);
    assert_eq!(checked(token).await.0, 0);
    let inline = |rest: &str| {
        let text = format!("[auth]\nmethod = \"approle\"\nsecret_id = \"{SECRET}{rest}");
        Daemon::builder().config(&text)
    };
    let (code, lines) = checked(inline("\"\n")).await;
    assert!(code == 78 && lines.len() > 1, "{lines:?}");
    let (code, lines) = checked(inline("\n")).await;
    assert!(code == 78 && lines.len() == 2, "{lines:?}");
    assert!(lines[0].contains("line 3, column"), "{lines:?}");
}

async fn a_missing_file_is_reported() {
    let arguments = ["check", "--config", "/nonexistent/config.toml", "--offline"];
    let check = Daemon::builder().arguments(&arguments).spawn_raw();
    assert_eq!(check.wait_exit(LIMIT).await, 78);
    let expected = "✗ configuration: /nonexistent/config.toml: cannot be read: ";
    assert!(check.log().starts_with(expected), "{}", check.log());
    assert!(!Path::new("/nonexistent").exists());
}

tests! {
    [broken, encryption, page, proof, reported, running, spending, values]
    single a_valid_file_is_one_line_and_nothing_is_connected_to;
    single a_running_daemon_does_not_notice;
    single an_unusable_certificate_file_is_reported;
    single another_file_in_the_sockets_place_is_reported;
    single warnings_are_reported_and_are_not_a_failure;
    single the_environment_is_read_as_by_the_daemon;
    single no_secret_of_a_configuration_is_shown;
    single a_missing_file_is_reported;
}

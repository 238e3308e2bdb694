//! A wrong configuration ends the daemon with 78 before anything is opened, and every error is
//! shown at once; `check` shows the same. One file a case, under `configuration/`: the TOML, and what has to be said.

use std::fs;
use std::path::Path;

use super::LIMIT;
use super::check::checked;
use super::harness::daemon::Daemon;

#[tokio::test]
async fn every_error_is_shown_at_once_with_its_key() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/configuration");
    let mut seen = 0;
    for entry in fs::read_dir(cases).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            refused(&path).await;
            seen += 1;
        }
    }
    assert!(seen >= 5, "only {seen} cases");
}

/// Lines that begin with `#!` are the errors expected, and all of them.
async fn refused(case: &Path) {
    let toml = fs::read_to_string(case).unwrap();
    let daemon = Daemon::builder().config(&toml).spawn_raw();
    let code = daemon.wait_exit(LIMIT).await;
    let log = daemon.log();
    assert_eq!(code, 78, "{}: {log}", case.display());
    let said: Vec<&str> = log.lines().skip(1).collect();
    let expected: Vec<&str> = toml.lines().filter_map(|l| l.strip_prefix("#! ")).collect();
    for error in &expected {
        assert!(
            said.contains(error),
            "{}: no {error:?} in {said:#?}",
            case.display()
        );
    }
    assert_eq!(said.len(), expected.len(), "{}: {said:#?}", case.display());
    assert!(!daemon.socket().exists(), "a socket was opened");
    let (code, lines) = checked(Daemon::builder().config(&toml)).await;
    let remedy = "    correct that in the configuration file, or in the environment".to_owned();
    let as_steps = said
        .iter()
        .flat_map(|error| [format!("✗ configuration: {error}"), remedy.clone()]);
    assert_eq!(code, 78, "{}: {lines:?}", case.display());
    assert_eq!(lines, as_steps.collect::<Vec<_>>(), "{}", case.display());
}

#[tokio::test]
async fn a_file_that_is_missing_is_named() {
    let missing = "/nonexistent/config.toml";
    let builder = Daemon::builder().arguments(&["serve", "--config", missing]);
    let daemon = builder.spawn_raw();
    assert_eq!(daemon.wait_exit(LIMIT).await, 78);
    assert!(daemon.log().contains(missing), "{}", daemon.log());
}

#[tokio::test]
async fn a_file_that_is_no_toml_is_shown_with_line_and_column() {
    let daemon = Daemon::builder().config("[vault]\naddress =\n").spawn_raw();
    assert_eq!(daemon.wait_exit(LIMIT).await, 78);
    let expected = "config.toml: is no TOML: TOML parse error at line 2, column 10";
    assert!(daemon.log().contains(expected), "{}", daemon.log());
}

#[tokio::test]
async fn wrong_usage_ends_with_64() {
    let daemon = Daemon::builder()
        .arguments(&["serve", "--nonsense"])
        .spawn_raw();
    assert_eq!(daemon.wait_exit(LIMIT).await, 64);
}

#[tokio::test]
async fn skipping_tls_verification_is_refused() {
    let builder = Daemon::builder()
        .vault("http://127.0.0.1:9")
        .transit("transit", "kms")
        .token("x")
        .env("VAULT_SKIP_VERIFY", "true");
    let daemon = builder.spawn_raw();
    assert_eq!(daemon.wait_exit(LIMIT).await, 78);
    assert!(
        daemon
            .log()
            .contains("VAULT_SKIP_VERIFY: TLS is always verified")
    );
}

#[tokio::test]
async fn the_environment_alone_can_configure_the_daemon() {
    let builder = Daemon::builder();
    let socket = builder.socket().to_str().unwrap().to_owned();
    let admin = builder.admin_address().to_owned();
    let daemon = builder
        .arguments(&["serve"])
        .env("VAULT_ADDR", "http://127.0.0.1:9")
        .env("VAULT_TOKEN", "x")
        .env("VAULT_KMS_PLUGIN_TRANSIT_KEY", "kms")
        .env("VAULT_KMS_PLUGIN_SOCKET_PATH", &socket)
        .env("VAULT_KMS_PLUGIN_ADMIN_LISTEN", &admin)
        .spawn()
        .await;
    daemon
        .logged("a token in the environment is for trying out")
        .await;
}

//! Child processes and the handle of the daemon.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::child::Child;
use crate::harness::daemon::Daemon;
use crate::harness::wait::until;

const LIMIT: Duration = Duration::from_secs(10);
const NO_ARGUMENTS: [&str; 0] = [];

fn alive(pid: u32) -> bool {
    // A zombie is dead, and waits only for whoever reaps it.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

fn shell(script: &str, log: &Path) -> Child {
    Child::spawn(Path::new("sh"), &["-c", script], log, |_| {})
}

async fn a_child_reports_output_exit_code_and_signal() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut child = shell("echo out; echo err >&2; exit 7", &dir.path().join("log"));
    assert_eq!(child.wait_exit(LIMIT).await, 7);
    assert_eq!(child.log(), "out\nerr\n");
    let mut child = shell("exec sleep 60", &dir.path().join("log"));
    let pid = child.pid();
    assert!(alive(pid));
    child.signal(Signal::TERM);
    assert_eq!(child.wait_exit(LIMIT).await, 128 + 15);
    let child = shell("exec sleep 60", &dir.path().join("log"));
    let pid = child.pid();
    drop(child);
    assert!(!alive(pid), "a dropped child is dead");
}

/// Run by the test below in a process of its own.
async fn holds_a_child_for_ever() {
    let Ok(file) = std::env::var("HARNESS_PID_FILE") else {
        return;
    };
    let child = Child::spawn(
        Path::new("cat"),
        &["/dev/zero"],
        Path::new("/dev/null"),
        |_| {},
    );
    fs::write(&file, child.pid().to_string()).expect("the pid can be written");
    std::future::pending::<()>().await;
}

async fn a_child_dies_with_a_killed_test_process() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("pid");
    let this = std::env::current_exe().expect("the test's own program");
    let name = "harness_selftest::children::holds_a_child_for_ever";
    let mut parent = std::process::Command::new(this)
        .args(["--exact", name, "--ignored"])
        .env("HARNESS_PID_FILE", &file)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("the test can start itself");
    let pid = until("the grandchild runs", LIMIT, async || {
        fs::read_to_string(&file)
            .ok()?
            .parse::<u32>()
            .ok()
            .filter(|pid| alive(*pid))
    })
    .await;
    parent.kill().expect("SIGKILL");
    parent.wait().expect("the parent is gone");
    until("the grandchild is dead", LIMIT, async || {
        (!alive(pid)).then_some(())
    })
    .await;
}

async fn a_daemon_has_its_directory_its_log_and_its_exit_code() {
    let script = "echo '{\"message\":\"hello\",\"env\":\"'$GREETING$VAULT_ADDR'\"}'; \
                  trap 'exit 3' TERM; while :; do sleep 0.02; done";
    let daemon = Daemon::builder()
        .vault("http://127.0.0.1:1")
        .transit("transit", "kms")
        .token("secret")
        .extra("[transit]\nkey = \"other\"\n[health]\ntolerance = \"1s\"")
        .env("GREETING", "hi")
        .binary("/bin/sh")
        .arguments(&["-c", script])
        .spawn_raw();
    let lines = until("a log line", LIMIT, async || {
        Some(daemon.log_lines()).filter(|l| !l.is_empty())
    });
    assert_eq!(lines.await[0]["env"], "hi");
    daemon.change_config("[health]\ntolerance = \"2s\"");
    let config: toml::Table = fs::read_to_string(daemon.config_path())
        .expect("a file")
        .parse()
        .expect("TOML");
    assert_eq!(config["health"]["tolerance"].as_str(), Some("2s"));
    assert_eq!(config["transit"]["key"].as_str(), Some("other"));
    assert_eq!(config["auth"]["method"].as_str(), Some("token"));
    assert!(daemon.rss_kib() > 100);
    assert_eq!(daemon.stop().await, 3);
    daemon.start();
    assert!(alive(daemon.pid()));
    daemon.kill();
    assert_eq!(daemon.exited(), Some(137));
}

async fn a_child_that_cannot_start_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("log");
    let mut child = Child::spawn(Path::new("/nowhere"), &NO_ARGUMENTS, &log, |_| {});
    assert_eq!(child.wait_exit(LIMIT).await, 127);
    assert!(child.log().contains("/nowhere"));
}

tests! {
    single a_child_reports_output_exit_code_and_signal;
    single holds_a_child_for_ever soak "a part of a_child_dies_with_a_killed_test_process";
    single a_child_dies_with_a_killed_test_process;
    single a_daemon_has_its_directory_its_log_and_its_exit_code;
    single a_child_that_cannot_start_says_so;
}

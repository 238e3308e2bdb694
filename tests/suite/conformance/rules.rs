//! The public mode of `tests/conformance/`: what it lists and reports, that it finds each fault of a
//! plugin, and which rules the daemon keeps with the client code of every release.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use futures_util::future::join_all;
use tempfile::TempDir;

use super::{Client, RELEASES, clients, plugin, proven};
use crate::harness::child::{Child, clean_environment};
use crate::harness::daemon::Daemon;
use crate::harness::servers::{conformance, release_daemon};
use crate::harness::vault::{Fixture, Vault};
use crate::harness::wait;

/// Two rotations, the announcement of each, and three restarts.
const RUN_LIMIT: Duration = Duration::from_secs(420);
const NEWEST: &str = RELEASES[RELEASES.len() - 1];

fn repository(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What the program prints at once.
fn said(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(conformance(NEWEST)).args(arguments).output();
    let output = output.unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// The commands of an operator, as the program takes them.
struct Commands {
    rotate: String,
    stop: String,
    start: String,
}

/// What one run reported.
struct Report {
    code: i32,
    text: String,
}

impl Report {
    /// The ids of the rules whose line begins so.
    fn ids(&self, result: &str, directive: &str) -> Vec<&str> {
        let lines = self.text.lines();
        let lines = lines.filter(|it| it.starts_with(result) && it.contains(directive));
        let ids = lines.filter_map(|line| line.split(" - ").nth(1)?.get(..3));
        ids.collect()
    }

    fn broken(&self) -> Vec<&str> {
        self.ids("not ok ", "")
    }

    fn skipped(&self) -> Vec<&str> {
        self.ids("ok ", "# SKIP")
    }
}

async fn check(client: Client, socket: &Path, commands: &Commands) -> Report {
    let dir = TempDir::new().unwrap();
    let endpoint = super::endpoint(socket);
    let arguments = [
        ["--api", client.api],
        ["--socket", &endpoint],
        ["--rotate", &commands.rotate],
        ["--stop", &commands.stop],
        ["--start", &commands.start],
    ];
    let program = conformance(client.release);
    let log = dir.path().join("log");
    let mut child = Child::spawn(&program, arguments.as_flattened(), &log, clean_environment);
    let what = format!("{client:?} and {}", socket.display());
    let code = wait::until(&what, RUN_LIMIT, async || child.exited()).await;
    let text = child.log();
    Report { code, text }
}

/// The double of the program, with one fault or none.
struct Double {
    dir: TempDir,
    program: PathBuf,
    fault: String,
}

impl Double {
    fn start(fault: &str) -> Self {
        let double = Self {
            dir: TempDir::new().unwrap(),
            program: conformance(NEWEST),
            fault: fault.to_owned(),
        };
        let started = Command::new("sh").args(["-c", &double.starts()]).status();
        assert!(started.unwrap().success());
        double
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn starts(&self) -> String {
        let (program, fault) = (self.program.display(), &self.fault);
        let [socket, state, pid] = ["socket", "state", "pid"].map(|it| self.path(it));
        let (socket, state, pid) = (socket.display(), state.display(), pid.display());
        format!(
            "rm -f {socket}; {program} double --socket {socket} --state {state} --fault '{fault}' >/dev/null 2>&1 & \
             echo $! > {pid}; while [ ! -S {socket} ]; do sleep 0.05; done"
        )
    }

    fn commands(&self) -> Commands {
        let pid = format!("$(cat {})", self.path("pid").display());
        Commands {
            rotate: format!("kill -HUP {pid}; sleep 0.2"),
            stop: format!("kill {pid}; while kill -0 {pid} 2>/dev/null; do sleep 0.05; done"),
            start: self.starts(),
        }
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        let _ = Command::new("sh")
            .args(["-c", &format!("kill $(cat {})", self.path("pid").display())])
            .status();
    }
}

/// A daemon with commands that are files: the program writes one, and waits until it is gone.
struct Operated {
    daemon: Daemon,
    fixture: Fixture,
    dir: TempDir,
}

impl Operated {
    fn command(&self, name: &str) -> String {
        let file = self.dir.path().join(name);
        let file = file.display();
        format!(": > {file}; while [ -e {file} ]; do sleep 0.05; done")
    }

    fn commands(&self) -> Commands {
        let [rotate, stop, start] = ["rotate", "stop", "start"].map(|name| self.command(name));
        Commands {
            rotate,
            stop,
            start,
        }
    }

    /// Does what the files ask for, for as long as it runs.
    async fn operate(&self, vault: &Vault) {
        loop {
            for name in ["rotate", "stop", "start"] {
                let file = self.dir.path().join(name);
                if !file.exists() {
                    continue;
                }
                match name {
                    "rotate" => vault.rotate(&self.fixture.mount, &self.fixture.key).await,
                    "stop" => assert_eq!(self.daemon.stop().await, 0),
                    _ => {
                        self.daemon.start();
                        self.daemon.wait_listening().await;
                    }
                }
                fs::remove_file(file).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn every_fault_of_a_plugin_breaks_one_rule() {
    let (_, list) = said(&["double", "--list"]);
    let faults = list.lines().map(|line| line.split_once(' ').unwrap());
    let faults: Vec<_> = faults.chain([("", "")]).collect();
    assert!(faults.len() > 25, "{list}");
    let newest = Client {
        release: NEWEST,
        api: "v2",
    };
    let wrong = faults.iter().map(async |(fault, rule)| {
        let double = Double::start(fault);
        let report = check(newest, &double.path("socket"), &double.commands()).await;
        // How long a Decrypt takes is also a matter of what else the machine does: so it is an advice.
        let is_slow = |id: &&str| *id == "D06" && *rule != "D06";
        let mut advice = report.ids("not ok ", "# TODO");
        advice.retain(|id| !is_slow(id));
        let code = i32::from(!rule.is_empty() && advice != [*rule]);
        let mut broken = report.broken();
        broken.retain(|id| !is_slow(id));
        let is_right = broken.concat() == **rule && broken.len() <= 1 && report.code == code;
        (!is_right).then(|| {
            format!(
                "{fault:?}: {} and not {rule:?}:\n{}",
                report.code, report.text
            )
        })
    });
    let wrong: Vec<_> = join_all(wrong).await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// But for D03: it decrypts what another plugin wrote, whose key_ids it does not know.
async fn the_daemon_keeps_all_rules_but_one_with_every_kubernetes_release() {
    // Before all: a build takes all there is of the machine, and blocks.
    release_daemon();
    for release in RELEASES {
        conformance(release);
    }
    let page = repository("docs/conformance.md");
    let vault = Vault::shared().await;
    // Kubernetes 1.25 has KMS v1 alone.
    let clients = clients()
        .into_iter()
        .filter(|it| (it.api == "v1") == it.is("v0.25."));
    let wrong = clients.map(async |client: Client| {
        let fixture = vault.fixture().await;
        let daemon = plugin(vault, &fixture, client.kms_version()).spawn().await;
        proven(&daemon).await;
        let dir = TempDir::new().unwrap();
        let operated = Operated {
            daemon,
            fixture,
            dir,
        };
        let (socket, commands) = (operated.daemon.socket(), operated.commands());
        let report = tokio::select! {
            report = check(client, socket, &commands) => report,
            () = operated.operate(vault) => unreachable!("it has no end"),
        };
        let advice = report.ids("not ok ", "# TODO");
        let failed = report.broken().len() - advice.len();
        let kept = report.ids("ok ", "").len() - report.skipped().len();
        let release = client.release.replacen("v0.", "1.", 1);
        let row = format!(
            "| vault-kms-plugin | {release} | {} | {} | {failed} | {} |",
            client.api,
            kept + advice.len(),
            report.skipped().len(),
        );
        eprintln!("{row} {advice:?}");
        let is_right = report.code == 1 && report.ids("not ok ", "D03").len() == failed;
        let is_right = is_right && failed == 1 && page.contains(&row);
        (!is_right).then(|| format!("{client:?}: {row}\n{}", report.text))
    });
    let wrong: Vec<_> = join_all(wrong).await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn the_documents_list_the_rules_and_the_faults() {
    let (_, rules) = said(&["--list"]);
    assert!(rules.lines().count() > 35, "{rules}");
    for page in ["tests/conformance/README.md", "docs/conformance.md"] {
        assert!(repository(page).contains(&rules), "{page} lacks:\n{rules}");
    }
}

fn a_report_is_tap_or_junit_and_a_page() {
    let double = Double::start("odd-version");
    let endpoint = super::endpoint(&double.path("socket"));
    let page = double.path("summary.md");
    let of = |output| {
        said(&[
            "--socket",
            &endpoint,
            "--name",
            "double",
            "--output",
            output,
            "--summary",
            page.to_str().unwrap(),
        ])
    };
    let (code, tap) = of("tap");
    assert_eq!(code, Some(1), "{tap}");
    assert!(tap.starts_with("TAP version 13\n1..") && tap.contains("\nnot ok 2 - S02 "));
    assert!(
        tap.contains("# SKIP needs --rotate") && tap.contains("# SKIP needs --stop and --start")
    );
    let (code, junit) = of("junit");
    assert_eq!(code, Some(1), "{junit}");
    assert!(junit.contains("<testsuite name=\"double\"") && junit.contains("failures=\"1\""));
    assert!(junit.contains("<failure message=\"version is &#34;v3&#34;\""));
    let page = fs::read_to_string(page).unwrap();
    assert!(
        page.starts_with("# KMS v2 conformance of double\n"),
        "{page}"
    );
    assert!(
        page.contains("| S02 |") && page.contains("| FAILED |"),
        "{page}"
    );
}

fn a_wrong_command_line_exits_with_64() {
    for arguments in [
        &[][..],
        &["--socket", "http://kms"],
        &["--socket", "unix:///kms", "--output", "html"],
        &["--socket", "unix:///kms", "--stop", "true"],
    ] {
        let (code, text) = said(arguments);
        assert_eq!(code, Some(64), "{arguments:?}: {text}");
        assert!(!text.is_empty());
    }
}

tests! {
    multi every_fault_of_a_plugin_breaks_one_rule [Go];
    multi the_daemon_keeps_all_rules_but_one_with_every_kubernetes_release [Vault, Go];
    plain the_documents_list_the_rules_and_the_faults [Go];
    plain a_report_is_tap_or_junit_and_a_page [Go];
    plain a_wrong_command_line_exits_with_64 [Go];
}

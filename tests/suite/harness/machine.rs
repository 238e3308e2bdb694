//! A machine of its own under a real systemd: a container that boots over a copy-on-write view of
//! this root file system. It shares this network, so that the servers of the tests are its servers,
//! unless it is connected to a bridge.
//!
//! Needs root, `systemd-nspawn` and overlayfs. It ends with the test process, whatever happens.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::child::Child;
use super::wait;

const SCRIPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/suite/harness/machine.sh"
);
/// A second or less where nothing else runs.
const BOOT_LIMIT: Duration = Duration::from_secs(60);
/// No command inside may take longer.
const COMMAND_LIMIT: Duration = Duration::from_secs(90);
/// What the machine boots into: none of what this host would start besides.
const TARGET: &str = "machine.target";

/// A machine that is not booted yet.
pub struct Plan {
    dir: TempDir,
    arguments: Vec<String>,
    units: Vec<String>,
}

/// A booted machine.
pub struct Machine {
    child: Child,
    /// The process id, out here, of its systemd.
    leader: u32,
    name: String,
    arguments: Vec<String>,
    dir: TempDir,
}

/// What a command inside came to.
#[derive(Debug)]
pub struct Output {
    /// Its exit code.
    pub code: i32,
    /// What it wrote to stdout and stderr.
    pub text: String,
}

impl Plan {
    /// An empty machine.
    pub fn new() -> Self {
        Self::in_dir(tempfile::tempdir().expect("a temporary directory can be made"))
    }

    /// The same with its files in a directory of `parent`: they are still there after a power cut.
    pub fn on_disk(parent: &Path) -> Self {
        let dir = tempfile::tempdir_in(parent).expect("a temporary directory can be made");
        for part in ["files", "work"] {
            let part = dir.path().join("upper").join(part);
            fs::create_dir_all(part).expect("a directory can be made");
        }
        Self::in_dir(dir)
    }

    fn in_dir(dir: TempDir) -> Self {
        let machine_id = format!("{:032x}\n", fastrand::u128(1..));
        Self {
            dir,
            arguments: Vec::new(),
            units: Vec::new(),
        }
        // Another one than this host's, or the journals could be mixed up.
        .file("/etc/machine-id", &machine_id)
        .file(
            "/etc/systemd/journald.conf.d/machine.conf",
            "[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\n",
        )
    }

    /// A file of mode 0644 in it.
    pub fn file(self, path: &str, content: &str) -> Self {
        let place = self
            .dir
            .path()
            .join("seed")
            .join(path.trim_start_matches('/'));
        let dir = place.parent().expect("a file is in a directory");
        fs::create_dir_all(dir).expect("a directory can be made");
        fs::write(&place, content).expect("a file can be written");
        fs::set_permissions(&place, fs::Permissions::from_mode(0o644)).expect("it is ours");
        self
    }

    /// A program of this host at a place inside.
    pub fn program(mut self, from: &Path, to: &str) -> Self {
        let from = from.display();
        self.arguments.push(format!("--bind-ro={from}:{to}"));
        self
    }

    /// A real directory at a place inside, which an overlay can be mounted over.
    pub fn directory(mut self, path: &str) -> Self {
        let real = self.dir.path().join(path.replace('/', "-"));
        fs::create_dir_all(&real).expect("a directory can be made");
        self.arguments
            .push(format!("--bind={}:{path}", real.display()));
        self
    }

    /// It may do whatever this process may, such as run containers.
    pub fn privileged(mut self) -> Self {
        let more = ["--capability=all", "--system-call-filter=@known"];
        self.arguments.extend(more.map(str::to_owned));
        self.arguments.push("--bind=/dev/kmsg".to_owned());
        self
    }

    /// It has a network of its own, whose only interface, `host0`, is on this bridge.
    pub fn bridge(mut self, name: &str) -> Self {
        self.arguments.push("--network-veth".to_owned());
        self.arguments.push(format!("--network-bridge={name}"));
        self
    }

    /// A variable of its systemd itself.
    pub fn variable_of_systemd(mut self, name: &str, value: &str) -> Self {
        self.arguments.push(format!("--setenv={name}={value}"));
        self
    }

    /// A unit that is started at boot.
    pub fn start(mut self, unit: &str) -> Self {
        self.units.push(unit.to_owned());
        self
    }

    /// Boots it, and waits until systemd has started what it should.
    pub async fn boot(self) -> Machine {
        let wants = self.units.join(" ");
        let target = format!("/etc/systemd/system/{TARGET}");
        let plan = self.file(
            &target,
            &format!("[Unit]\nRequires=basic.target\nWants={wants}\nAfter=basic.target\n"),
        );
        let name = new_name();
        let dir = plan.dir.path().display().to_string();
        let mut arguments = vec![SCRIPT.to_owned(), "boot".into(), dir, name.clone()];
        arguments.extend(plan.arguments);
        arguments.extend(["--boot".into(), format!("systemd.unit={TARGET}")]);
        let (child, leader) = launch(plan.dir.path(), &arguments).await;
        let machine = Machine {
            child,
            leader,
            name,
            arguments,
            dir: plan.dir,
        };
        machine.wait_booted().await;
        machine
    }
}

fn new_name() -> String {
    format!("machine-{:08x}", fastrand::u32(..))
}

async fn launch(dir: &Path, arguments: &[String]) -> (Child, u32) {
    let mut child = Child::spawn(Path::new("sh"), arguments, &dir.join("console"), |_| {});
    let leader = wait::until("the machine's systemd", BOOT_LIMIT, async || {
        child.expect_alive();
        systemd_under(child.pid())
    })
    .await;
    (child, leader)
}

impl Machine {
    async fn wait_booted(&self) {
        wait::until_true("the machine to be booted", BOOT_LIMIT, async || {
            let state = self.run(&["systemctl", "is-active", TARGET]).await;
            state.text.trim() == "active"
        })
        .await;
    }

    /// Ends it at once, as a power cut does, and boots it again with what is on its disk.
    pub async fn power_cut(&mut self) {
        self.halt();
        self.power_on().await;
    }

    /// Boots it again after [`Machine::halt`].
    pub async fn power_on(&mut self) {
        // The kernel removes the interface on the bridge, which is named after it, in its own time.
        let name = new_name();
        for argument in &mut self.arguments {
            if *argument == self.name {
                argument.clone_from(&name);
            }
        }
        self.name = name;
        (self.child, self.leader) = launch(self.dir.path(), &self.arguments).await;
        self.wait_booted().await;
    }

    /// Ends all of its processes, and removes the cgroups that a real one would have lost: kubelet waits for
    /// the containers of cgroups that it finds.
    pub fn halt(&mut self) {
        self.child.kill();
        // Its processes die with the first one, a moment later.
        for _ in 0..500 {
            if !Path::new(&format!("/proc/{}", self.leader)).exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        remove_cgroups(Path::new("/sys/fs/cgroup"), &self.name);
    }

    /// Runs a command inside, as root.
    pub async fn run(&self, command: &[&str]) -> Output {
        self.run_within(COMMAND_LIMIT, command).await
    }

    /// The same with another limit.
    pub async fn run_within(&self, limit: Duration, command: &[&str]) -> Output {
        let mut inside = self.inside(limit, command);
        let output = tokio::task::spawn_blocking(move || inside.output())
            .await
            .expect("it does not panic")
            .expect("nsenter can be started");
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        Output {
            code: output.status.code().unwrap_or(-1),
            text,
        }
    }

    /// The same for a command that has to succeed: what it wrote.
    pub async fn ok(&self, command: &[&str]) -> String {
        let output = self.run(command).await;
        assert_eq!(output.code, 0, "{command:?}: {}", output.text);
        output.text
    }

    fn inside(&self, limit: Duration, command: &[&str]) -> Command {
        let mut inside = Command::new("timeout");
        let leader = self.leader.to_string();
        inside.arg(limit.as_secs().to_string());
        inside.args(["nsenter", "--target", &leader]);
        inside.args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]);
        inside.arg("--");
        inside
            .args(command)
            .env("SYSTEMD_PAGER", "")
            .env("LC_ALL", "C");
        inside
    }

    /// What systemd wrote to its console.
    pub fn console(&self) -> String {
        self.child.log()
    }

    /// The whole journal; for a test that failed.
    pub fn journal_now(&self) -> String {
        let output = self
            .inside(COMMAND_LIMIT, &["journalctl", "--no-pager", "-q"])
            .output();
        let text = output.map(|it| String::from_utf8_lossy(&it.stdout).into_owned());
        text.unwrap_or_default()
    }

    /// A file or socket inside, as seen from here.
    pub fn path(&self, path: &str) -> PathBuf {
        let root = format!("/proc/{}/root", self.leader);
        Path::new(&root).join(path.trim_start_matches('/'))
    }

    /// Replaces a file inside.
    pub fn write(&self, path: &str, content: &str) {
        let place = self.path(path);
        let dir = place.parent().expect("a file is in a directory");
        fs::create_dir_all(dir).expect("a directory can be made");
        fs::write(&place, content).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.halt();
    }
}

/// The systemd that `pid` started, or something that it started.
fn systemd_under(pid: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    let mut children = children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok());
    children.find_map(|child| {
        let name = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
        match name.trim() {
            "systemd" => Some(child),
            _ => systemd_under(child),
        }
    })
}

/// Directories of the cgroup file systems: they can only be removed from the inside out.
fn remove_cgroups(dir: &Path, name: &str) {
    for child in dirs(dir) {
        if child.file_name().is_some_and(|it| it == name) {
            remove_inside_out(&child);
        } else {
            remove_cgroups(&child, name);
        }
    }
}

fn remove_inside_out(dir: &Path) {
    for child in dirs(dir) {
        remove_inside_out(&child);
    }
    // One that is still in use stays; it costs nothing.
    let _ = fs::remove_dir(dir);
}

fn dirs(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.unwrap_or_default().into_iter();
    let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    dirs.map(|entry| entry.path()).collect()
}

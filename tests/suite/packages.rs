//! What `packaging/build.sh` made, installed and run: the exact archives that are released, which the build leaves in
//! `target/dist-VERSION`, or where `PACKAGES_DIR` says.

mod budgets;
mod deb;
mod image;
mod rpm;
mod units;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::sync::OnceCell;

use super::harness::child::free_port;
use super::harness::kms::KmsClient;
use super::harness::load::Load;
use super::harness::machine::{Machine, Output, Plan};
use super::harness::vault::{Fixture, Vault};
use super::harness::wait;

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// What the same build is called before it, for an upgrade.
const PREVIOUS: &str = "0.0.9";
/// How long an installation may take until the plugin has proven its key.
const INSTALL_LIMIT: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_secs(60);
const SERVICE: &str = "vault-kms-plugin.service";
const SOCKET_UNIT: &str = "vault-kms-plugin.socket";
const SOCKET: &str = "/run/vault-kms-plugin/kms.sock";
const CONFIG: &str = "/etc/vault-kms-plugin/config.toml";
const TOKEN: &str = "/etc/vault-kms-plugin/token";
/// Where a machine finds the packages.
const INSIDE: &str = "/srv/packages";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where the released archives are.
fn released() -> PathBuf {
    let default = || root().join(format!("target/dist-{VERSION}"));
    env::var_os("PACKAGES_DIR").map_or_else(default, PathBuf::from)
}

/// Whether the packages and the image of this machine's architecture were built.
pub(crate) fn are_built() -> bool {
    released().join(file("gnu.tar.gz")).is_file() && is_built_for("amd64")
}

/// Whether there is an image for this architecture: a build of `$TARGETS` has some.
pub(crate) fn is_built_for(architecture: &str) -> bool {
    image(architecture).is_file()
}

/// Where the image for this architecture is, if it was built.
pub(crate) fn image(architecture: &str) -> PathBuf {
    let name = format!("vault-kms-plugin-{VERSION}-image-{architecture}.tar");
    released().join(name)
}

/// An archive of programs, by the end of its name.
fn file(end: &str) -> String {
    format!("vault-kms-plugin-{VERSION}-x86_64-linux-{end}")
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}{errors}");
    text
}

/// Unpacks a released archive.
fn unpack(name: &str, to: &Path) {
    let archive = released().join(name);
    fs::create_dir_all(to).unwrap();
    run(Command::new("tar")
        .arg("-xf")
        .arg(archive)
        .arg("-C")
        .arg(to));
}

/// The released packages beside those of the version before: the same programs, packed as a release is.
async fn packages() -> &'static Path {
    static MADE: OnceCell<tempfile::TempDir> = OnceCell::const_new();
    let made = MADE.get_or_init(async || {
        let dir = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(released()).unwrap() {
            let path = entry.unwrap().path();
            if path
                .extension()
                .is_some_and(|it| it == "deb" || it == "rpm")
            {
                fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
            }
        }
        let programs = dir.path().join("programs");
        unpack(&file("gnu.tar.gz"), &programs);
        let programs = programs.join(file("gnu"));
        run(Command::new(root().join("packaging/package.sh"))
            .arg("x86_64-unknown-linux-gnu")
            .args([programs.as_os_str(), PREVIOUS.as_ref()])
            .arg(dir.path()));
        dir
    });
    made.await.path()
}

/// A machine that has the packages, and what its plugin shall serve.
struct Host {
    machine: Machine,
    _fixture: Fixture,
    config: String,
    token: String,
}

impl Host {
    async fn boot(more: impl FnOnce(Plan) -> Plan) -> Self {
        let packages = packages().await;
        let vault = Vault::shared().await;
        let fixture = vault.fixture().await;
        let (address, port) = (vault.address(), free_port());
        let config = format!(
            "[vault]\naddress = {address:?}\n\
             [transit]\nmount = {:?}\nkey = {:?}\n\
             [auth]\nmethod = \"token\"\ntoken_file = {TOKEN:?}\n\
             [admin]\nlisten = \"127.0.0.1:{port}\"\n",
            fixture.mount, fixture.key
        );
        let machine = more(Plan::new().program(packages, INSIDE)).boot().await;
        Self {
            machine,
            config,
            token: fixture.token.clone(),
            _fixture: fixture,
        }
    }

    /// What the operator writes after the installation.
    fn configure(&self) {
        self.machine.write(CONFIG, &self.config);
        self.machine.write(TOKEN, &self.token);
    }

    /// Runs a command line as root, which has to succeed; what it wrote.
    async fn ok(&self, text: &str) -> String {
        self.machine.ok(&["bash", "-euc", &with_path(text)]).await
    }

    async fn run(&self, text: &str) -> Output {
        self.machine.run(&["bash", "-euc", &with_path(text)]).await
    }

    fn client(&self) -> KmsClient {
        KmsClient::connect(self.machine.path(SOCKET))
    }

    async fn main_pid(&self) -> String {
        let command = format!("systemctl show --value -p MainPID {SERVICE}");
        self.ok(&command).await.trim().to_owned()
    }

    /// `active`, `inactive`, `enabled`, `disabled` …
    async fn state(&self, verb: &str, unit: &str) -> String {
        let output = self.run(&format!("systemctl {verb} {unit}")).await;
        output.text.trim().to_owned()
    }

    /// Nothing was enabled or started, and what the service needs is there.
    async fn expect_installed(&self, said: &str) {
        assert!(said.contains("neither enabled nor started"), "{said}");
        for unit in [SERVICE, SOCKET_UNIT] {
            assert_eq!(self.state("is-enabled", unit).await, "disabled");
            assert_eq!(self.state("is-active", unit).await, "inactive");
        }
        assert_eq!(self.ok("id -u vault-kms-plugin").await, "60790\n");
        let shown = self.ok("stat -c '%a %U:%G' /etc/vault-kms-plugin").await;
        assert_eq!(shown, "750 root:vault-kms-plugin\n");
        self.ok("/usr/bin/vault-kmsctl --version").await;
        let version = self.ok("/usr/bin/vault-kms-plugin --version").await;
        assert_eq!(version, format!("vault-kms-plugin {VERSION}\n"));
        let files = [
            "man/man8/vault-kms-plugin.8.gz",
            "man/man5/vault-kms-plugin.toml.5.gz",
            "bash-completion/completions/vault-kms-plugin",
            "fish/vendor_completions.d/vault-kms-plugin.fish",
            "vault-kms-plugin/policy.hcl",
            "vault-kms-plugin/static-pod/vault-kms-plugin.yaml",
            "vault-kms-plugin/schema/vault-kms-plugin.schema.json",
            "vault-kms-plugin/monitoring/alerts.yaml",
            "vault-kms-plugin/monitoring/dashboard.json",
            "doc/vault-kms-plugin/LICENSE-MIT",
            "doc/vault-kms-plugin/LICENSE-APACHE",
        ];
        for file in files {
            self.ok(&format!("test -s /usr/share/{file}")).await;
        }
        // The example lacks the address and the token of this Vault, and nothing else.
        let example = self.ok("cat /usr/share/vault-kms-plugin/config.toml").await;
        assert!(example.contains("[transit]\nkey = \"kms\"\n"), "{example}");
        self.ok(&format!("test ! -e {CONFIG}")).await;
        let verify = format!("systemd-analyze verify {SERVICE} {SOCKET_UNIT}");
        assert_eq!(self.ok(&verify).await, "");
    }

    /// Has another version installed under load, and restarts the service as the package says.
    async fn change_version(&self, command: &str, load: &Load) -> String {
        let before = self.main_pid().await;
        let said = self.ok(command).await;
        load.progress(50, LIMIT).await;
        assert_eq!(
            self.main_pid().await,
            before,
            "restarted by the package: {said}"
        );
        assert!(said.contains("still runs the previous version"), "{said}");
        let due = said.lines().find_map(|line| line.split_once("&& "));
        let (_, due) = due.unwrap_or_else(|| panic!("no command to restart it: {said}"));
        let check = "vault-kms-plugin check --unit vault-kms-plugin";
        assert!(said.contains(&format!("{check} && {due}")), "{said}");
        self.ok(&format!("{check} && {due}")).await;
        assert_ne!(self.main_pid().await, before);
        load.progress(50, LIMIT).await;
        said
    }

    /// The service was stopped for good, with a warning, and nothing of the operator's is gone.
    async fn expect_removed(&self, said: &str) {
        assert!(
            said.contains("cannot read or write encrypted objects"),
            "{said}"
        );
        for unit in [SERVICE, SOCKET_UNIT] {
            wait::until_true("the unit to be stopped", LIMIT, async || {
                self.state("is-active", unit).await == "inactive"
            })
            .await;
        }
        let left = "find /etc/systemd/system -name 'vault-kms-plugin*'";
        assert_eq!(self.ok(left).await, "");
        self.ok("test ! -e /usr/bin/vault-kms-plugin").await;
        assert_eq!(self.ok(&format!("cat {CONFIG}")).await, self.config);
        assert_eq!(self.ok(&format!("cat {TOKEN}")).await, self.token);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the journal:\n{}", self.machine.journal_now());
        }
    }
}

fn with_path(text: &str) -> String {
    format!(
        "export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root; cd {INSIDE}; {text}"
    )
}

/// Every file that is released is in the list of checksums, and is what the list says.
fn the_checksums_cover_every_archive() {
    let released = released();
    let list = fs::read_to_string(released.join("SHA256SUMS")).unwrap();
    run(Command::new("sha256sum")
        .args(["--check", "--quiet", "SHA256SUMS"])
        .current_dir(&released));
    for entry in fs::read_dir(&released).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let is_listed = list
            .lines()
            .any(|line| line.ends_with(&format!("  {name}")));
        assert!(is_listed || name == "SHA256SUMS", "{name} is not listed");
    }
}

/// The budget of the design, and that nothing but the kernel is needed.
fn the_programs_are_small_and_the_static_ones_need_no_library() {
    let dir = tempfile::tempdir().unwrap();
    for end in ["gnu", "musl"] {
        unpack(&file(&format!("{end}.tar.gz")), dir.path());
        let program = dir.path().join(file(end)).join("vault-kms-plugin");
        let size = fs::metadata(&program).unwrap().len();
        assert!(size <= 12 * 1024 * 1024, "{end}: {size} bytes");
        let version = run(Command::new(&program).arg("--version"));
        assert_eq!(version, format!("vault-kms-plugin {VERSION}\n"));
        let needed = run(Command::new("readelf").arg("-d").arg(&program));
        let libraries = needed.matches("(NEEDED)").count();
        assert_eq!(libraries == 0, end == "musl", "{end}: {needed}");
        // jemalloc's settings are in the program, whatever the build's environment was.
        let mut shows = Command::new(&program);
        shows
            .arg("--version")
            .env("_RJEM_MALLOC_CONF", "stats_print:true");
        let shown = String::from_utf8(shows.output().unwrap().stderr).unwrap();
        for setting in ["retain: false", "dirty_decay_ms: 0", "muzzy_decay_ms: 0"] {
            assert!(shown.contains(&format!("opt.{setting}")), "{end}: {shown}");
        }
        // The list of dependencies, which `cargo audit bin` reads.
        let sections = run(Command::new("readelf").arg("-SW").arg(&program));
        assert!(sections.contains(".dep-v0"), "{end}: {sections}");
    }
}

tests! {
    [budgets, deb, image, rpm, units]
    plain the_checksums_cover_every_archive [Packages];
    plain the_programs_are_small_and_the_static_ones_need_no_library [Packages];
}

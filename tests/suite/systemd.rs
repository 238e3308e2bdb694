//! The service under a real systemd: the shipped program and the shipped units, on a machine of its
//! own for each test.

mod activation;
mod environment;
mod journal;
mod notifications;
mod pages;
mod readme;
mod reload;
mod service;
mod templates;
mod units;

use std::path::PathBuf;
use std::time::Duration;

use super::harness::child::free_port;
use super::harness::kms::KmsClient;
use super::harness::machine::{Machine, Plan};
use super::harness::servers;
use super::harness::vault::{Fixture, Vault};
use super::harness::wait;

const LIMIT: Duration = Duration::from_secs(60);
const SERVICE: &str = "vault-kms-plugin.service";
const SOCKET: &str = "/run/vault-kms-plugin/kms.sock";
const CONFIG: &str = "/etc/vault-kms-plugin/config.toml";
const TOKEN: &str = "/etc/vault-kms-plugin/token";

/// A machine with the plugin installed, and what it serves.
struct Host {
    machine: Machine,
    fixture: Fixture,
    config: String,
}

/// The units as they are shipped, the program, the users; nothing is configured.
fn installed() -> Plan {
    units_installed().program(
        &servers::release_daemon(),
        "/usr/local/bin/vault-kms-plugin",
    )
}

/// The same without the program.
fn units_installed() -> Plan {
    let shipped = |name: &str| {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("systemd")
            .join(name);
        std::fs::read_to_string(&path).unwrap()
    };
    let units = [
        "vault-kms-plugin.service",
        "vault-kms-plugin.socket",
        "vault-kms-plugin@.service",
        "vault-kms-plugin@.socket",
    ];
    let plan = units.into_iter().fold(Plan::new(), |plan, unit| {
        plan.file(&format!("/etc/systemd/system/{unit}"), &shipped(unit))
    });
    let plan = ["sysusers.d", "tmpfiles.d"]
        .into_iter()
        .fold(plan, |plan, dir| {
            let name = format!("{dir}/vault-kms-plugin.conf");
            plan.file(&format!("/usr/lib/{name}"), &shipped(&name))
        });
    // A package would run systemd-sysusers; here the boot does.
    plan.file(
        "/etc/systemd/system/systemd-sysusers.service.d/always.conf",
        "[Unit]\nConditionNeedsUpdate=\n",
    )
}

/// The plugin's configuration for a fixture on a Vault at `address`.
fn config_for(address: &str, fixture: &Fixture, admin_port: u16) -> String {
    let (mount, key) = (&fixture.mount, &fixture.key);
    format!(
        "[vault]\naddress = {address:?}\n\
         [transit]\nmount = {mount:?}\nkey = {key:?}\n\
         [auth]\nmethod = \"token\"\ntoken_file = {TOKEN:?}\n\
         [admin]\nlisten = \"127.0.0.1:{admin_port}\"\n\
         [log]\nlevel = \"debug\"\n"
    )
}

impl Host {
    /// The shared Vault, a key of its own on it, and whatever `more` adds.
    async fn boot(more: impl FnOnce(Plan) -> Plan) -> Self {
        let vault = Vault::shared().await;
        let fixture = vault.fixture().await;
        let config = config_for(&vault.address(), &fixture, free_port());
        let plan = installed()
            .file(CONFIG, &config)
            .file(TOKEN, &fixture.token);
        let machine = more(plan).boot().await;
        Self {
            machine,
            fixture,
            config,
        }
    }

    /// The same with the service running and its key proven.
    async fn serving(more: impl FnOnce(Plan) -> Plan) -> (Self, KmsClient) {
        let host = Self::boot(|plan| more(plan.start(SERVICE))).await;
        let client = host.client();
        client.wait_ok(LIMIT).await;
        (host, client)
    }

    /// A kube-apiserver out here.
    fn client(&self) -> KmsClient {
        KmsClient::connect(self.machine.path(SOCKET))
    }

    /// A property of the service, as systemd knows it.
    async fn show(&self, property: &str) -> String {
        let command = ["systemctl", "show", "--value", "-p", property, SERVICE];
        self.machine.ok(&command).await.trim().to_owned()
    }

    /// The service's log, or what these matches leave of it.
    async fn journal(&self, matches: &[&str]) -> String {
        let mut command = vec!["journalctl", "--no-pager", "-q", "-u", SERVICE];
        command.extend(matches);
        self.machine.run(&command).await.text
    }

    /// Waits until the service's log says `text`.
    async fn logged(&self, text: &str) {
        let what = format!("the journal to say {text:?}");
        wait::until_true(&what, LIMIT, async || {
            self.journal(&[]).await.contains(text)
        })
        .await;
    }

    /// Waits until systemd knows another living process than `before`; its id.
    async fn successor_of(&self, before: &str) -> String {
        wait::until("another process", LIMIT, async || {
            let now = self.show("MainPID").await;
            let state = self.show("ActiveState").await;
            (state == "active" && now != before && now != "0").then_some(now)
        })
        .await
    }
}

impl Drop for Host {
    /// A test that failed shows what the service said.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the console:\n{}", self.machine.console());
            eprintln!("the journal:\n{}", self.machine.journal_now());
        }
    }
}

tests! {
    [activation, environment, journal, notifications, pages, readme, reload, service, templates, units]
}

//! The genuine client code of seven Kubernetes releases, from `tests/conformance/`, against the
//! daemon as it is shipped and a real Vault. They all run at once, because they mostly wait.

mod rules;

use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use tempfile::TempDir;

use super::harness::child::{Child, clean_environment};
use super::harness::daemon::{Builder, Daemon};
use super::harness::servers::{conformance, release_daemon};
use super::harness::vault::{Fixture, Vault};
use super::harness::wait;
use super::{LIMIT, daemon_for};

pub(super) const RELEASES: [&str; 7] = [
    "v0.25.16", "v0.27.16", "v0.28.15", "v0.29.15", "v0.31.14", "v0.33.13", "v0.37.2",
];
/// Beyond the program's own limit of 150 s for an endpoint.
const RUN_LIMIT: Duration = Duration::from_secs(180);
/// What the kernel takes for a path.
const LONGEST_PATH: usize = 107;

/// A kube-apiserver of one release that speaks one version of KMS.
#[derive(Clone, Copy, Debug)]
struct Client {
    release: &'static str,
    api: &'static str,
}

/// KMS v1 on all releases; v2 but for Kubernetes 1.25, whose v2 was another protocol.
fn clients() -> Vec<Client> {
    let of = |api: &'static str| RELEASES.map(|release| Client { release, api });
    let mut clients = [of("v1"), of("v2")].concat();
    clients.retain(|client| !(client.api == "v2" && client.is("v0.25.")));
    clients
}

impl Client {
    fn is(self, release: &str) -> bool {
        self.release.starts_with(release)
    }

    /// The settings of the plugin that it calls.
    fn kms_version(self) -> &'static str {
        let old = self.api == "v2" && (self.is("v0.27.") || self.is("v0.28."));
        if old { "v2beta1" } else { "v2" }
    }

    /// How many calls its connection has to survive. Under v2 they cost Vault nothing; 1.31 is the
    /// last release whose v2 sends its socket's path, which has to be fixed again and again.
    fn calls(self) -> u32 {
        match self.api {
            "v2" if self.is("v0.31.") => 10_000,
            _ => 100,
        }
    }

    /// Runs the program to its end: its exit code, and what it said.
    async fn run(self, arguments: &[&str]) -> (i32, String) {
        let dir = TempDir::new().unwrap();
        let log = dir.path().join("log");
        let arguments = [&["-api", self.api][..], arguments].concat();
        let program = conformance(self.release);
        let mut child = Child::spawn(&program, &arguments, &log, clean_environment);
        let ended = wait::until(&format!("{self:?}"), RUN_LIMIT, async || child.exited()).await;
        eprintln!("{self:?} said:\n{}", child.log());
        (ended, child.log())
    }

    /// The same, when all checks have to pass.
    async fn conform(self, arguments: &[&str]) -> Result<(), String> {
        match self.run(arguments).await {
            (0, said) if said.contains("ok ") => Ok(()),
            (code, _) => Err(format!("{self:?}: exit {code}, see its words above")),
        }
    }
}

/// Runs all clients at one time and shows all that went wrong.
async fn all_conform(run: impl AsyncFn(Client) -> Result<(), String>) {
    // Before all, and one after the other: a build takes all there is of the machine, and blocks.
    release_daemon();
    for release in RELEASES {
        conformance(release);
    }
    let ended = join_all(clients().into_iter().map(|client| run(client))).await;
    let failures: Vec<_> = ended.into_iter().filter_map(Result::err).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn plugin(vault: &Vault, fixture: &Fixture, kms_version: &str) -> Builder {
    daemon_for(&vault.address(), fixture)
        .extra(&format!("kms_version = \"{kms_version}\""))
        .release()
}

async fn proven(daemon: &Daemon) {
    wait::until_true("the plugin has proven its key", LIMIT, async || {
        daemon.admin("/readyz").await.0 == 200
    })
    .await;
}

async fn every_kubernetes_release_writes_reads_and_follows_a_rotation() {
    all_conform(async |client: Client| {
        let vault = Vault::shared().await;
        let fixture = vault.fixture().await;
        let daemon = plugin(vault, &fixture, client.kms_version()).spawn().await;
        proven(&daemon).await;
        let Fixture { mount, key, .. } = &fixture;
        let rotate = format!("{}/v1/{mount}/keys/{key}/rotate", vault.address());
        let (calls, endpoint) = (client.calls().to_string(), endpoint(daemon.socket()));
        let token = vault.root_token();
        let options = ["-rotate-url", &rotate, "-token", token, "-calls", &calls];
        client.conform(&[&options[..], &[&endpoint]].concat()).await
    })
    .await;
}

async fn every_kubernetes_release_finds_odd_socket_paths() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let dir = TempDir::new().unwrap();
    let (v2, v2beta1) = (
        at_odd_paths(vault, &fixture, "v2", dir.path()).await,
        at_odd_paths(vault, &fixture, "v2beta1", dir.path()).await,
    );
    let endpoints = |daemons: &[Daemon]| -> Vec<String> {
        let sockets = daemons.iter().map(Daemon::socket);
        sockets.map(endpoint).collect()
    };
    let (v2, v2beta1) = (endpoints(&v2), endpoints(&v2beta1));
    all_conform(async |client: Client| {
        let endpoints = match client.kms_version() {
            "v2beta1" => &v2beta1,
            _ => &v2,
        };
        let arguments: Vec<&str> = endpoints.iter().map(String::as_str).collect();
        client.conform(&arguments).await
    })
    .await;
}

/// Why no test has such a path: gRPC takes the path apart as a URL once more.
async fn no_kubernetes_release_can_dial_a_percent_sign_that_begins_no_escape() {
    all_conform(async |client: Client| {
        let (code, said) = client.run(&["unix:///tmp/100%25.sock"]).await;
        let refused = code == 1 && said.contains("invalid URL escape");
        refused
            .then_some(())
            .ok_or_else(|| format!("{client:?}: {said}"))
    })
    .await;
}

/// A plugin at each odd path in a directory of this name.
async fn at_odd_paths(
    vault: &Vault,
    fixture: &Fixture,
    kms_version: &str,
    dir: &Path,
) -> Vec<Daemon> {
    let dir = dir.join(kms_version);
    std::fs::create_dir_all(dir.join("a directory, with spaces")).unwrap();
    let mut daemons = Vec::new();
    for socket in odd_paths(dir.to_str().unwrap()) {
        let builder = plugin(vault, fixture, kms_version);
        let state = format!("[state]\ndir = \"{}\"", builder.dir().display());
        let daemon = builder.listen(&socket).extra(&state).spawn().await;
        proven(&daemon).await;
        daemons.push(daemon);
    }
    daemons
}

/// What a `:authority` made of it has to survive: escapes, their absence, length, an `@`.
fn odd_paths(dir: &str) -> [String; 5] {
    let name = dir.replace('/', ":");
    [
        format!("{dir}/a directory, with spaces/kms of vault.sock"),
        format!("{dir}/kms%41.sock"),
        format!("{dir}/[kms]:é@1.sock"),
        format!("{dir}/{:k<1$}", "", LONGEST_PATH - dir.len() - 1),
        format!("@{name}/kms %41"),
    ]
}

/// As an operator has to write it: a `%` of the path is `%25` in a URL.
fn endpoint(socket: &Path) -> String {
    let path = socket.to_str().unwrap().replace('%', "%25");
    format!("unix:///{}", path.trim_start_matches('/'))
}

tests! {
    [rules]
    multi every_kubernetes_release_writes_reads_and_follows_a_rotation [Vault, Go];
    multi every_kubernetes_release_finds_odd_socket_paths [Vault, Go];
    multi no_kubernetes_release_can_dial_a_percent_sign_that_begins_no_escape [Go];
}

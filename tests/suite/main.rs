//! All integration tests, by subject, on one harness.
//!
//! Tests whose needs are not met on this machine are ignored, with the reasons at the end; with
//! `REQUIRE_REAL_SERVERS=1` and its like they fail instead.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say so at that line"
)]

#[macro_use]
mod runner;

mod addresses;
mod assets;
mod authentication;
mod batching;
mod bounds;
mod called;
mod calls;
mod chaos;
mod check;
mod cluster;
mod configuration;
mod conformance;
mod convert;
mod documents;
mod encryption;
mod errors;
mod etcd;
mod events;
mod failures;
mod harness;
mod harness_selftest;
mod hostile;
mod init;
mod keys;
mod kmsctl;
mod layout;
mod links;
mod memory;
mod metrics;
mod monitoring;
mod namespaces;
mod nodes;
mod operations;
mod outages;
mod packages;
mod peers;
mod reload;
mod secrets;
mod seed_cache;
mod signals;
mod sockets;
mod standby;
mod static_pod;
mod status;
mod supervision;
mod surfaces;
mod systemd;
mod tls;
mod tracing;
mod words;

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use harness::daemon::{Builder, Daemon};
use harness::kms::KmsClient;
use harness::proxy::Proxy;
use harness::servers::{self, Server};
use harness::vault::{Fixture, Vault};

fn main() -> ExitCode {
    allow_many_files();
    runner::run(tests())
}

/// Thousands of connections are tests too, and an ordinary user has 1,024 open files unless it asks
/// for more.
fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).expect("the hard limit is allowed");
}

/// Long enough for a slow machine, and longer than the time between two looks at the key; no test
/// waits for it when all is well.
const LIMIT: Duration = Duration::from_secs(45);

/// The number in this environment variable, which sets a seed, or how many minutes a long test takes.
fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is no number")),
    )
}

/// A daemon for a fixture of its own on this Vault; more can be set on it.
fn daemon_for(address: &str, fixture: &Fixture) -> Builder {
    daemon_at(address, fixture).token(&fixture.token)
}

/// The same, without a login method.
fn daemon_at(address: &str, fixture: &Fixture) -> Builder {
    Daemon::builder()
        .vault(address)
        .transit(&fixture.mount, &fixture.key)
}

/// The daemon as it is shipped, for a fixture of its own.
async fn shipped(vault: &Vault) -> (Fixture, Daemon) {
    let fixture = vault.fixture().await;
    let builder = daemon_for(&vault.address(), &fixture).release();
    let daemon = builder.spawn().await;
    (fixture, daemon)
}

/// A running daemon that has proven its key, on the shared Vault.
async fn ready_daemon() -> (Fixture, Daemon, KmsClient) {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let daemon = daemon_for(&vault.address(), &fixture).spawn().await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    (fixture, daemon, client)
}

/// The same with a proxy before Vault, whose counts begin after the key was proven.
async fn ready_daemon_behind_proxy() -> (Fixture, Proxy, Daemon, KmsClient) {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let proxy = Proxy::start(vault.socket_address());
    let daemon = daemon_for(&proxy.address(), &fixture).spawn().await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    // The look at the key, with its canary, is over when Status is ok; the next is 27 s away.
    proxy.reset_counts();
    (fixture, proxy, daemon, client)
}

fn all_that_the_tests_run_is_built() {
    for server in [
        Server::Etcd,
        Server::Etcdctl,
        Server::Etcdutl,
        Server::KubeApiserver,
        Server::Kubectl,
        Server::Promtool,
        Server::Vault,
    ] {
        servers::binary(server);
    }
    for release in conformance::RELEASES {
        servers::conformance(release);
    }
    for release in encryption::RELEASES {
        servers::encryption_config(release);
    }
    servers::no_proxy();
    servers::stored_values();
    servers::release_daemon();
}

tests! {
    [addresses, assets, authentication, batching, bounds, called, calls, chaos, check, cluster, configuration, conformance, convert, documents, encryption, errors, etcd, events, failures, harness_selftest, hostile, init, keys, kmsctl, layout, links, memory, metrics, monitoring, namespaces, nodes, operations, outages, packages, peers, reload, secrets, seed_cache, signals, sockets, standby, static_pod, status, supervision, surfaces, systemd, tls, tracing, words]
    plain all_that_the_tests_run_is_built soak "builds, and tests nothing: run it before a run that should not be slowed by builds";
}

//! The socket that systemd listens on and passes.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::super::harness::daemon::Daemon;
use super::super::harness::load::Load;
use super::super::harness::wait;
use super::{CONFIG, Host, LIMIT, SERVICE, SOCKET};

const UNIT: &str = "vault-kms-plugin.socket";

async fn a_restart_behind_systemds_socket_loses_no_call() {
    let host = Host::boot(|plan| plan.start(UNIT)).await;
    assert_eq!(host.show("ActiveState").await, "inactive");
    // The first to connect starts the service.
    let client = host.client();
    client.wait_ok(LIMIT).await;
    assert_eq!(host.show("ActiveState").await, "active");
    host.logged("listening").await;
    let inode = || std::fs::metadata(host.machine.path(SOCKET)).unwrap().ino();
    let before = inode();

    let clients = (0..8).map(|_| host.client()).collect();
    let load = Load::start(clients, Duration::from_millis(5));
    load.progress(200, LIMIT).await;
    for _ in 0..3 {
        let start = Instant::now();
        host.machine.ok(&["systemctl", "restart", SERVICE]).await;
        eprintln!("restarted in {:?}", start.elapsed());
        load.progress(200, LIMIT).await;
    }
    let outcome = load.stop().await;
    eprintln!("{} calls, {} lost", outcome.calls, outcome.failures.len());
    outcome.expect_no_failure();

    // The socket was systemd's all the time, and stays when the service stops.
    host.machine.ok(&["systemctl", "stop", UNIT, SERVICE]).await;
    assert_eq!(inode(), before);
}

async fn systemds_socket_outlives_a_service_that_cannot_start() {
    let host = Host::boot(|plan| plan.start(UNIT)).await;
    host.machine.write(CONFIG, "[vault]\nadress = \"x\"\n");
    let client = host.client();
    let state = ["systemctl", "is-active", UNIT];
    let fixed = async {
        wait::until_true("some failed starts", LIMIT, async || {
            host.show("NRestarts").await.parse::<u32>().unwrap() >= 5
        })
        .await;
        assert_eq!(host.machine.ok(&state).await, "active\n");
        host.machine.write(CONFIG, &host.config);
    };
    tokio::join!(client.wait_ok(LIMIT), fixed);
    assert_eq!(host.machine.ok(&state).await, "active\n");
}

/// Starts the daemon with descriptor 3 passed, as systemd would.
async fn refusal_of(descriptor: &str, count: u32) -> (i32, String) {
    let builder = Daemon::builder()
        .vault("http://127.0.0.1:9")
        .transit("transit", "kms")
        .token("x");
    let config = builder.dir().join("config.toml").display().to_string();
    let program = env!("CARGO_BIN_EXE_vault-kms-plugin");
    let script = format!(
        "exec 3<{descriptor} 4</dev/null; LISTEN_PID=$$ LISTEN_FDS={count} exec {program} serve --config {config}"
    );
    let daemon = builder
        .binary("/bin/sh")
        .arguments(&["-c", &script])
        .spawn_raw();
    let code = daemon.wait_exit(LIMIT).await;
    assert!(!Path::new(daemon.socket()).exists());
    (code, daemon.log())
}

async fn a_passed_file_that_is_no_listening_unix_socket_is_refused() {
    let (code, log) = refusal_of("/dev/null", 1).await;
    assert_eq!(code, 78, "{log}");
    assert!(
        log.contains("something other than a listening unix stream socket"),
        "{log}"
    );
}

async fn two_sockets_are_refused() {
    let (code, log) = refusal_of("/dev/null", 2).await;
    assert_eq!(code, 78, "{log}");
    assert!(
        log.contains("systemd passed 2 sockets, one is wanted"),
        "{log}"
    );
}

async fn sockets_passed_to_another_process_are_ignored() {
    let daemon = Daemon::builder()
        .vault("http://127.0.0.1:9")
        .transit("transit", "kms")
        .token("x")
        .env("LISTEN_PID", "1")
        .env("LISTEN_FDS", "1")
        .spawn()
        .await;
    assert!(daemon.socket().exists());
}

tests! {
    single a_restart_behind_systemds_socket_loses_no_call [Vault, Machines];
    single systemds_socket_outlives_a_service_that_cannot_start [Vault, Machines];
    single a_passed_file_that_is_no_listening_unix_socket_is_refused;
    single two_sockets_are_refused;
    single sockets_passed_to_another_process_are_ignored;
}

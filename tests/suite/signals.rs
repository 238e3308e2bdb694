//! SIGTERM and SIGINT drain, a second one quits, SIGHUP never ends the process.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::task::JoinHandle;
use tonic::Status;

use super::harness::daemon::Daemon;
use super::harness::kms::KmsClient;
use super::harness::proxy::{Fault, Proxy};
use super::harness::wait;
use super::{LIMIT, ready_daemon_behind_proxy};

const SEED: [u8; 32] = [3; 32];

/// An Encrypt that is under way: Vault has it and has not answered.
async fn call_at_vault(client: &KmsClient, proxy: &Proxy) -> JoinHandle<Result<(), Status>> {
    let client = client.clone();
    let call = tokio::spawn(async move { client.encrypt(&SEED).await.map(drop) });
    wait::until("the call to be at Vault", LIMIT, async || {
        (!proxy.requests().is_empty()).then_some(())
    })
    .await;
    call
}

async fn calls_in_flight_finish_before_the_end() {
    for signal in [Signal::TERM, Signal::INT] {
        let (_fixture, proxy, daemon, client) = ready_daemon_behind_proxy().await;
        proxy.fault("/encrypt/", Fault::Delay(Duration::from_millis(700)));
        let call = call_at_vault(&client, &proxy).await;
        daemon.signal(signal);
        call.await.unwrap().unwrap();
        assert_eq!(daemon.wait_exit(LIMIT).await, 0);
    }
}

async fn a_second_signal_stops_at_once() {
    let (_fixture, proxy, daemon, client) = ready_daemon_behind_proxy().await;
    let client = client.with_timeout(Duration::from_secs(30));
    proxy.fault("/encrypt/", Fault::Hang);
    let call = call_at_vault(&client, &proxy).await;
    let start = Instant::now();
    daemon.signal(Signal::TERM);
    daemon.logged("stopping").await;
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait_exit(LIMIT).await, 0);
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    assert!(daemon.log().contains("second signal"), "{}", daemon.log());
    assert!(call.await.unwrap().is_err());
}

async fn the_drain_has_a_limit_and_logs_what_is_late() {
    let (_fixture, proxy, daemon, client) = ready_daemon_behind_proxy().await;
    let client = client.with_timeout(Duration::from_secs(60));
    proxy.fault("/encrypt/", Fault::Hang);
    let call = call_at_vault(&client, &proxy).await;
    let start = Instant::now();
    assert_eq!(daemon.stop().await, 0);
    let took = start.elapsed().as_secs();
    assert!((9..14).contains(&took), "{took} s");
    let late = "\"message\":\"connections did not end in time\",\"connections\":1";
    assert!(daemon.log().contains(late), "{}", daemon.log());
    assert!(call.await.unwrap().is_err());
}

async fn sighup_applies_the_log_level_and_refuses_a_bad_file() {
    let daemon = Daemon::builder()
        .vault("http://127.0.0.1:9")
        .transit("transit", "kms")
        .token("x")
        .extra("[log]\nlevel = \"info\"")
        .spawn()
        .await;
    let good = std::fs::read_to_string(daemon.config_path()).unwrap();
    daemon.change_config("[log]\nlevel = \"trace\"");
    daemon.signal(Signal::HUP);
    daemon.logged("\"level\":\"trace\"").await;
    daemon.write_config("[log]\nlevle = \"info\"\n");
    daemon.signal(Signal::HUP);
    daemon
        .logged("configuration rejected, keeping the running one")
        .await;
    daemon.logged("log.levle: unknown key").await;
    std::fs::remove_file(daemon.config_path()).unwrap();
    daemon.signal(Signal::HUP);
    daemon.logged("cannot be read").await;
    daemon.write_config(&good);
    daemon.signal(Signal::HUP);
    daemon.logged("\"level\":\"info\"").await;
    KmsClient::connect(daemon.socket())
        .version_v1()
        .await
        .unwrap();
}

tests! {
    single calls_in_flight_finish_before_the_end [Vault];
    single a_second_signal_stops_at_once [Vault];
    single the_drain_has_a_limit_and_logs_what_is_late [Vault];
    single sighup_applies_the_log_level_and_refuses_a_bad_file;
}

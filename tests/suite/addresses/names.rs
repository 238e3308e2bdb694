//! Host names: `localhost`, a resolver that fails and comes back, and one that is slow.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::net::UdpSocket;

use super::super::harness::child::{Child, clean_environment};
use super::super::harness::daemon::Builder;
use super::super::harness::kms::KmsClient;
use super::super::harness::vault::Vault;
use super::super::harness::wait;
use super::super::{LIMIT, daemon_for};
use super::{SEED, encrypt_time};

/// Runs the daemon with a `hosts` file of its own, as only root may.
const OWN_HOSTS: &str = "mount --bind \"$1\" /etc/hosts && shift && exec \"$@\"";

/// Runs the daemon with this file in the place of `/etc/hosts`.
fn with_hosts(builder: &Builder, hosts: &Path) -> Child {
    let config = builder.write_file("config.toml", &builder.config_text());
    let arguments = [
        "-m",
        "sh",
        "-c",
        OWN_HOSTS,
        "sh",
        hosts.to_str().unwrap(),
        env!("CARGO_BIN_EXE_vault-kms-plugin"),
        "serve",
        "--config",
        config.to_str().unwrap(),
    ];
    let log = builder.dir().join("log");
    Child::spawn("unshare".as_ref(), &arguments, &log, clean_environment)
}

async fn localhost_is_this_machine_whatever_the_hosts_file_says() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let address = format!("http://localhost:{}", vault.socket_address().port());
    let builder = daemon_for(&address, &fixture);
    let hosts = builder.write_file("hosts", "192.0.2.1 localhost\n");
    let _daemon = with_hosts(&builder, &hosts);
    KmsClient::connect(builder.socket()).wait_ok(LIMIT).await;
}

async fn a_name_that_resolves_again_is_noticed_and_may_have_an_unreachable_address() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let address = format!(
        "http://vault.kms-test.invalid:{}",
        vault.socket_address().port()
    );
    let builder = daemon_for(&address, &fixture).extra("[vault]\nallow_plaintext = true");
    let hosts = builder.write_file("hosts", "127.0.0.1 localhost\n");
    let socket = builder.socket().to_owned();
    let mut daemon = with_hosts(&builder, &hosts);
    let client = KmsClient::connect(&socket);
    let error = wait::until("the daemon to answer", LIMIT, async || {
        daemon.expect_alive();
        let error = client.encrypt(&SEED).await.unwrap_err();
        error.message().contains("vault").then_some(error)
    })
    .await;
    assert!(
        error.message().contains("vault.kms-test.invalid"),
        "{error}"
    );
    assert!(
        error.message().contains("failed to lookup address"),
        "{error}"
    );
    // Written in place, because the file itself is mounted.
    // The first of two addresses does not answer.
    let both =
        "127.0.0.1 localhost\n127.0.0.9 vault.kms-test.invalid\n127.0.0.1 vault.kms-test.invalid\n";
    std::fs::write(&hosts, both).unwrap();
    wait::until("a call to work", LIMIT, async || {
        client.encrypt(&SEED).await.ok()
    })
    .await;
}

/// Runs the daemon with a `resolv.conf` of its own.
const OWN_RESOLVER: &str = "mount --bind \"$1\" /etc/resolv.conf && shift && exec \"$@\"";
/// Where the name server of these tests answers, and one that never does.
const GOOD: &str = "127.0.0.77";
const SILENT: &str = "127.0.0.78";

/// Answers each query for an IPv4 address with 127.0.0.1, and any other with nothing.
async fn serve_names(socket: UdpSocket) {
    let mut buffer = [0; 512];
    loop {
        let Ok((length, peer)) = socket.recv_from(&mut buffer).await else {
            return;
        };
        let query = &buffer[..length];
        // The header, then the name as labels, then type and class.
        let name = query[12..].iter().position(|byte| *byte == 0).unwrap();
        let question = &query[12..12 + name + 5];
        let is_ipv4 = question[name + 1..] == [0, 1, 0, 1];
        let mut answer = query[..2].to_vec();
        answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_ipv4), 0, 0, 0, 0]);
        answer.extend(question);
        if is_ipv4 {
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1]);
        }
        socket.send_to(&answer, peer).await.unwrap();
    }
}

async fn a_name_server_that_does_not_answer_delays_no_call_and_no_stop() {
    let good = UdpSocket::bind((GOOD, 53)).await.unwrap();
    // Bound, so that nobody refuses the queries either.
    let _silent = UdpSocket::bind((SILENT, 53)).await.unwrap();
    let names = tokio::spawn(serve_names(good));
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let port = vault.socket_address().port();
    let address = format!("http://vault.kms-test.example:{port}");
    let builder = daemon_for(&address, &fixture).extra("[vault]\nallow_plaintext = true");
    let healthy = format!("nameserver {GOOD}\n");
    let degraded = format!("nameserver {SILENT}\nnameserver {GOOD}\n");
    let resolver = builder.write_file("resolv.conf", &healthy);
    let config = builder.write_file("config.toml", &builder.config_text());
    let socket = builder.socket().to_owned();
    let log = builder.dir().join("log");
    let start = || {
        let program = env!("CARGO_BIN_EXE_vault-kms-plugin");
        let (resolver, config) = (resolver.to_str().unwrap(), config.to_str().unwrap());
        let arguments = ["-m", "sh", "-c", OWN_RESOLVER, "sh"];
        let arguments = arguments.into_iter().chain([resolver, program]);
        let arguments: Vec<_> = arguments.chain(["serve", "--config", config]).collect();
        Child::spawn("unshare".as_ref(), &arguments, &log, clean_environment)
    };
    let mut daemon = start();
    let client = KmsClient::connect(&socket);
    client.wait_ok(LIMIT).await;
    // From now on each look-up takes five seconds.
    std::fs::write(&resolver, &degraded).unwrap();
    let until = Instant::now() + Duration::from_secs(8);
    while Instant::now() < until {
        let took = encrypt_time(&client).await;
        assert!(took < Duration::from_millis(1500), "{took:?}");
        // Longer than a connection is kept.
        tokio::time::sleep(Duration::from_millis(1600)).await;
    }
    let began = Instant::now();
    daemon.signal(Signal::TERM);
    wait::until("the end", LIMIT, async || daemon.exited()).await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    // A daemon that starts then is delayed by one look-up.
    let began = Instant::now();
    let daemon = start();
    let client = KmsClient::connect(&socket);
    wait::until("a call to work", LIMIT, async || {
        client.encrypt(&SEED).await.ok()
    })
    .await;
    let took = began.elapsed();
    eprintln!("a start while the first name server does not answer: {took:?}");
    assert!(took < Duration::from_secs(12), "{took:?}");
    drop(daemon);
    names.abort();
}

tests! {
    single a_name_server_that_does_not_answer_delays_no_call_and_no_stop [Vault, Mounts];
    single localhost_is_this_machine_whatever_the_hosts_file_says [Vault, Mounts];
    single a_name_that_resolves_again_is_noticed_and_may_have_an_unreachable_address [Vault, Mounts];
}

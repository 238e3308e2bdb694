//! The bounds on messages, connections and waiting calls.

use std::os::unix::net::UnixStream;

use prost::Message;
use tokio::task::JoinSet;
use tonic::Code;
use vault_kms_plugin::grpc::proto::v2;

use super::batching::items;
use super::harness::kms::KmsClient;
use super::harness::proxy::{Fault, Proxy};
use super::harness::vault::Vault;
use super::harness::wait;
use super::{LIMIT, daemon_for, ready_daemon, ready_daemon_behind_proxy};

async fn an_empty_plaintext_comes_back_and_a_huge_one_is_refused() {
    let (_fixture, _daemon, client) = ready_daemon().await;
    let (ciphertext, key_id) = client.encrypt(b"").await.unwrap();
    assert_eq!(client.decrypt(&ciphertext, &key_id).await.unwrap(), b"");
    let large = vec![7; 40 * 1024];
    let (ciphertext, key_id) = client.encrypt(&large).await.unwrap();
    assert_eq!(client.decrypt(&ciphertext, &key_id).await.unwrap(), large);
    let huge = vec![7; 5 * 1024 * 1024];
    let error = client.encrypt(&huge).await.unwrap_err();
    assert_eq!(error.code(), Code::OutOfRange, "{error}");
    assert!(error.message().contains("65536"), "{error}");
    assert_eq!(
        client.encrypt_v1(&huge).await.unwrap_err().code(),
        Code::OutOfRange
    );
    client.encrypt(b"and on it goes").await.unwrap();
}

async fn a_message_of_the_limit_is_served_and_one_byte_more_is_refused() {
    const LIMIT_BYTES: usize = 65_536;
    let (_fixture, _daemon, client) = ready_daemon().await;
    // Beside the plaintext: its tag and length, and the uid that the client sends.
    let plaintext = |size: usize| vec![7; size - 4 - 34];
    let request = v2::EncryptRequest {
        plaintext: plaintext(LIMIT_BYTES),
        uid: "x".repeat(32),
    };
    assert_eq!(request.encoded_len(), LIMIT_BYTES);
    client.encrypt(&plaintext(LIMIT_BYTES)).await.unwrap();
    let error = client.encrypt(&plaintext(LIMIT_BYTES + 1)).await;
    assert_eq!(error.unwrap_err().code(), Code::OutOfRange);
}

async fn the_connection_over_the_limit_is_closed_and_the_others_stay() {
    let (_fixture, daemon, client) = ready_daemon().await;
    client.status().await.unwrap();
    // Held open and silent; the client's own is one of the 256.
    let held: Vec<UnixStream> = (0..255)
        .map(|_| UnixStream::connect(daemon.socket()).unwrap())
        .collect();
    let late = KmsClient::connect(daemon.socket());
    late.status().await.unwrap_err();
    daemon.logged("too many connections").await;
    client.status().await.unwrap();
    drop(held);
    late.wait_ok(LIMIT).await;
}

async fn calls_that_would_wait_beyond_the_limit_are_refused_at_once() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let proxy = Proxy::start(vault.socket_address());
    let daemon = daemon_for(&proxy.address(), &fixture)
        .extra("[limits]\nmax_waiting = 2")
        .spawn()
        .await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    proxy.reset_counts();
    proxy.fault("/encrypt/", Fault::Hang);
    let hung: Vec<_> = (0..2)
        .map(|_| {
            tokio::spawn({
                let client = client.clone();
                async move { client.encrypt(b"hangs").await }
            })
        })
        .collect();
    wait::until("two calls to hang", LIMIT, async || {
        (proxy.requests().len() == 2).then_some(())
    })
    .await;
    let error = client.encrypt(b"one too many").await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
    assert!(error.message().contains("limits.max_waiting"), "{error}");
    client.status().await.unwrap();
    for call in hung {
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(error.code(), Code::DeadlineExceeded, "{error}");
        assert!(error.message().contains("no answer in time"), "{error}");
    }
}

async fn a_connection_carries_at_most_64_calls_at_once() {
    let (_fixture, proxy, daemon, client) = ready_daemon_behind_proxy().await;
    proxy.fault("/encrypt/", Fault::Hang);
    let mut hung = JoinSet::new();
    for _ in 0..80 {
        let client = client.clone();
        hung.spawn(async move { client.encrypt(b"hangs").await });
    }
    let at_vault = || proxy.requests().iter().map(items).sum::<usize>();
    wait::until_true("64 calls to be at Vault", LIMIT, async || at_vault() >= 64).await;
    // Another connection is served meanwhile, and the rest of the 80 waits at the client.
    let other = KmsClient::connect(daemon.socket());
    for _ in 0..20 {
        other.status().await.unwrap();
    }
    assert_eq!(at_vault(), 64);
}

tests! {
    single a_message_of_the_limit_is_served_and_one_byte_more_is_refused [Vault];
    single an_empty_plaintext_comes_back_and_a_huge_one_is_refused [Vault];
    single the_connection_over_the_limit_is_closed_and_the_others_stay [Vault];
    single calls_that_would_wait_beyond_the_limit_are_refused_at_once [Vault];
    single a_connection_carries_at_most_64_calls_at_once [Vault];
}

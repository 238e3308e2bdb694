//! Spans: their attributes and their parents.

mod export;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use tonic::{Code, Request, Status};
use vault_kms_plugin::grpc::proto::v2::{DecryptRequest, EncryptRequest};

use super::harness::certificates::Certificates;
use super::harness::child;
use super::harness::collector::{Collector, Manner, Span};
use super::harness::daemon::{Builder, Daemon};
use super::harness::forwarder::tls_end;
use super::harness::kms::KmsClient;
use super::harness::proxy::{Fault, Proxy};
use super::harness::vault::{Fixture, Vault};
use super::harness::wait;
use super::{LIMIT, batching, daemon_for};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const SEED: [u8; 32] = *b"a seed that no span may ever say";
/// What spans may cost at the end of the process, and some time for the end itself.
const END_LIMIT: Duration = Duration::from_secs(4);

/// A daemon whose spans go to `endpoint` soon after they ended.
fn traced(vault_address: &str, fixture: &Fixture, endpoint: &str) -> Builder {
    daemon_for(vault_address, fixture)
        .env(ENDPOINT, endpoint)
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
}

async fn ready(builder: Builder) -> (Daemon, KmsClient) {
    let daemon = builder.spawn().await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    (daemon, client)
}

/// A collector, and a daemon on the shared Vault that exports to it.
async fn ready_with_collector() -> (Fixture, Collector, Daemon, KmsClient) {
    let vault = Vault::shared().await;
    let (fixture, collector) = (vault.fixture().await, Collector::start());
    let builder = traced(&vault.address(), &fixture, &collector.endpoint());
    let (daemon, client) = ready(builder).await;
    (fixture, collector, daemon, client)
}

fn request<T>(message: T, traceparent: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(Duration::from_secs(3));
    if let Some(traceparent) = traceparent {
        let value = traceparent.parse().unwrap();
        request.metadata_mut().insert("traceparent", value);
    }
    request
}

async fn encrypt(
    client: &KmsClient,
    uid: &str,
    traceparent: Option<&str>,
) -> Result<(Vec<u8>, String), Status> {
    let message = EncryptRequest {
        plaintext: SEED.to_vec(),
        uid: uid.to_owned(),
    };
    let answer = client.v2().encrypt(request(message, traceparent)).await?;
    let answer = answer.into_inner();
    Ok((answer.ciphertext, answer.key_id))
}

async fn decrypt(
    client: &KmsClient,
    uid: &str,
    ciphertext: &[u8],
    key_id: &str,
) -> Result<Vec<u8>, Status> {
    let message = DecryptRequest {
        ciphertext: ciphertext.to_vec(),
        uid: uid.to_owned(),
        key_id: key_id.to_owned(),
        ..Default::default()
    };
    let answer = client.v2().decrypt(request(message, None)).await?;
    Ok(answer.into_inner().plaintext)
}

/// The batch that carried this call, and its first request.
async fn way_of(collector: &Collector, uid: &str) -> (Span, Span, Span) {
    let call = collector.call(uid).await;
    let carries = |span: &Span| span.texts("kms.request.uids").iter().any(|it| it == uid);
    let batch = collector.span("its batch", |span| {
        carries(span) && span.name().starts_with("batch/")
    });
    let batch = batch.await;
    let sent = |span: &Span| span.parent() == batch.id() && span.kind() == SpanKind::Client;
    let request = collector.span("its request", sent).await;
    (call, batch, request)
}

async fn a_call_a_batch_and_a_request_are_spans_of_one_trace_with_the_uid() {
    let (fixture, collector, _daemon, client) = ready_with_collector().await;
    let (ciphertext, key_id) = encrypt(&client, "uid-1", None).await.unwrap();
    let seed = decrypt(&client, "uid-2", &ciphertext, &key_id).await;
    assert_eq!(seed.unwrap(), SEED);
    let port = Vault::shared().await.socket_address().port();
    for (uid, method, operation) in [
        ("uid-1", "Encrypt", "encrypt"),
        ("uid-2", "Decrypt", "decrypt"),
    ] {
        let (call, batch, request) = way_of(&collector, uid).await;
        assert_eq!(call.name(), format!("kms.v2/{method}"));
        assert_eq!(
            (call.parent().as_str(), call.kind()),
            ("", SpanKind::Server)
        );
        let text = |name| call.text(name);
        assert_eq!(text("rpc.system").as_deref(), Some("grpc"));
        assert_eq!(
            text("rpc.service").as_deref(),
            Some("v2.KeyManagementService")
        );
        assert_eq!(text("rpc.method").as_deref(), Some(method));
        assert_eq!(text("kms.key_id"), Some(key_id.clone()));
        assert_eq!(call.number("rpc.grpc.status_code"), Some(0));

        assert_eq!(batch.name(), format!("batch/{operation}"));
        assert_eq!((batch.trace(), batch.parent()), (call.trace(), call.id()));
        assert_eq!(batch.number("kms.batch.items"), Some(1));
        assert_eq!(
            batch.text("kms.batch.operation").as_deref(),
            Some(operation)
        );
        assert_eq!(batch.texts("kms.request.uids"), [uid]);
        assert!(batch.links().is_empty(), "{batch:?}");

        let path = format!("/v1/{}/{operation}/{}", fixture.mount, fixture.key);
        assert_eq!(request.name(), format!("POST {path}"));
        assert_eq!(request.trace(), call.trace());
        assert_eq!(request.texts("kms.request.uids"), [uid]);
        assert_eq!(request.text("http.request.method").as_deref(), Some("POST"));
        assert_eq!(request.text("url.path"), Some(path));
        assert_eq!(request.text("server.address").as_deref(), Some("127.0.0.1"));
        assert_eq!(request.number("server.port"), Some(port.into()));
        assert_eq!(request.number("http.response.status_code"), Some(200));
        for span in [&call, &batch, &request] {
            assert_eq!(span.failure(), None, "{span:?}");
        }
    }
    assert_eq!(collector.service().as_deref(), Some("vault-kms-plugin"));
}

async fn calls_of_kms_v1_and_status_are_spans_too() {
    let (_fixture, collector, _daemon, client) = ready_with_collector().await;
    let cipher = client.encrypt_v1(&SEED).await.unwrap();
    client.decrypt_v1(&cipher).await.unwrap();
    for name in ["kms.v1/Encrypt", "kms.v1/Decrypt", "kms.v2/Status"] {
        collector.span(name, |span| span.name() == name).await;
    }
}

async fn a_batch_links_to_all_calls_that_it_carries() {
    const COMPANY: usize = 40;
    let vault = Vault::shared().await;
    let (fixture, collector) = (vault.fixture().await, Collector::start());
    let proxy = Proxy::start(vault.socket_address());
    let builder = traced(&proxy.address(), &fixture, &collector.endpoint());
    let (_daemon, client) = ready(builder).await;
    batching::gather(&proxy, "/encrypt/");
    let uids: Vec<_> = (0..COMPANY).map(|number| format!("uid-{number}")).collect();
    for outcome in join_all(uids.iter().map(|uid| encrypt(&client, uid, None))).await {
        outcome.unwrap();
    }
    let is_shared = |span: &Span| span.number("kms.batch.items").is_some_and(|it| it > 1);
    let batch = collector.span("a shared batch", is_shared).await;
    let carried = batch.texts("kms.request.uids");
    assert!(carried.len() > COMPANY / 2, "{carried:?}");
    assert_eq!(
        batch.number("kms.batch.items"),
        Some(carried.len().try_into().unwrap())
    );
    let mut calls = Vec::new();
    for uid in &carried {
        calls.push(collector.call(uid).await.id());
    }
    let mut named = batch.links();
    named.push(batch.parent());
    named.sort();
    calls.sort();
    assert_eq!(named, calls);
}

async fn failed_spans_have_an_error_status() {
    let vault = Vault::shared().await;
    let (fixture, collector) = (vault.fixture().await, Collector::start());
    let proxy = Proxy::start(vault.socket_address());
    let builder = traced(&proxy.address(), &fixture, &collector.endpoint());
    let (_daemon, client) = ready(builder).await;
    let refused = decrypt(&client, "uid-1", b"garbage", "no key_id of ours").await;
    let refused = refused.unwrap_err();
    let call = collector.call("uid-1").await;
    assert_eq!(call.failure(), Some(refused.message()));
    assert_eq!(
        call.number("rpc.grpc.status_code"),
        Some(Code::InvalidArgument as i64)
    );
    assert_eq!(call.text("kms.key_id"), None);

    proxy.fault("/encrypt/", Fault::error(503, "Vault is sealed"));
    encrypt(&client, "uid-2", None).await.unwrap_err();
    let (call, batch, request) = way_of(&collector, "uid-2").await;
    assert_eq!(request.number("http.response.status_code"), Some(503));
    assert!(request.failure().is_some(), "{request:?}");
    assert!(batch.failure().unwrap().contains("503"), "{batch:?}");
    assert!(call.failure().is_some(), "{call:?}");
    proxy.clear();

    // A caller that leaves is not waited for, and neither is what was sent for it alone.
    proxy.fault("/encrypt/", Fault::Hang);
    let left = tokio::time::timeout(Duration::from_millis(300), encrypt(&client, "uid-3", None));
    left.await.unwrap_err();
    assert_eq!(collector.call("uid-3").await.failure(), Some("given up"));
}

async fn a_clients_trace_is_continued_and_an_unrecorded_one_stays_unrecorded() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const PARENT: &str = "b7ad6b7169203331";
    let (_fixture, collector, daemon, client) = ready_with_collector().await;
    let header = |flags| format!("00-{TRACE}-{PARENT}-{flags}");
    encrypt(&client, "unrecorded", Some(&header("00")))
        .await
        .unwrap();
    encrypt(&client, "broken", Some("00-no-trace-01"))
        .await
        .unwrap();
    encrypt(&client, "recorded", Some(&header("01")))
        .await
        .unwrap();
    let (call, batch, request) = way_of(&collector, "recorded").await;
    assert_eq!(
        (call.trace().as_str(), call.parent().as_str()),
        (TRACE, PARENT)
    );
    assert_eq!(batch.trace(), TRACE);
    assert_eq!(request.trace(), TRACE);
    let broken = collector.call("broken").await;
    assert_eq!(broken.parent(), "");
    assert_eq!(daemon.stop().await, 0);
    let unrecorded = collector.spans().into_iter().filter(|span| {
        let uids = span.texts("kms.request.uids");
        span.text("kms.request.uid")
            .into_iter()
            .chain(uids)
            .any(|uid| uid == "unrecorded")
    });
    assert_eq!(unrecorded.count(), 0);
}

tests! {
    [export]
    single a_call_a_batch_and_a_request_are_spans_of_one_trace_with_the_uid [Vault];
    single calls_of_kms_v1_and_status_are_spans_too [Vault];
    single a_batch_links_to_all_calls_that_it_carries [Vault];
    single failed_spans_have_an_error_status [Vault];
    single a_clients_trace_is_continued_and_an_unrecorded_one_stays_unrecorded [Vault];
}

//! Spans: what they say, whose children they are, and that a collector never costs a call anything.

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

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
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

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
async fn calls_of_kms_v1_and_status_are_spans_too() {
    let (_fixture, collector, _daemon, client) = ready_with_collector().await;
    let cipher = client.encrypt_v1(&SEED).await.unwrap();
    client.decrypt_v1(&cipher).await.unwrap();
    for name in ["kms.v1/Encrypt", "kms.v1/Decrypt", "kms.v2/Status"] {
        collector.span(name, |span| span.name() == name).await;
    }
}

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
async fn calls_that_leave_together_are_all_linked_to_by_their_batch() {
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

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
async fn what_failed_says_so() {
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

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
async fn a_clients_trace_goes_on_and_one_that_is_not_recorded_stays_so() {
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

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
async fn a_collector_that_hangs_or_is_away_costs_no_call_anything() {
    const CALLS: usize = 4_000;
    const TOGETHER: usize = 50;
    let vault = Vault::shared().await;
    let hanging = Collector::start();
    hanging.set(Manner::Hangs);
    let away = format!("http://127.0.0.1:{}", child::free_port());
    for endpoint in [hanging.endpoint(), away] {
        let fixture = vault.fixture().await;
        let (daemon, client) = ready(traced(&vault.address(), &fixture, &endpoint)).await;
        let mut before = 0;
        for round in 0..CALLS / TOGETHER {
            let calls = (0..TOGETHER).map(|_| client.encrypt(&SEED));
            for outcome in join_all(calls).await {
                outcome.unwrap();
            }
            // By then the queue is full.
            if round == CALLS / TOGETHER / 2 {
                before = daemon.rss_kib();
            }
        }
        let more = daemon.rss_kib().saturating_sub(before);
        assert!(more < 8 * 1024, "{more} KiB more");
        let begun = Instant::now();
        assert_eq!(daemon.stop().await, 0);
        let taken = begun.elapsed();
        assert!(taken < END_LIMIT, "{taken:?}");
        let log = daemon.log();
        assert!(!log.contains("\"ERROR\""), "{log}");
        let lines = log.matches("span export failed").count();
        assert!(lines <= 1, "{log}");
        let is_lost = log.contains("last spans not exported before shutdown");
        assert!(is_lost || endpoint != hanging.endpoint(), "{log}");
    }
    assert!(hanging.connections() > 0);
}

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
async fn a_collector_that_refuses_is_told_of_once_and_once_more_when_it_takes_again() {
    let vault = Vault::shared().await;
    let (fixture, collector) = (vault.fixture().await, Collector::start());
    collector.set(Manner::Refuses);
    let builder = traced(&vault.address(), &fixture, &collector.endpoint());
    let (daemon, client) = ready(builder).await;
    client.encrypt(&SEED).await.unwrap();
    wait::until_true("more to be refused", LIMIT, async || {
        client.status().await.unwrap();
        collector.requests() > 3
    })
    .await;
    collector.set(Manner::Takes);
    client.encrypt(&SEED).await.unwrap();
    daemon.logged("span export recovered").await;
    let lines = daemon.log_lines();
    let said = |text: &str| {
        let said = lines.iter().filter(|line| line.to_string().contains(text));
        said.count()
    };
    assert_eq!(said("span export failed"), 1, "{lines:?}");
    assert_eq!(said("\"ERROR\""), 0, "{lines:?}");
}

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
async fn a_clients_words_are_cut_so_that_what_waits_stays_small() {
    let (_fixture, collector, _daemon, client) = ready_with_collector().await;
    let uid = "x".repeat(25_000);
    let seed = decrypt(&client, &uid, b"garbage", &format!("transit1:{uid}")).await;
    seed.unwrap_err();
    let call = collector.call(&uid[..1024]).await;
    assert_eq!(call.text("kms.key_id").map(|text| text.len()), Some(1024));
}

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
async fn what_waits_is_sent_at_the_end() {
    let vault = Vault::shared().await;
    let (fixture, collector) = (vault.fixture().await, Collector::start());
    let builder = daemon_for(&vault.address(), &fixture)
        .env(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            &format!("{}/v1/traces", collector.endpoint()),
        )
        .env("OTEL_SERVICE_NAME", "kms-on-node-1")
        .env("OTEL_BSP_SCHEDULE_DELAY", "600000");
    let (daemon, client) = ready(builder).await;
    encrypt(&client, "uid-1", None).await.unwrap();
    assert!(collector.spans().is_empty());
    assert_eq!(daemon.stop().await, 0);
    collector.call("uid-1").await;
    assert_eq!(collector.service().as_deref(), Some("kms-on-node-1"));
}

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
async fn a_collector_behind_tls_has_to_be_one_that_the_system_trusts() {
    let vault = Vault::shared().await;
    let (fixture, collector) = (vault.fixture().await, Collector::start());
    let certificates = Certificates::new();
    certificates.server("localhost");
    let [cert, key] = ["localhost.pem", "localhost.key"].map(|name| certificates.path(name));
    let end = tls_end(collector.address(), &cert, &key);
    let endpoint = format!("https://localhost:{}", end.address().port());
    let stranger = traced(&vault.address(), &fixture, &endpoint);
    let (daemon, client) = ready(stranger).await;
    client.encrypt(&SEED).await.unwrap();
    daemon.logged("span export failed").await;
    let ca = certificates.path("ca.pem");
    let friend = traced(&vault.address(), &fixture, &endpoint);
    let (_daemon, client) = ready(friend.env("SSL_CERT_FILE", ca.to_str().unwrap())).await;
    encrypt(&client, "uid-1", None).await.unwrap();
    collector.call("uid-1").await;
    assert!(collector.spans().iter().all(|span| {
        span.text("kms.request.uid")
            .is_none_or(|uid| uid == "uid-1")
    }));
}

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
async fn no_span_holds_a_secret() {
    let vault = Vault::shared().await;
    let (fixture, collector) = (vault.fixture().await, Collector::start());
    let proxy = Proxy::start(vault.socket_address());
    let builder = traced(&proxy.address(), &fixture, &collector.endpoint());
    let (daemon, client) = ready(builder).await;
    let (ciphertext, key_id) = client.encrypt(&SEED).await.unwrap();
    client.decrypt(&ciphertext, &key_id).await.unwrap();
    let cipher = client.encrypt_v1(&SEED).await.unwrap();
    client.decrypt_v1(&cipher).await.unwrap();
    client.decrypt(&SEED, &key_id).await.unwrap_err();
    // A server that gives back in its errors what it was sent.
    let echo = format!("{} {}", STANDARD.encode(SEED), fixture.token);
    let echo = format!("{{\"data\":{{\"ciphertext\":\"{echo}\",\"plaintext\":\"{echo}\"}}}}");
    proxy.fault(
        "crypt/",
        Fault::Answer {
            status: 200,
            body: echo,
            content_type: "application/json".to_owned(),
        },
    );
    client.encrypt(&SEED).await.unwrap_err();
    assert_eq!(daemon.stop().await, 0);
    let sent = collector.bodies().concat();
    let holds = |what: &[u8]| sent.windows(what.len()).any(|part| part == what);
    assert!(holds(b"batch/decrypt") && holds(key_id.as_bytes()));
    let wrapped = |ciphertext: &[u8]| ciphertext["vault:v1:".len()..].to_vec();
    let secrets = [
        SEED.to_vec(),
        STANDARD.encode(SEED).trim_end_matches('=').into(),
        fixture.token.clone().into_bytes(),
        wrapped(&ciphertext),
        wrapped(&cipher),
    ];
    for secret in secrets {
        assert!(!holds(&secret), "{:?}", String::from_utf8_lossy(&secret));
    }
}

/// The names of a process's threads, as far as the kernel keeps them.
fn threads(daemon: &Daemon) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
    let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm"));
    let names = tasks.filter_map(|task| name(task.ok()?).ok());
    names.map(|name| name.trim().to_owned()).collect()
}

fn exports(daemon: &Daemon) -> bool {
    let mut threads = threads(daemon).into_iter();
    threads.any(|name| name.starts_with("OpenTelemetry") || name.starts_with("reqwest"))
}

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
async fn nothing_is_exported_unless_an_endpoint_is_set_and_nothing_forbids_it() {
    let (_fixture, _collector, daemon, _client) = ready_with_collector().await;
    assert!(exports(&daemon));
    let vault = Vault::shared().await;
    let (fixture, collector) = (vault.fixture().await, Collector::start());
    for endpoint in [None, Some("")] {
        let builder = daemon_for(&vault.address(), &fixture).env("OTEL_SERVICE_NAME", "kms");
        let builder = match endpoint {
            Some(endpoint) => builder.env(ENDPOINT, endpoint),
            None => builder,
        };
        let (daemon, client) = ready(builder).await;
        client.encrypt(&SEED).await.unwrap();
        assert!(!exports(&daemon), "{:?}", threads(&daemon));
    }
    for (name, value) in [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_TRACES_SAMPLER", "always_off"),
    ] {
        let builder = traced(&vault.address(), &fixture, &collector.endpoint());
        let (daemon, client) = ready(builder.env(name, value)).await;
        client.encrypt(&SEED).await.unwrap();
        assert_eq!(daemon.stop().await, 0);
        assert_eq!(collector.connections(), 0, "{name}");
    }
}

#[tokio::test]
#[cfg_attr(no_vault, ignore = "needs Vault: set VAULT_BIN or install Go")]
async fn a_wrong_endpoint_is_told_of_and_all_else_goes_on() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    for endpoint in [
        "collector:4318",
        "http://user:secret password@[::1",
        "grpc://collector:4317",
    ] {
        let (daemon, client) = ready(traced(&vault.address(), &fixture, endpoint)).await;
        client.encrypt(&SEED).await.unwrap();
        daemon.logged("spans are not exported").await;
        let log = daemon.log();
        assert!(
            log.contains("OTEL_EXPORTER_OTLP_ENDPOINT: it has to be"),
            "{log}"
        );
        assert!(!log.contains("secret password"), "{log}");
        assert_eq!(daemon.stop().await, 0);
    }
}

#[test]
fn what_is_shipped_is_built_without_it() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let tree = |features: &[&str]| {
        let mut command = Command::new(&cargo);
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        command.args(["tree", "--locked", "--offline", "--edges", "no-dev"]);
        let output = command.args(features).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(!tree(&[]).contains("opentelemetry"));
    assert!(tree(&["--features", "otlp"]).contains("opentelemetry-otlp"));
}

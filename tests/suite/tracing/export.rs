//! The export of spans: a collector never delays a call and receives no secret.

use super::*;

async fn a_collector_that_hangs_or_is_unreachable_delays_no_call() {
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

async fn a_failing_export_is_logged_once_and_its_recovery_once() {
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

async fn long_texts_of_a_client_are_truncated_in_spans() {
    let (_fixture, collector, _daemon, client) = ready_with_collector().await;
    let uid = "x".repeat(25_000);
    let seed = decrypt(&client, &uid, b"garbage", &format!("transit1:{uid}")).await;
    seed.unwrap_err();
    let call = collector.call(&uid[..1024]).await;
    assert_eq!(call.text("kms.key_id").map(|text| text.len()), Some(1024));
}

async fn queued_spans_are_sent_at_the_end() {
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

async fn a_collector_behind_tls_needs_a_certificate_that_the_system_trusts() {
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

async fn an_invalid_endpoint_is_logged_and_calls_continue() {
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

fn the_shipped_binary_is_built_without_otlp() {
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

tests! {
    single a_collector_that_hangs_or_is_unreachable_delays_no_call [Vault];
    single a_failing_export_is_logged_once_and_its_recovery_once [Vault];
    single long_texts_of_a_client_are_truncated_in_spans [Vault];
    single queued_spans_are_sent_at_the_end [Vault];
    single a_collector_behind_tls_needs_a_certificate_that_the_system_trusts [Vault];
    single no_span_holds_a_secret [Vault];
    single nothing_is_exported_unless_an_endpoint_is_set_and_nothing_forbids_it [Vault];
    single an_invalid_endpoint_is_logged_and_calls_continue [Vault];
    plain the_shipped_binary_is_built_without_otlp;
}

//! Actors fail on request, and kube-apiserver does not notice. The daemon runs inside the test,
//! built with the fault hook that no release has.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Once};
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use vault_kms_plugin::actor::Fault;
use vault_kms_plugin::config::Source;
use vault_kms_plugin::supervisor::{Child, Daemon, RestartPolicy};
use vault_kms_plugin::system::{Exit, Signal};
use vault_kms_plugin::telemetry::{Format, Settings, Telemetry};

use super::harness::daemon::Builder;
use super::harness::kms::KmsClient;
use super::harness::vault::Vault;
use super::harness::{http, wait};
use super::{LIMIT, daemon_for};

/// One for the process, as logging is.
static LOG: LazyLock<Telemetry> = LazyLock::new(|| {
    let settings = Settings {
        level: LevelFilter::OFF,
        format: Format::Text,
    };
    Telemetry::start(settings).unwrap()
});

/// The daemon inside this process, with the files of a builder.
pub(super) async fn start(builder: &Builder) -> Daemon {
    start_with(builder, RestartPolicy::default()).await
}

async fn start_with(builder: &Builder, policy: RestartPolicy) -> Daemon {
    silent_on_request();
    let file = builder.write_file("inside.toml", &builder.config_text());
    let source = Source {
        file: Some(file),
        ..Source::default()
    };
    let config = source.load().unwrap();
    let log = LOG.handle();
    Daemon::start_with(&config, source, log, None, policy)
        .await
        .unwrap()
}

/// A panic that a test asked for prints nothing. To find out where it happened takes seconds in a
/// debug build on a loaded machine, and holds up a worker that calls wait for.
fn silent_on_request() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if panic.payload().downcast_ref() != Some(&"a panic on request") {
                usual(panic);
            }
        }));
    });
}

/// What the callers of a test share.
#[derive(Default)]
struct Tally {
    calls: AtomicU64,
    stop: AtomicBool,
}

/// Calls in a loop until stopped; returns every failure.
async fn call_steadily(client: KmsClient, seed: [u8; 32], tally: Arc<Tally>) -> Vec<String> {
    let mut failures = Vec::new();
    while !tally.stop.load(Ordering::Relaxed) {
        if let Err(failure) = one_round(&client, &seed).await {
            failures.push(failure);
        }
        tally.calls.fetch_add(3, Ordering::Relaxed);
    }
    failures
}

async fn one_round(client: &KmsClient, seed: &[u8]) -> Result<(), String> {
    let status = client.status().await.map_err(|e| e.to_string())?;
    let (ciphertext, key_id) = client.encrypt(seed).await.map_err(|e| e.to_string())?;
    let plaintext = client
        .decrypt(&ciphertext, &key_id)
        .await
        .map_err(|e| e.to_string())?;
    if status.healthz != "ok" || key_id != status.key_id || plaintext != seed {
        return Err(format!("a wrong answer: {status:?} {key_id}"));
    }
    Ok(())
}

async fn no_call_fails_while_every_actor_fails_in_turn() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let builder = daemon_for(&vault.address(), &fixture);
    let mut daemon = start(&builder).await;
    KmsClient::connect(builder.socket()).wait_ok(LIMIT).await;
    let tally = Arc::new(Tally::default());
    let callers: Vec<_> = (0..8)
        .map(|number| {
            let client = KmsClient::connect(builder.socket());
            tokio::spawn(call_steadily(client, [number; 32], tally.clone()))
        })
        .collect();
    for fault in [Fault::Panic, Fault::Error] {
        for child in [Child::Session, Child::Keys, Child::Grpc, Child::Admin] {
            progress(&tally).await;
            daemon.inject(child, fault);
            progress(&tally).await;
            // A new connection: the accept loop is back too.
            KmsClient::connect(builder.socket()).wait_ok(LIMIT).await;
        }
    }
    probes_are_back(&builder).await;
    tally.stop.store(true, Ordering::Relaxed);
    let mut failures = Vec::new();
    for caller in callers {
        failures.extend(caller.await.unwrap());
    }
    let calls = tally.calls.load(Ordering::Relaxed);
    assert!(
        failures.is_empty(),
        "of {calls} calls failed: {failures:#?}"
    );
    daemon.signal(Signal::Stop);
    assert_eq!(daemon.ended().await, Exit::Ok);
}

/// Under 32 callers, as many random failures in this time; an actor that hangs is found in 300 ms.
async fn fail_at_random(failures: u32, time: Duration) {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let builder = daemon_for(&vault.address(), &fixture);
    let policy = RestartPolicy {
        max_restarts: usize::MAX,
        max_backoff: Duration::from_millis(100),
        heartbeat_interval: Duration::from_millis(100),
        heartbeat_timeout: Duration::from_millis(300),
        ..RestartPolicy::default()
    };
    let mut daemon = start_with(&builder, policy).await;
    KmsClient::connect(builder.socket()).wait_ok(LIMIT).await;
    let tally = Arc::new(Tally::default());
    let callers: Vec<_> = (0..32)
        .map(|number| {
            let client = KmsClient::connect(builder.socket());
            tokio::spawn(call_steadily(client, [number; 32], tally.clone()))
        })
        .collect();
    let mut pace = tokio::time::interval(time / failures);
    for _ in 0..failures {
        pace.tick().await;
        let child = fastrand::choice(Child::ALL).unwrap();
        let faults = [Fault::Panic, Fault::Error, Fault::Kill, Fault::Hang];
        daemon.inject(child, fastrand::choice(faults).unwrap());
    }
    progress(&tally).await;
    tally.stop.store(true, Ordering::Relaxed);
    let mut wrong = Vec::new();
    for caller in callers {
        wrong.extend(caller.await.unwrap());
    }
    let calls = tally.calls.load(Ordering::Relaxed);
    eprintln!(
        "{failures} failures of actors in {time:?}: {calls} calls, {} failed",
        wrong.len()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    daemon.signal(Signal::Stop);
    assert_eq!(daemon.ended().await, Exit::Ok);
}

async fn no_call_fails_while_actors_fail_hang_and_are_killed_at_random() {
    fail_at_random(30, Duration::from_secs(15)).await;
}

async fn soak_five_hundred_failures_of_actors_fail_no_call() {
    fail_at_random(500, Duration::from_secs(120)).await;
}

async fn status_does_not_wait_for_a_key_manager_that_is_busy() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let builder = daemon_for(&vault.address(), &fixture);
    let daemon = start(&builder).await;
    let client = KmsClient::connect(builder.socket());
    client.wait_ok(LIMIT).await;
    daemon.inject(Child::Keys, Fault::Hang);
    // Heartbeats wait behind that; it is found only after 10 s.
    let hasty = client.with_timeout(Duration::from_millis(500));
    wait::until_true("an Encrypt to wait in vain", LIMIT, async || {
        hasty.encrypt(&[1; 32]).await.is_err()
    })
    .await;
    assert_eq!(hasty.status().await.unwrap().healthz, "ok");
}

async fn probes_are_back(builder: &Builder) {
    let livez = format!("http://{}/livez", builder.admin_address());
    wait::until("the probes to be back", LIMIT, async || {
        let request = http::Request {
            method: "GET",
            url: &livez,
            credential: None,
            ca_pem: None,
        };
        http::text(request, None).await.ok()
    })
    .await;
}

/// Until 200 more calls were answered.
async fn progress(tally: &Tally) {
    let before = tally.calls.load(Ordering::Relaxed);
    wait::until("200 calls", LIMIT, async || {
        (tally.calls.load(Ordering::Relaxed) >= before + 200).then_some(())
    })
    .await;
}

async fn the_sixth_failure_within_a_minute_ends_the_process_with_70() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let builder = daemon_for(&vault.address(), &fixture);
    let mut daemon = start(&builder).await;
    let client = KmsClient::connect(builder.socket());
    for _ in 0..5 {
        client.wait_ok(LIMIT).await;
        daemon.inject(Child::Keys, Fault::Panic);
    }
    // One that comes before the actor is back is lost.
    let ended = wait::until("the end", LIMIT, async || {
        daemon.inject(Child::Keys, Fault::Panic);
        tokio::time::timeout(Duration::from_millis(50), daemon.ended())
            .await
            .ok()
    })
    .await;
    assert_eq!(ended, Exit::Internal);
    assert!(!builder.socket().exists());
}

async fn servers_whose_accept_loop_ends_are_restarted() {
    let builder = super::harness::daemon::Daemon::builder()
        .vault("http://127.0.0.1:9")
        .transit("transit", "kms")
        .token("x");
    let daemon = start(&builder).await;
    for child in [Child::Grpc, Child::Admin] {
        probes_are_back(&builder).await;
        daemon.inject(child, Fault::EndTasks);
        let counted = format!("actor_restarts_total{{actor=\"{child}\"}} 1");
        wait::until("the restart to be counted", LIMIT, async || {
            let metrics = metrics_of(&builder).await?;
            metrics.contains(&counted).then_some(())
        })
        .await;
        let newcomer = KmsClient::connect(builder.socket());
        newcomer.version_v1().await.unwrap();
    }
}

async fn an_actor_that_hangs_after_each_restart_ends_the_process_with_70() {
    let builder = super::harness::daemon::Daemon::builder()
        .vault("http://127.0.0.1:9")
        .transit("transit", "kms")
        .token("x");
    let policy = RestartPolicy {
        // Five hangs take longer than this.
        within: Duration::from_millis(1200),
        max_backoff: Duration::from_millis(10),
        min_backoff: Duration::from_millis(10),
        heartbeat_interval: Duration::from_millis(50),
        heartbeat_timeout: Duration::from_millis(300),
        ..RestartPolicy::default()
    };
    let mut daemon = start_with(&builder, policy).await;
    let ended = wait::until("the end", LIMIT, async || {
        daemon.inject(Child::Session, Fault::Hang);
        tokio::time::timeout(Duration::from_millis(20), daemon.ended())
            .await
            .ok()
    })
    .await;
    assert_eq!(ended, Exit::Internal);
}

async fn metrics_of(builder: &Builder) -> Option<String> {
    let url = format!("http://{}/metrics", builder.admin_address());
    let request = http::Request {
        method: "GET",
        url: &url,
        credential: None,
        ca_pem: None,
    };
    http::text(request, None).await.ok().map(|(_, text)| text)
}

async fn an_admin_port_in_use_never_ends_the_process() {
    let builder = super::harness::daemon::Daemon::builder()
        .vault("http://127.0.0.1:9")
        .transit("transit", "kms")
        .token("x");
    let taken = std::net::TcpListener::bind(builder.admin_address()).unwrap();
    let daemon = start(&builder).await;
    let client = KmsClient::connect(builder.socket());
    for _ in 0..10 {
        daemon.inject(Child::Admin, Fault::Panic);
        client.version_v1().await.unwrap();
    }
    drop(taken);
    probes_are_back(&builder).await;
}

tests! {
    multi no_call_fails_while_every_actor_fails_in_turn [Vault];
    multi no_call_fails_while_actors_fail_hang_and_are_killed_at_random [Vault];
    multi soak_five_hundred_failures_of_actors_fail_no_call soak "soak: 2 min, 500 failures";
    multi status_does_not_wait_for_a_key_manager_that_is_busy [Vault];
    multi the_sixth_failure_within_a_minute_ends_the_process_with_70 [Vault];
    multi an_admin_port_in_use_never_ends_the_process;
    multi servers_whose_accept_loop_ends_are_restarted;
    multi an_actor_that_hangs_after_each_restart_ends_the_process_with_70;
}

//! The service's lifecycle: starts, crashes, hangs, stops.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::super::harness::child::free_port;
use super::super::harness::vault::Vault;
use super::super::harness::wait;
use super::{CONFIG, Host, LIMIT, SERVICE, SOCKET, TOKEN, config_for, installed};

const SEED: [u8; 32] = [7; 32];
/// In place of kubelet, after which the unit is ordered by its name.
const KUBELET: &str = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n";
/// What the acceptance allows between READY and kubelet.
const KUBELET_STARTS_WITHIN: Duration = Duration::from_secs(2);

async fn a_boot_without_vault_does_not_keep_kubelet_waiting() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let config = config_for(&nobody, &fixture, free_port());
    let machine = installed()
        .file(CONFIG, &config)
        .file(TOKEN, &fixture.token)
        .file("/etc/systemd/system/kubelet.service", KUBELET)
        .start(SERVICE)
        .start("kubelet.service")
        .boot()
        .await;
    let host = Host {
        machine,
        fixture,
        config,
    };
    let since_boot = async |unit: &str| {
        let property = "ActiveEnterTimestampMonotonic";
        let command = ["systemctl", "show", "--value", "-p", property, unit];
        let micros = host.machine.ok(&command).await.trim().parse().unwrap();
        Duration::from_micros(micros)
    };
    let (ready, kubelet) = (
        since_boot(SERVICE).await,
        since_boot("kubelet.service").await,
    );
    let waited = kubelet.checked_sub(ready).unwrap();
    eprintln!("kubelet was up {waited:?} after READY");
    assert!(waited < KUBELET_STARTS_WITHIN, "{waited:?}");
    wait::until_true("the status line to say why", LIMIT, async || {
        let status = host.show("StatusText").await;
        status.starts_with("no key proven yet; not logged in: ")
    })
    .await;
}

async fn the_service_restarts_after_twenty_crashes_in_a_minute() {
    let (host, _) = Host::serving(|plan| plan).await;
    let mut slowest = Duration::ZERO;
    let start = Instant::now();
    let mut process = host.show("MainPID").await;
    for _ in 0..20 {
        let crash = Instant::now();
        host.machine.ok(&["kill", "-KILL", &process]).await;
        process = host.successor_of(&process).await;
        slowest = slowest.max(crash.elapsed());
    }
    eprintln!(
        "20 crashes in {:?}, back after {slowest:?} at most",
        start.elapsed()
    );
    let client = host.client();
    client.wait_ok(LIMIT).await;
    client.encrypt(&SEED).await.unwrap();
    assert_eq!(host.show("NRestarts").await, "20");
    // RestartSec is one second.
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
}

async fn a_process_that_stops_without_being_asked_by_systemd_is_started_again() {
    let (host, _) = Host::serving(|plan| plan).await;
    let process = host.show("MainPID").await;
    host.machine.ok(&["kill", "-TERM", &process]).await;
    host.logged("stopped").await;
    host.successor_of(&process).await;
    host.client().wait_ok(LIMIT).await;
}

async fn a_process_that_hangs_is_ended_by_the_watchdog() {
    let drop_in = format!("/etc/systemd/system/{SERVICE}.d/watchdog.conf");
    let (host, _) = Host::serving(|plan| plan.file(&drop_in, "[Service]\nWatchdogSec=3s\n")).await;
    let process = host.show("MainPID").await;
    let hang = Instant::now();
    host.machine.ok(&["kill", "-STOP", &process]).await;
    host.successor_of(&process).await;
    eprintln!("hung for {:?}", hang.elapsed());
    host.logged("Watchdog timeout").await;
    let client = host.client();
    client.wait_ok(LIMIT).await;
    // One that lives longer than the watchdog's time is left alone.
    let process = host.show("MainPID").await;
    let born = Instant::now();
    wait::until_true("two watchdog times to pass", LIMIT, async || {
        client.encrypt(&SEED).await.unwrap();
        born.elapsed() > Duration::from_secs(6)
    })
    .await;
    assert_eq!(host.show("MainPID").await, process);
}

async fn calls_continue_while_the_admin_port_is_in_use() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, free_port())).unwrap();
    let port = taken.local_addr().unwrap().port();
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let config = config_for(&vault.address(), &fixture, port);
    let plan = installed()
        .file(CONFIG, &config)
        .file(TOKEN, &fixture.token);
    let machine = plan.start(SERVICE).boot().await;
    let host = Host {
        machine,
        fixture,
        config,
    };
    let client = host.client();
    client.wait_ok(LIMIT).await;
    host.logged("admin.listen: cannot bind").await;
    client.encrypt(&SEED).await.unwrap();
    drop(taken);
    host.logged("admin server listening").await;
    assert_eq!(host.show("NRestarts").await, "0");
}

async fn the_directory_and_its_state_outlive_a_stop() {
    let (host, client) = Host::serving(|plan| plan).await;
    let key_id = client.status().await.unwrap().key_id;
    let dir = Path::new(SOCKET).parent().unwrap().to_str().unwrap();
    let inode = || std::fs::metadata(host.machine.path(dir)).unwrap().ino();
    let before = inode();
    host.machine.ok(&["systemctl", "stop", SERVICE]).await;
    assert_eq!(host.show("Result").await, "success");
    assert!(!host.machine.path(SOCKET).exists());
    let state = host.machine.path(&format!("{dir}/kms.sock.state.json"));
    let state = std::fs::read_to_string(state).unwrap();
    assert!(state.contains(&key_id), "{state}");
    host.machine.ok(&["systemctl", "start", SERVICE]).await;
    host.client().wait_ok(LIMIT).await;
    // It is mounted into kube-apiserver's pod, which would go on looking at a removed one.
    assert_eq!(inode(), before);
    assert_eq!(host.show("WatchdogUSec").await, "30s");
    let user = host.machine.ok(&["stat", "-c", "%U", dir]).await;
    assert_eq!(user, "vault-kms-plugin\n");
}

/// `ProcSubset=pid` hides the id of the boot, without which the state file is not believed.
async fn a_restart_during_an_outage_continues_with_the_key_id() {
    let vault = Vault::start_persistent().await;
    let fixture = vault.fixture().await;
    let config = config_for(&vault.address(), &fixture, free_port());
    let machine = installed()
        .file(CONFIG, &config)
        .file(TOKEN, &fixture.token)
        .start(SERVICE)
        .boot()
        .await;
    let host = Host {
        machine,
        fixture,
        config,
    };
    let before = host.client().wait_ok(LIMIT).await;
    let state = host.machine.path(&format!("{SOCKET}.state.json"));
    wait::until_true("the state file", LIMIT, async || {
        std::fs::read_to_string(&state).is_ok_and(|text| text.contains(&before.key_id))
    })
    .await;
    vault.kill();
    host.machine.ok(&["systemctl", "restart", SERVICE]).await;
    let during = host.client().wait_ok(LIMIT).await;
    assert_eq!(during.key_id, before.key_id);
    let log = host.journal(&[]).await;
    assert!(!log.contains("boot id unreadable"), "{log}");
}

async fn memory_is_locked_only_without_a_limit() {
    let (host, _) = Host::serving(|plan| plan).await;
    let process = host.show("MainPID").await;
    let of_process = async |file: &str| {
        let path = format!("/proc/{process}/{file}");
        host.machine.ok(&["cat", &path]).await
    };
    let (status, limits) = (of_process("status").await, of_process("limits").await);
    let kib = |field: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let number = line.unwrap().trim().trim_end_matches(" kB");
        number.parse().unwrap()
    };
    let limit = limits
        .lines()
        .find(|line| line.starts_with("Max locked memory"))
        .unwrap();
    let (locked, resident) = (kib("VmLck:"), kib("VmRSS:"));
    eprintln!("{locked} KiB locked, {resident} KiB resident; {limit}");
    // A machine inside a sandbox cannot give more than it has; under a limit a later allocation
    // could fail.
    match limit.contains("unlimited") {
        true => assert!(locked >= resident, "{status}"),
        false => assert_eq!(locked, 0, "{status}"),
    }
    // What idle memory may be, and some for the calls: locked or not, it is what was touched.
    assert!(resident < 16 * 1024, "{status}");
    let journal = host.journal(&[]).await;
    assert!(!journal.contains("cannot be locked"), "{journal}");
}

/// `ProtectSystem=strict` mounts it read-only for the service alone.
async fn a_file_that_others_can_change_is_refused_in_the_unit_too() {
    let host = Host::boot(|plan| plan).await;
    host.machine.ok(&["chmod", "0666", CONFIG]).await;
    host.machine.run(&["systemctl", "start", SERVICE]).await;
    host.logged(&format!(
        "configuration file: {CONFIG} has mode 0666: every user can change it"
    ))
    .await;
    host.machine.ok(&["chmod", "0644", CONFIG]).await;
    host.client().wait_ok(LIMIT).await;
    host.machine.ok(&["chmod", "0666", CONFIG]).await;
    let reload = host.machine.run(&["systemctl", "reload", SERVICE]).await;
    assert_ne!(reload.code, 0, "{}", reload.text);
    host.logged("configuration rejected").await;
}

tests! {
    single a_file_that_others_can_change_is_refused_in_the_unit_too [Vault, Machines];
    single a_boot_without_vault_does_not_keep_kubelet_waiting [Vault, Machines];
    single the_service_restarts_after_twenty_crashes_in_a_minute [Vault, Machines];
    single a_process_that_stops_without_being_asked_by_systemd_is_started_again [Vault, Machines];
    single a_process_that_hangs_is_ended_by_the_watchdog [Vault, Machines];
    single calls_continue_while_the_admin_port_is_in_use [Vault, Machines];
    single the_directory_and_its_state_outlive_a_stop [Vault, Machines];
    single a_restart_during_an_outage_continues_with_the_key_id [Vault, Machines];
    single memory_is_locked_only_without_a_limit [Vault, Machines];
}

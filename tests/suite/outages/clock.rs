//! The system clock jumps, as when a machine with a wrong clock finds its time server.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::LIMIT;
use crate::authentication::approle::AppRole;
use crate::harness::clock::Clock;
use crate::harness::daemon::Daemon;
use crate::harness::kms::KmsClient;
use crate::harness::load::Load;
use crate::harness::vault::Vault;
use crate::harness::wait;

const HOUR: i64 = 3600;

/// Waits until the daemon has logged in so often, the last time at so many hours from now.
async fn logs_in_at(daemon: &Daemon, logins: usize, hours: i64) {
    let expected = Timestamp::now() + SignedDuration::from_hours(hours);
    wait::until_true("a login in the new time", LIMIT, async || {
        let lines = daemon.log_lines();
        let times = lines.iter().filter_map(|line| {
            let login = line["message"] == "logged in to Vault";
            let time = line["timestamp"].as_str().filter(|_| login)?;
            time.parse::<Timestamp>().ok()
        });
        let times: Vec<_> = times.collect();
        let off = |time: &Timestamp| (*time - expected).get_minutes().abs();
        times.len() >= logins && times.last().map(off).is_some_and(|off| off < 30)
    })
    .await;
}

async fn a_clock_that_jumps_an_hour_forward_and_back_changes_nothing() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let approle = AppRole::short(vault, &fixture, 2, 2).await;
    let clock = Clock::new();
    let (builder, _) = approle.daemon(&vault.address(), &fixture);
    let daemon = clock.of(builder).spawn().await;
    let client = KmsClient::connect(daemon.socket());
    let before = client.wait_ok(LIMIT).await;
    let load = Load::start(vec![client.clone(); 2], Duration::from_millis(50));
    logs_in_at(&daemon, 2, 0).await;
    for (logins, hours) in [(4, 1), (6, -1), (8, 0)] {
        clock.jump(hours * HOUR);
        logs_in_at(&daemon, logins, hours).await;
        assert_eq!(client.status().await.unwrap(), before);
    }
    load.stop().await.expect_no_failure();
}

tests! {
    single a_clock_that_jumps_an_hour_forward_and_back_changes_nothing [Vault];
}

//! Many reloads under load: half of them wrong, the others changing key, login or socket.

use rustix::process::Signal;
use serde_json::json;

use super::{ended_well, moved, under_load};
use crate::LIMIT;
use crate::harness::vault::Vault;
use crate::harness::wait;

/// Reloads that often; no call fails.
async fn storm(reloads: usize) {
    let (fixture, daemon, client, load) = under_load().await;
    let vault = Vault::shared().await;
    vault.create_key(&fixture.mount, "next").await;
    let good = std::fs::read_to_string(daemon.config_path()).unwrap();
    let (first, second) = (
        daemon.socket().to_owned(),
        daemon.socket().with_extension("b"),
    );
    let ended = || {
        let log = daemon.log();
        log.matches("configuration reloaded").count()
            + log.matches("configuration rejected").count()
    };
    for number in 0..reloads {
        let before = ended();
        daemon.write_config(&good);
        match number % 6 {
            1 => {
                let (key, also) = match number % 12 {
                    1 => ("next", fixture.key.as_str()),
                    _ => (fixture.key.as_str(), "next"),
                };
                daemon.change_config(&moved(&fixture, key, also));
            }
            3 => {
                let token = json!({ "policies": [fixture.policy], "ttl": "1h" });
                let path = daemon
                    .config_path()
                    .with_file_name(format!("token-{number}"));
                std::fs::write(&path, vault.create_token(token).await).unwrap();
                let login = format!("[auth]\ntoken_file = \"{}\"", path.display());
                daemon.change_config(&login);
                daemon.change_config(&moved(&fixture, &fixture.key, "next"));
            }
            5 => {
                let path = if number % 12 == 5 { &second } else { &first };
                daemon.change_config(&format!("[socket]\npath = \"{}\"", path.display()));
                daemon.change_config(&moved(&fixture, &fixture.key, "next"));
            }
            _ => daemon.write_config("[vault]\nadress = \"x\"\n"),
        }
        daemon.signal(Signal::HUP);
        wait::until_true("the reload's end", LIMIT, async || ended() > before).await;
    }
    let log = daemon.log();
    let (taken, refused) = (
        log.matches("configuration reloaded").count(),
        log.matches("configuration rejected").count(),
    );
    eprintln!("{reloads} reloads under load: {taken} taken over, {refused} refused");
    assert!(
        taken >= reloads / 2 - 1 && refused >= reloads / 2 - 1,
        "{taken} {refused}"
    );
    client.status().await.unwrap();
    ended_well(load).await;
}

async fn no_call_fails_while_the_configuration_keeps_changing() {
    storm(36).await;
}

async fn soak_a_thousand_reloads_fail_no_call() {
    storm(1000).await;
}

tests! {
    single no_call_fails_while_the_configuration_keeps_changing [Vault];
    single soak_a_thousand_reloads_fail_no_call soak "soak: a few minutes, 1,000 reloads";
}

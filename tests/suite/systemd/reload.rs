//! `systemctl reload`: the daemon is signalled, and an invalid file fails the command; errors that only the
//! daemon can find are in its status.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;
use std::time::Instant;

use super::super::harness::certificates::Certificates;
use super::super::harness::wait;
use super::{CONFIG, Host, LIMIT, SERVICE, SOCKET, TOKEN};

const SEED: [u8; 32] = [7; 32];

async fn systemctl_status_shows_key_and_session_and_a_reload_never_ends_the_service() {
    let (host, client) = Host::serving(|plan| plan).await;
    let key_id = client.status().await.unwrap().key_id;
    let said = format!("Status: \"key {key_id} announced; session ");
    wait::until_true("systemctl status to show the key", LIMIT, async || {
        let status = host.machine.run(&["systemctl", "status", SERVICE]).await;
        status.text.contains(&said)
    })
    .await;
    let process = host.show("MainPID").await;
    host.machine
        .write(CONFIG, &host.config.replace("debug", "trace"));
    host.machine.ok(&["systemctl", "reload", SERVICE]).await;
    host.logged("configuration reloaded").await;
    host.machine.write(CONFIG, "[vault]\nadress = \"x\"\n");
    let reload = host.machine.run(&["systemctl", "reload", SERVICE]).await;
    assert_ne!(reload.code, 0, "{}", reload.text);
    host.logged("✗ configuration: vault.adress: unknown key")
        .await;
    assert_eq!(host.show("ActiveState").await, "active");
    // The daemon heard of it, so that status and alerts show it.
    host.logged("configuration rejected").await;
    wait::until_true("systemctl status to show the reason", LIMIT, async || {
        let status = host.machine.run(&["systemctl", "status", SERVICE]).await;
        status
            .text
            .contains("the last reload was refused: vault.adress")
    })
    .await;
    client.encrypt(&SEED).await.unwrap();
    assert_eq!(host.show("MainPID").await, process);
    assert_eq!(host.show("ActiveState").await, "active");
    host.machine.ok(&["systemctl", "stop", SERVICE]).await;
    assert_eq!(host.show("Result").await, "success");
}

async fn a_reload_may_take_longer_than_systemd_allows_for_a_start() {
    let drop_in = format!("/etc/systemd/system/{SERVICE}.d/timeout.conf");
    let short = "[Service]\nTimeoutStartSec=3s\n";
    let (host, client) = Host::serving(|plan| plan.file(&drop_in, short)).await;
    let hanging = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = format!("address = \"http://{}\"", hanging.local_addr().unwrap());
    let before = host.config.lines().nth(1).unwrap();
    host.machine
        .write(CONFIG, &host.config.replace(before, &address));
    let start = Instant::now();
    host.machine.run(&["systemctl", "reload", SERVICE]).await;
    host.logged("configuration rejected").await;
    let took = start.elapsed();
    eprintln!("refused after {took:?}");
    assert!(took > Duration::from_secs(3), "{took:?}");
    let journal = host.journal(&[]).await;
    assert!(!journal.contains("timed out. Killing"), "{journal}");
    client.encrypt(&SEED).await.unwrap();
    assert_eq!(host.show("ReloadResult").await, "success");
    assert_eq!(host.show("NRestarts").await, "0");
}

async fn a_credential_and_a_setting_come_from_systemd_and_a_reload_goes_on_with_both() {
    let drop_in = format!("/etc/systemd/system/{SERVICE}.d/credential.conf");
    let host = Host::boot(|plan| plan).await;
    let key = format!("key = {:?}\n", host.fixture.key);
    let inside = |name: &str| format!("/run/credentials/{SERVICE}/{name}");
    let vault = host.config.lines().nth(1).unwrap();
    let (_, address) = vault.split_once(" = ").unwrap();
    // The second address is never asked, but has the CA read.
    let with_ca = format!(
        "address = [{address}, \"https://127.0.0.1:9\"]\nca_file = {:?}",
        inside("ca.pem")
    );
    let config = host.config.replace(TOKEN, &inside("vault-token"));
    let config = config.replace(&key, "").replace(vault, &with_ca);
    let unit = format!(
        "[Service]\nLoadCredential=vault-token:/etc/credstore/vault-token\n\
         LoadCredential=ca.pem:/etc/credstore/ca.pem\n\
         Environment=VAULT_KMS_PLUGIN_TRANSIT_KEY={}\n",
        host.fixture.key
    );
    host.machine
        .write("/etc/credstore/ca.pem", &Certificates::new().ca_pem());
    host.machine.write(&drop_in, &unit);
    host.machine.write(CONFIG, &config);
    host.machine
        .write("/etc/credstore/vault-token", &host.fixture.token);
    host.machine
        .ok(&["chmod", "0600", "/etc/credstore/vault-token"])
        .await;
    host.machine.ok(&["rm", TOKEN]).await;
    host.machine.ok(&["systemctl", "daemon-reload"]).await;
    host.machine.ok(&["systemctl", "start", SERVICE]).await;
    host.client().wait_ok(LIMIT).await;
    let mode = host.machine.ok(&["stat", "-c", "%a %U", SOCKET]).await;
    assert_eq!(mode, "600 vault-kms-plugin\n");
    // The commands of a reload have the service's environment; systemd 252 keeps its credentials
    // from them, which is no reason to refuse.
    host.machine.ok(&["systemctl", "reload", SERVICE]).await;
    host.logged(&format!("✓ configuration: {CONFIG} is valid"))
        .await;
    host.logged("configuration reloaded").await;
    let journal = host.journal(&[]).await;
    assert!(!journal.contains("✗"), "{journal}");
    // What is wrong elsewhere is still found.
    host.machine.write(CONFIG, &config.replace("debug", "loud"));
    let reload = host.machine.run(&["systemctl", "reload", SERVICE]).await;
    assert_ne!(reload.code, 0, "{}", reload.text);
}

tests! {
    single systemctl_status_shows_key_and_session_and_a_reload_never_ends_the_service [Vault, Machines];
    single a_reload_may_take_longer_than_systemd_allows_for_a_start [Vault, Machines];
    single a_credential_and_a_setting_come_from_systemd_and_a_reload_goes_on_with_both [Vault, Machines];
}

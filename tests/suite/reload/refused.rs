//! Rejected reloads: the running configuration is kept, and one line names the error and its key.

use rustix::process::Signal;
use serde_json::json;

use super::{SEED, moved, reloaded, taken_over};
use crate::harness::child::free_port;
use crate::harness::daemon::Daemon;
use crate::harness::kms::KmsClient;
use crate::harness::scrape::Metrics;
use crate::harness::vault::{Vault, plugin_policy};
use crate::keys::state_names;
use crate::{LIMIT, daemon_for, ready_daemon};

/// The error of a reload of this text.
async fn refused(daemon: &Daemon, text: &str) -> String {
    let count = || daemon.log().matches("configuration rejected").count();
    let before = count();
    daemon.write_config(text);
    daemon.signal(Signal::HUP);
    crate::harness::wait::until_true("the refusal", LIMIT, async || count() > before).await;
    let lines = daemon.log_lines();
    let line = lines.iter().rev().find(|line| {
        let message = line["message"].as_str();
        message.is_some_and(|message| message.starts_with("configuration rejected"))
    });
    line.unwrap()["error"].as_str().unwrap().to_owned()
}

async fn an_invalid_configuration_is_reported_and_the_running_one_kept() {
    let (fixture, daemon, client) = ready_daemon().await;
    let vault = Vault::shared().await;
    vault.create_key(&fixture.mount, "next").await;
    let good = std::fs::read_to_string(daemon.config_path()).unwrap();
    let changed = |change: &str| {
        daemon.write_config(&good);
        daemon.change_config(change);
        std::fs::read_to_string(daemon.config_path()).unwrap()
    };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let file = daemon.config_path();
    std::fs::write(file.with_file_name("wrong"), "hvs.wrong").unwrap();
    let wrong = file.with_file_name("wrong");
    let missing = file.with_file_name("missing");
    let table = [
        ("[vault\n".to_owned(), "invalid TOML".to_owned()),
        (
            changed("[log]\nlevle = \"info\""),
            "log.levle: unknown key".to_owned(),
        ),
        (
            changed(&format!(
                "[vault]\naddress = \"https://127.0.0.1:{}\"\nca_file = \"{}\"",
                free_port(),
                missing.display()
            )),
            format!("vault.ca_file: {} cannot be opened", missing.display()),
        ),
        (
            changed(&format!(
                "[vault]\naddress = \"http://127.0.0.1:{}\"",
                free_port()
            )),
            "cannot be reached".to_owned(),
        ),
        (
            changed(&format!("[auth]\ntoken_file = \"{}\"", wrong.display())),
            "put a valid token into".to_owned(),
        ),
        (
            changed(&format!("[auth]\ntoken_file = \"{}\"", missing.display())),
            "cannot be opened".to_owned(),
        ),
        (
            changed("[socket]\npath = \"/nonexistent/kms.sock\""),
            "create its directory first".to_owned(),
        ),
        (
            changed(&format!("[socket]\npath = \"{}\"", file.display())),
            "exists and is no socket".to_owned(),
        ),
        (
            changed(&format!(
                "[admin]\nlisten = \"{}\"",
                taken.local_addr().unwrap()
            )),
            "admin.listen: cannot bind".to_owned(),
        ),
        (
            "kms_version = \"v2beta1\"\n".to_owned() + &good,
            "kms_version: a running kube-apiserver cannot follow".to_owned(),
        ),
        (
            changed("[transit]\nkey = \"next\""),
            "put it under transit.decrypt_also".to_owned(),
        ),
        (
            // Its token may not use that key.
            changed(&moved(&fixture, "next", &fixture.key)),
            "HTTP 403".to_owned(),
        ),
    ];
    let before = client.status().await.unwrap();
    for (text, said) in table {
        let error = refused(&daemon, &text).await;
        assert!(error.contains(&said), "{said}: {error}");
        assert!(!error.contains("hvs.wrong"), "{error}");
        assert_eq!(client.status().await.unwrap(), before);
        let newcomer = KmsClient::connect(daemon.socket());
        let (ciphertext, key_id) = newcomer.encrypt(&SEED).await.unwrap();
        assert_eq!(newcomer.decrypt(&ciphertext, &key_id).await.unwrap(), SEED);
    }
    assert_eq!(taken_over(&daemon), 0);
    assert!(file.exists());
    // None of it has left anything behind that would stop a good one.
    daemon.write_config(&good);
    reloaded(&daemon, "[limits]\nmax_waiting = 8").await;
}

/// The state file without the time of the last success.
fn state(daemon: &Daemon) -> serde_json::Value {
    let text = std::fs::read_to_string(daemon.state_path());
    let mut state: serde_json::Value = serde_json::from_str(&text.unwrap()).unwrap();
    state["last_success"].take();
    state
}

/// What was logged of the key at INFO or above.
fn key_events(daemon: &Daemon) -> Vec<serde_json::Value> {
    let of_key = |line: &serde_json::Value| {
        line["target"] == "vault_kms_plugin::keys" && line["level"] != "DEBUG"
    };
    daemon.log_lines().into_iter().filter(of_key).collect()
}

/// What a candidate finds out is neither stored nor reported as if it served.
async fn a_refused_candidate_writes_no_state_and_logs_no_event_of_its_key() {
    let (fixture, daemon, client) = ready_daemon().await;
    let vault = Vault::shared().await;
    vault.create_key(&fixture.mount, "next").await;
    let key_id = client.status().await.unwrap().key_id;
    state_names(&daemon, &key_id).await;
    let (stored, logged) = (state(&daemon), key_events(&daemon));
    assert!(!logged.is_empty(), "{}", daemon.log());
    let good = std::fs::read_to_string(daemon.config_path()).unwrap();
    let moved = moved(&fixture, "next", &fixture.key);
    let changed = |change: &str| {
        daemon.write_config(&good);
        daemon.change_config(change);
        std::fs::read_to_string(daemon.config_path()).unwrap()
    };

    // The key works, but its token may not decrypt what was encrypted until now.
    let policy = format!("{}-next", fixture.policy);
    let rules = plugin_policy(&fixture.mount, "next");
    vault.write_policy(&policy, &rules).await;
    let token = vault.create_token(json!({ "policies": [policy] })).await;
    let file = daemon.dir().join("next");
    std::fs::write(&file, token).unwrap();
    let login = format!("[auth]\ntoken_file = \"{}\"\n", file.display());
    let error = refused(&daemon, &changed(&(login + &moved))).await;
    assert!(error.contains("HTTP 403"), "{error}");
    assert_eq!(state(&daemon), stored);

    // The key cannot be used at all, which is a verdict.
    let error = refused(&daemon, &changed(&moved)).await;
    assert!(error.contains("HTTP 403"), "{error}");
    assert_eq!(state(&daemon), stored);
    assert_eq!(key_events(&daemon), logged);

    // A process that starts again knows the key that wrote.
    daemon.write_config(&good);
    daemon.kill();
    daemon.restart().await;
    let client = KmsClient::connect(daemon.socket());
    assert_eq!(client.wait_ok(LIMIT).await.key_id, key_id);
    let before = |line: &serde_json::Value| line.get("before").is_some();
    assert!(!key_events(&daemon).iter().any(before), "{}", daemon.log());
}

async fn the_logins_of_a_candidate_say_so_and_are_not_counted() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let daemon = daemon_for(&vault.address(), &fixture).spawn().await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    let good = std::fs::read_to_string(daemon.config_path()).unwrap();
    let logged = |message: &str| {
        let mut lines = daemon.log_lines();
        lines.retain(|line| line["message"] == message);
        lines
    };

    let wrong = daemon.dir().join("wrong");
    std::fs::write(&wrong, "hvs.wrong").unwrap();
    daemon.change_config(&format!("[auth]\ntoken_file = \"{}\"", wrong.display()));
    let text = std::fs::read_to_string(daemon.config_path()).unwrap();
    refused(&daemon, &text).await;
    let failed = logged("login to Vault failed");
    assert!(!failed.is_empty(), "{}", daemon.log());
    for line in &failed {
        assert_eq!(line["candidate"], true, "{line}");
    }
    let metrics = Metrics::of(&daemon).await;
    for class in ["credential", "refused"] {
        let class = [("class", class)];
        let name = "vault_kms_plugin_login_failures_total";
        assert!(metrics.find(name, &class).is_some(), "{class:?}");
        let count = metrics.value(name, &class);
        assert_eq!(count, 0.0, "{class:?}: {}", metrics.text);
    }

    daemon.write_config(&good);
    let same = daemon.dir().join("same");
    std::fs::write(&same, &fixture.token).unwrap();
    let candidate = format!("[auth]\ntoken_file = \"{}\"", same.display());
    reloaded(&daemon, &candidate).await;
    let logins = logged("logged in to Vault");
    assert!(logins.len() > 1, "{logins:?}");
    assert!(logins[0].get("candidate").is_none(), "{logins:?}");
    for line in &logins[1..] {
        assert_eq!(line["candidate"], true, "{line}");
    }
}

async fn a_key_that_never_wrote_may_be_corrected() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let daemon = daemon_for(&vault.address(), &fixture)
        .transit(&fixture.mount, "misspelt")
        .spawn()
        .await;
    let client = KmsClient::connect(daemon.socket());
    client.encrypt(&SEED).await.unwrap_err();
    reloaded(&daemon, &format!("[transit]\nkey = \"{}\"", fixture.key)).await;
    client.wait_ok(LIMIT).await;
}

tests! {
    single an_invalid_configuration_is_reported_and_the_running_one_kept [Vault];
    single a_refused_candidate_writes_no_state_and_logs_no_event_of_its_key [Vault];
    single the_logins_of_a_candidate_say_so_and_are_not_counted [Vault];
    single a_key_that_never_wrote_may_be_corrected [Vault];
}

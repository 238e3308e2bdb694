//! `check` of working setups against a real Vault, and its warnings.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::UnixListener;

use super::super::authentication::signed;
use super::super::harness::certificates::Certificates;
use super::super::harness::kms::KmsClient;
use super::super::harness::vault::{Vault, plugin_policy};
use super::super::tls::{NAMED, trusting, vault_with_tls};
use super::super::{LIMIT, daemon_at, daemon_for};
use super::{NOBODY, encryption, proven, valid};

/// The steps of a working setup, one line each.
const STEPS: [&str; 14] = [
    "configuration",
    "defaults",
    "files",
    "tcp",
    "tls",
    "tls",
    "vault",
    "login",
    "token",
    "capabilities",
    "key",
    "round trip",
    "socket",
    "encryption config",
];

async fn every_step_of_a_working_setup_is_ok_and_a_running_daemon_receives_no_call() {
    let certificates = Certificates::new();
    let (_vault, fixture, address) = vault_with_tls(&certificates, "").await;
    let builder = || trusting(daemon_for(&address, &fixture), &certificates, NAMED);
    let daemon = builder().spawn().await;
    KmsClient::connect(daemon.socket()).wait_ok(LIMIT).await;
    let before = daemon.log();
    let builder = builder().listen(daemon.socket().to_str().unwrap());
    let endpoint = format!("unix://{}", daemon.socket().display());
    let file = encryption::written(&builder, &endpoint, "v2");
    let began = Instant::now();
    let said = proven(builder, &["--strict", "--encryption-config", &file]).await;
    eprintln!("it took {:?}", began.elapsed());
    said.ends_with(0)
        .says("✓ tls: certificate of CN=vault.example, issued by CN=test CA");
    let lines: Vec<_> = said.text.lines().collect();
    assert_eq!(lines.len(), STEPS.len(), "{}", said.text);
    for (line, step) in lines.iter().zip(STEPS) {
        assert!(line.starts_with(&format!("✓ {step}: ")), "{line}");
    }
    let after = daemon.log();
    let new = after.strip_prefix(&before).unwrap();
    assert!(!new.to_lowercase().contains("status"), "{new}");
}

async fn check_does_not_connect_to_the_kms_socket() {
    let builder = valid();
    let listener = UnixListener::bind(builder.socket()).unwrap();
    let said = proven(builder, &[]).await;
    said.ends_with(69).says("✓ socket: ");
    let accepted = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(accepted.is_err(), "something connected");
}

async fn without_vault_each_address_is_reported_and_the_local_steps_run() {
    let two = format!("[vault]\naddress = [\"{NOBODY}\", \"http://localhost:9\"]");
    let said = proven(valid().extra(&two), &[]).await;
    said.ends_with(69)
        .names(
            "tcp: 127.0.0.1:9: Connection refused",
            "correct vault.address",
        )
        .names(
            "tcp: localhost:9: Connection refused",
            "correct vault.address",
        )
        .says("✓ dns: localhost is ")
        .says("✓ files: ")
        .says("✓ socket: ");
    let unknown = "[vault]\naddress = \"https://vault.invalid:8200\"";
    let said = proven(valid().extra(unknown), &[]).await;
    let remedy = "correct vault.address, or the name servers";
    said.ends_with(69).names("dns: vault.invalid: ", remedy);
}

async fn an_unreachable_address_is_reported_and_the_other_one_is_used() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let two = format!("[vault]\naddress = [\"{NOBODY}\", \"{}\"]", vault.address());
    let said = proven(daemon_for(NOBODY, &fixture).extra(&two), &[]).await;
    said.ends_with(69)
        .names("tcp: 127.0.0.1:9: ", "start what listens there")
        .says("✓ round trip: ");
}

async fn capabilities_that_are_never_needed_cause_a_warning() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let root = daemon_for(&vault.address(), &fixture).token(vault.root_token());
    proven(root, &[])
        .await
        .ends_with(0)
        .says("! token: it is a root token");

    let mount = &fixture.mount;
    vault
        .write_policy(&fixture.policy, &plugin_policy(mount, "*"))
        .await;
    let said = proven(daemon_for(&vault.address(), &fixture), &["--strict"]).await;
    said.ends_with(1)
        .says("! capabilities: the policy has a wildcard")
        .says(&format!("{mount}/encrypt/*"));

    let more = plugin_policy(mount, "kms")
        .replace("[\"update\"]", "[\"create\", \"update\"]")
        .replace("[\"read\"]", "[\"read\", \"delete\", \"sudo\"]");
    vault.write_policy(&fixture.policy, &more).await;
    let said = proven(daemon_for(&vault.address(), &fixture), &[]).await;
    said.ends_with(0)
        .says(&format!(
            "! capabilities: the policy grants `create` on {mount}/encrypt/kms"
        ))
        .says(&format!(
            "grants delete and sudo on {mount}/keys/kms, which is never needed"
        ));
}

async fn capabilities_that_manage_the_key_cause_a_warning() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let mount = &fixture.mount;
    let managing = format!(
        "path \"{mount}/keys/kms/rotate\" {{ capabilities = [\"update\"] }}\n\
         path \"{mount}/export/encryption-key/kms\" {{ capabilities = [\"read\"] }}\n\
         path \"sys/mounts/{mount}\" {{ capabilities = [\"delete\"] }}\n"
    );
    let more = plugin_policy(mount, "kms") + &managing;
    vault.write_policy(&fixture.policy, &more).await;
    let said = proven(daemon_for(&vault.address(), &fixture), &["--strict"]).await;
    said.ends_with(1).says(&format!(
        "delete on sys/mounts/{mount}; read on {mount}/export/encryption-key/kms; \
         update on {mount}/keys/kms/rotate"
    ));
}

async fn create_is_harmless_where_the_mount_disables_upsert() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let mount = &fixture.mount;
    let more = plugin_policy(mount, "kms").replace("[\"update\"]", "[\"create\", \"update\"]")
        + &format!("path \"{mount}/config/keys\" {{ capabilities = [\"read\"] }}\n");
    vault.write_policy(&fixture.policy, &more).await;
    let said = proven(daemon_for(&vault.address(), &fixture), &[]).await;
    let mistyped = "a mistyped key name would create a new key";
    said.ends_with(0).says(mistyped).says("set disable_upsert");
    let path = format!("{mount}/config/keys");
    let disabled = json!({ "disable_upsert": true });
    vault.expect("POST", &path, Some(disabled)).await;
    let said = proven(daemon_for(&vault.address(), &fixture), &[]).await;
    said.ends_with(0)
        .says("only disable_upsert of the mount makes harmless");
    assert!(!said.text.contains(mistyped), "{}", said.text);
}

async fn the_claims_of_a_jwt_are_shown_and_its_times_compared() {
    let key = rcgen::KeyPair::generate().unwrap();
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let builder = |jwt: &str| {
        let builder = daemon_at(&vault.address(), &fixture);
        let file = builder.write_file("jwt", jwt);
        builder.extra(&format!(
            "[auth]\nmethod = \"jwt\"\nmount = \"none\"\nrole = \"plugin\"\njwt_file = {file:?}"
        ))
    };
    let jwt = signed(&key, "https://issuer", "the-plugin", "vault");
    let said = proven(builder(&jwt), &[]).await;
    said.says("issuer https://issuer, subject the-plugin, audience vault, expires in 60 minutes");
    assert!(!said.text.contains(&jwt), "{}", said.text);
    let said = proven(builder("not a JWT"), &[]).await;
    said.says("! jwt: ").says(" holds no JWT");
    assert!(!said.text.contains("not a JWT"), "{}", said.text);
}

async fn a_token_that_will_end_causes_a_warning() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    for (parameters, text) in [
        (
            json!({ "ttl": "1h", "no_parent": true }),
            "create one with -period",
        ),
        (
            json!({ "period": "1h", "explicit_max_ttl": "2h", "no_parent": true }),
            "without -explicit-max-ttl",
        ),
        (json!({ "period": "1h" }), "create one with -orphan"),
    ] {
        let mut parameters = parameters;
        parameters["policies"] = json!([fixture.policy]);
        let token = vault.create_token(parameters).await;
        let builder = daemon_for(&vault.address(), &fixture).token(&token);
        let said = proven(builder, &["--strict"]).await;
        said.ends_with(1).says("! token: ").says(text);
    }
}

async fn a_key_that_only_decrypts_needs_its_capability_too() {
    let bound = "associated_data = \"bao-kms-provider\"\nprovider_name = \"a\"\ncluster_id = \"b\"\ninstance_id = \"c\"";
    for labels in ["", bound] {
        let vault = Vault::shared().await;
        let (fixture, old) = (vault.fixture().await, vault.fixture().await);
        let also = format!(
            "[[transit.decrypt_also]]\nmount = \"{}\"\nkey = \"kms\"\n{labels}",
            old.mount
        );
        let builder = || daemon_for(&vault.address(), &fixture).extra(&also);
        let path = format!("{}/decrypt/kms", old.mount);
        let missing = format!("does not grant `update` on {path}");
        proven(builder(), &[])
            .await
            .ends_with(69)
            .names(&missing, "grant it");
        let both = plugin_policy(&fixture.mount, "kms") + &plugin_policy(&old.mount, "kms");
        vault.write_policy(&fixture.policy, &both).await;
        let line = format!("update on {path}, and nothing more");
        proven(builder(), &["--strict"])
            .await
            .ends_with(0)
            .says(&line);
    }
}

async fn a_key_that_can_be_lost_or_exported_causes_a_warning() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let risky = json!({
        "deletion_allowed": true,
        "exportable": true,
        "allow_plaintext_backup": true,
        "auto_rotate_period": "720h",
    });
    vault.configure_key(&fixture.mount, "kms", risky).await;
    let said = proven(daemon_for(&vault.address(), &fixture), &[]).await;
    said.ends_with(0)
        .says("aes256-gcm96, latest version 1, ")
        .says("a rotation every 30 days")
        .says("kms can be deleted, and every Secret with it")
        .says("kms can be exported")
        .says("kms can be backed up unencrypted");
}

async fn json_holds_every_step() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let said = proven(daemon_for(&vault.address(), &fixture), &["--json"]).await;
    let steps = steps(&said.text);
    let is_ok = |step: &Value| step["outcome"] == "ok" && step["remedy"].is_null();
    assert!(steps.iter().all(is_ok), "{steps:?}");
    assert!(
        steps.iter().any(|step| step["name"] == "round trip"),
        "{steps:?}"
    );
}

async fn json_holds_the_remedy() {
    let said = proven(valid(), &["--json"]).await;
    let steps = steps(&said.ends_with(69).text);
    let tcp = steps.iter().find(|step| step["name"] == "tcp").unwrap();
    assert_eq!(
        (&tcp["outcome"], tcp["remedy"].is_string()),
        (&json!("unavailable"), true)
    );
}

fn steps(text: &str) -> Vec<Value> {
    let json: Value = serde_json::from_str(text).unwrap();
    json["steps"].as_array().unwrap().clone()
}

tests! {
    single every_step_of_a_working_setup_is_ok_and_a_running_daemon_receives_no_call [Vault];
    single check_does_not_connect_to_the_kms_socket;
    single without_vault_each_address_is_reported_and_the_local_steps_run;
    single an_unreachable_address_is_reported_and_the_other_one_is_used [Vault];
    single capabilities_that_are_never_needed_cause_a_warning [Vault];
    single capabilities_that_manage_the_key_cause_a_warning [Vault];
    single create_is_harmless_where_the_mount_disables_upsert [Vault];
    single the_claims_of_a_jwt_are_shown_and_its_times_compared [Vault];
    single a_token_that_will_end_causes_a_warning [Vault];
    single a_key_that_only_decrypts_needs_its_capability_too [Vault];
    single a_key_that_can_be_lost_or_exported_causes_a_warning [Vault];
    single json_holds_every_step [Vault];
    single json_holds_the_remedy;
}

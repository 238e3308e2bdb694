//! No secret is logged, at any level.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::harness::kms::KmsClient;
use super::harness::proxy::{Fault, Proxy};
use super::harness::vault::Vault;
use super::harness::wait;
use super::{LIMIT, daemon_at, daemon_for};

const SEED: [u8; 32] = *b"a plaintext nobody may ever see!";

fn forms(secret: &[u8]) -> [String; 3] {
    let hex = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    // Bytes that are not text can be logged in their Debug form.
    let raw = String::from_utf8_lossy(secret).into_owned();
    [
        raw,
        STANDARD.encode(secret).trim_end_matches('=').to_owned(),
        hex,
    ]
}

fn assert_silent(log: &str, secret: &[u8]) {
    for form in forms(secret) {
        assert!(!log.contains(&form), "{form:?} is in the log");
    }
    let listed = format!("{:?}", &secret[..8]);
    let listed = listed.trim_matches(['[', ']']);
    assert!(!log.contains(listed), "{listed} is in the log");
}

async fn nothing_secret_is_logged_at_trace() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let proxy = Proxy::start(vault.socket_address());
    for format in ["json", "text"] {
        let daemon = daemon_for(&proxy.address(), &fixture)
            .extra(&format!("[log]\nlevel = \"trace\"\nformat = \"{format}\""))
            .spawn()
            .await;
        let client = KmsClient::connect(daemon.socket());
        client.wait_ok(LIMIT).await;
        let (ciphertext, key_id) = client.encrypt(&SEED).await.unwrap();
        client.decrypt(&ciphertext, &key_id).await.unwrap();
        let cipher = client.encrypt_v1(&SEED).await.unwrap();
        client.decrypt_v1(&cipher).await.unwrap();
        client.decrypt(b"garbage", &key_id).await.unwrap_err();
        client.encrypt(&[7; 1024 * 1024]).await.unwrap_err();
        // A server that returns the secret in JSON of the wrong shape.
        let echo = format!(
            "{{\"data\":{{\"plaintext\":{:?},\"ciphertext\":\"vault:v1:{}\"}}}}",
            STANDARD.encode(SEED),
            "no version"
        );
        proxy.fault(
            "crypt/",
            Fault::Answer {
                status: 200,
                body: echo,
                content_type: "application/json".into(),
            },
        );
        let _ = client.encrypt(&SEED).await.unwrap_err();
        proxy.clear();
        daemon.logged("call failed").await;
        let log = daemon.log();
        assert!(log.contains("encrypt"), "the log says nothing: {log}");
        assert_silent(&log, &SEED);
        assert_silent(&log, fixture.token.as_bytes());
    }
}

async fn a_secret_that_a_server_repeats_in_an_error_reaches_neither_log_nor_caller() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let proxy = Proxy::start(vault.socket_address());
    let daemon = daemon_for(&proxy.address(), &fixture)
        .extra("[log]\nlevel = \"trace\"")
        .spawn()
        .await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    let secrets = [SEED.as_slice(), fixture.token.as_bytes()];
    let repeated = format!(
        "cannot encrypt {} which is {} for {}",
        STANDARD.encode(SEED),
        String::from_utf8_lossy(&SEED),
        fixture.token
    );
    for status in [400, 403, 500, 503] {
        proxy.clear();
        proxy.fault("/encrypt/", Fault::error(status, &repeated));
        // A transient one comes at the deadline, which a busy machine may miss.
        wait::until_true("the server's words in an error", LIMIT, async || {
            let error = client.encrypt(&SEED).await.unwrap_err();
            for secret in secrets {
                assert_silent(error.message(), secret);
            }
            error.message().contains("cannot encrypt [redacted] which")
        })
        .await;
    }
    daemon.logged("cannot encrypt [redacted] which").await;
    // The proxy says the same to the canary of the key, which has another plaintext.
    let mut lines = daemon.log_lines();
    lines.retain(|line| line["target"] != "vault_kms_plugin::keys");
    let log = serde_json::to_string(&lines).unwrap();
    for secret in secrets {
        assert_silent(&log, secret);
    }
}

async fn a_credential_that_a_server_repeats_in_an_error_is_not_logged() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let proxy = Proxy::start(vault.socket_address());
    let password = "correct horse battery";
    let error = Fault::error(400, &format!("password {password:?} is unknown"));
    proxy.fault("/v1/auth/", error);
    let builder = daemon_at(&proxy.address(), &fixture);
    let file = builder.write_file("password", password);
    let auth = format!(
        "[auth]\nmethod = \"userpass\"\nusername = \"plugin\"\npassword_file = \"{}\"\n[log]\nlevel = \"trace\"",
        file.display()
    );
    let daemon = builder.extra(&auth).spawn().await;
    daemon.logged("is unknown").await;
    let log = daemon.log();
    assert!(log.contains("[redacted]"), "{log}");
    assert_silent(&log, password.as_bytes());
}

async fn a_service_account_token_is_not_logged_when_its_login_fails() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let mount = format!("sa-{}", fixture.mount.replace('/', "-"));
    vault.enable_auth("kubernetes", &mount).await;
    let jwt = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzZWNyZXQgc2VydmljZSBhY2NvdW50In0.c2lnbmF0dXJl";
    let builder = daemon_at(&vault.address(), &fixture);
    let file = builder.write_file("jwt", jwt);
    let auth = format!(
        "[auth]\nmethod = \"kubernetes\"\nmount = \"{mount}\"\nrole = \"r\"\njwt_file = \"{}\"\n[log]\nlevel = \"trace\"",
        file.display()
    );
    let daemon = builder.extra(&auth).spawn().await;
    let client = KmsClient::connect(daemon.socket());
    client.encrypt(&SEED).await.unwrap_err();
    daemon.logged("login to Vault failed").await;
    let log = daemon.log();
    assert_silent(&log, &SEED);
    assert_silent(&log, jwt.as_bytes());
}

tests! {
    single nothing_secret_is_logged_at_trace [Vault];
    single a_secret_that_a_server_repeats_in_an_error_reaches_neither_log_nor_caller [Vault];
    single a_credential_that_a_server_repeats_in_an_error_is_not_logged [Vault];
    single a_service_account_token_is_not_logged_when_its_login_fails [Vault];
}

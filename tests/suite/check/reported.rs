//! Setups that people have reported of KMS plugins, on a real Vault: `check` names the cause and the remedy.
//! docs/troubleshooting.md shows each.

use rcgen::KeyPair;
use serde_json::json;

use super::super::authentication::approle::AppRole;
use super::super::authentication::{SUBJECT, signed_until};
use super::super::harness::certificates::Certificates;
use super::super::harness::daemon::Daemon;
use super::super::harness::kms::KmsClient;
use super::super::harness::vault::{Fixture, Vault};
use super::super::keys::state_names;
use super::super::tls::{NAMED, trusting, vault_with_tls};
use super::super::{LIMIT, daemon_at, daemon_for};
use super::broken::END;
use super::page::shows;
use super::running::Double;
use super::{Said, encryption, proven, valid};

const FILE: &str = " --offline --encryption-config /etc/vault-kms-plugin/encryption.yaml";

/// What `check --offline` says of kube-apiserver's file after `change`, which the page shows.
async fn says_of_the_file(section: &str, code: i32, change: impl Fn(&str, &str) -> String) {
    let fixture = Fixture {
        mount: "transit".to_owned(),
        key: "kms".to_owned(),
        policy: "none".to_owned(),
        token: String::new(),
    };
    let builder = valid();
    let endpoint = format!("unix://{}", builder.socket().display());
    let file = encryption::written(&builder, &endpoint, "v2");
    let text = std::fs::read_to_string(&file).unwrap();
    builder.write_file("encryption.yaml", &change(&text, &endpoint));
    let said = proven(builder, &["--offline", "--encryption-config", &file]).await;
    said.ends_with(code);
    shows(section, FILE, &said, &fixture, &[]);
}

async fn a_file_that_writes_plaintext_is_reported() {
    says_of_the_file("kube-apiserver writes plaintext", 0, |text, _| {
        let identity = "      - identity: {}\n";
        let text = text.replace(encryption::IDENTITY, "");
        text.replace("    providers:\n", &format!("    providers:\n{identity}"))
    })
    .await;
}

async fn a_provider_without_a_version_is_reported() {
    says_of_the_file("The provider has no apiVersion", 78, |text, _| {
        text.replace("          apiVersion: v2\n", "")
    })
    .await;
}

async fn an_endpoint_with_two_slashes_is_reported() {
    says_of_the_file("The endpoint has two slashes", 78, |text, endpoint| {
        text.replace(endpoint, &endpoint.replace(":///", "://"))
    })
    .await;
}

async fn a_role_for_other_addresses_is_reported() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let bound = json!({ "secret_id_bound_cidrs": "127.0.0.2/32" });
    let role = AppRole::new(vault, &fixture, bound).await;
    let builder = role.daemon(&vault.address(), &fixture).0;
    let said = proven(builder, &["--login"]).await;
    said.ends_with(69)
        .names("source address", "add the address of this node");
    let section = "The role is for other addresses";
    let names = [
        (role.mount.as_str(), "approle"),
        (role.role_id.as_str(), "5c0e6a1e-…"),
    ];
    shows(section, " --login", &said, &fixture, &names);
}

async fn a_self_signed_certificate_is_reported() {
    let (certificates, other) = (Certificates::new(), Certificates::new());
    certificates.self_signed("vault.example", |_| {});
    let (_vault, fixture, address) = vault_with_tls(&certificates, "").await;
    let builder = trusting(daemon_for(&address, &fixture), &other, NAMED);
    let said = proven(builder, &[]).await;
    said.ends_with(69).names(
        "it is self-signed, and not in vault.ca_file",
        "put this very certificate there",
    );
    shows(
        "The certificate is self-signed",
        "",
        &said,
        &fixture,
        &[END],
    );
}

async fn an_expired_jwt_is_reported_before_the_login() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let key = KeyPair::generate().unwrap();
    let mount = format!("expired-{}", fixture.mount);
    vault.enable_auth("jwt", &mount).await;
    let config = json!({ "jwt_validation_pubkeys": [key.public_key_pem()] });
    let path = format!("auth/{mount}/config");
    vault.expect("POST", &path, Some(config)).await;
    let role = json!({
        "role_type": "jwt",
        "user_claim": "sub",
        "bound_audiences": ["vault"],
        "bound_subject": SUBJECT,
        "token_policies": [fixture.policy],
    });
    let path = format!("auth/{mount}/role/plugin");
    vault.expect("POST", &path, Some(role)).await;
    let builder = daemon_at(&vault.address(), &fixture);
    let jwt = signed_until(&key, "issuer", SUBJECT, "vault", -7200);
    let file = builder.write_file("jwt", &jwt);
    let auth = format!(
        "[auth]\nmethod = \"jwt\"\nmount = \"{mount}\"\nrole = \"plugin\"\njwt_file = {file:?}"
    );
    let said = proven(builder.extra(&auth), &[]).await;
    said.ends_with(69)
        .says("it expired 2 hours ago: does something renew the file");
    let names = [(mount.as_str(), "jwt")];
    shows("The JWT has expired", "", &said, &fixture, &names);
}

async fn a_policy_that_grants_too_much_is_reported() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let mount = &fixture.mount;
    let policy =
        format!("path \"{mount}/*\" {{ capabilities = [\"create\", \"read\", \"update\"] }}");
    vault.write_policy(&fixture.policy, &policy).await;
    let said = proven(daemon_for(&vault.address(), &fixture), &["--strict"]).await;
    said.ends_with(1)
        .says("a mistyped key name would create a new key")
        .says("covers keys of every name")
        .says("/rotate");
    shows(
        "The policy grants too much",
        " --strict",
        &said,
        &fixture,
        &[],
    );
}

async fn a_token_that_is_not_valid_any_more_is_reported() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    vault.revoke(&fixture.token).await;
    let said = proven(daemon_for(&vault.address(), &fixture), &[]).await;
    said.ends_with(69)
        .names("login by token failed", "put a valid token into");
    // Vault says more than OpenBao.
    let names = [(
        "permission denied\n    put a valid",
        "permission denied; invalid token\n    put a valid",
    )];
    shows(
        "The token is not valid any more",
        "",
        &said,
        &fixture,
        &names,
    );
}

async fn a_minimum_above_what_was_written_is_reported() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let daemon = daemon_for(&vault.address(), &fixture).spawn().await;
    let status = KmsClient::connect(daemon.socket()).wait_ok(LIMIT).await;
    state_names(&daemon, &status.key_id).await;
    vault.rotate(&fixture.mount, "kms").await;
    let raised = json!({ "min_decryption_version": 2 });
    vault.configure_key(&fixture.mount, "kms", raised).await;
    let said = of_daemon(&daemon).await;
    said.ends_with(0)
        .says("! key_id: min_decryption_version is 2: what transit1:");
    let created = status.key_id.rsplit(':').next().unwrap().to_owned();
    let mount = fixture.mount.replace('/', "%2F");
    let names = [
        (created.as_str(), "1795420801"),
        (mount.as_str(), "transit"),
    ];
    let section = "min_decryption_version is above what was written";
    shows(section, "", &said, &fixture, &names);
}

async fn a_user_whom_the_plugin_refuses_is_reported() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let more = "[socket]\nmode = \"0660\"\ngroup = \"12347\"\nallow_uids = [0]";
    let builder = daemon_for(&vault.address(), &fixture).extra(more);
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(builder.dir(), open).unwrap();
    let daemon = builder.spawn().await;
    KmsClient::connect(daemon.socket()).wait_ok(LIMIT).await;
    let double = Double::new();
    let said = double.check(&daemon).await;
    said.ends_with(78).names(
        "the plugin closed the connection",
        "set socket.allow_uids = [0, 12345] and reload",
    );
    let section = "The plugin refuses kube-apiserver";
    let file = double.encryption_config().display().to_string();
    let names = [(file.as_str(), "/etc/kubernetes/encryption.yaml")];
    shows(section, " --running", &said, &fixture, &names);
}

/// What `check` says of the configuration of this daemon.
async fn of_daemon(daemon: &Daemon) -> Said {
    let config = daemon.config_path().display().to_string();
    let program = env!("CARGO_BIN_EXE_vault-kms-plugin");
    super::running::ended(daemon, program, &["check", "--config", &config]).await
}

tests! {
    single a_file_that_writes_plaintext_is_reported;
    single a_provider_without_a_version_is_reported;
    single an_endpoint_with_two_slashes_is_reported;
    single a_role_for_other_addresses_is_reported [Vault];
    single a_self_signed_certificate_is_reported [Vault];
    single an_expired_jwt_is_reported_before_the_login [Vault];
    single a_policy_that_grants_too_much_is_reported [Vault];
    single a_token_that_is_not_valid_any_more_is_reported [Vault];
    single a_minimum_above_what_was_written_is_reported [Vault];
    single a_user_whom_the_plugin_refuses_is_reported [Vault, Mounts, Root];
}

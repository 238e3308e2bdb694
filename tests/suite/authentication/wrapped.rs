//! AppRole with a response-wrapped secret_id on a real Vault: looked up first, unwrapped once, stored.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tonic::Code;
use vault_kms_plugin::actor;
use vault_kms_plugin::supervisor::Child;

use super::super::harness::daemon::{Builder, Daemon};
use super::super::harness::http;
use super::super::harness::kms::KmsClient;
use super::super::harness::proxy::{Fault, Proxy};
use super::super::harness::vault::{Fixture, Vault};
use super::super::harness::wait;
use super::super::supervision;
use super::super::{LIMIT, daemon_at};
use super::methods::{mounted, role, works};
use super::{SEED, refused};

const LOOKUP: &str = "/v1/sys/wrapping/lookup";
const UNWRAP: &str = "/v1/sys/wrapping/unwrap";
const REVOKE: &str = "/v1/auth/token/revoke-self";

/// A role of its own behind a proxy.
struct Case {
    vault: &'static Vault,
    fixture: Fixture,
    mount: String,
    role_id: String,
    proxy: Proxy,
}

impl Case {
    async fn new(more: Value) -> Self {
        let vault = Vault::shared().await;
        let fixture = vault.fixture().await;
        let mount = mounted(vault, "approle", &fixture).await;
        let role_id = role(vault, &mount, &fixture, more).await;
        let proxy = Proxy::start(vault.socket_address());
        Self {
            vault,
            fixture,
            mount,
            role_id,
            proxy,
        }
    }

    /// A wrapping token, as `vault write -wrap-ttl=10m -f auth/…/role/plugin/secret-id` returns.
    async fn wrapping_token(&self) -> String {
        let path = format!("auth/{}/role/plugin/secret-id", self.mount);
        wrapped(self.vault, &path).await
    }

    /// A daemon that is not started, and the file of its wrapping token.
    fn daemon(&self, wrapping_token: &str) -> (Builder, PathBuf) {
        let builder = daemon_at(&self.proxy.address(), &self.fixture);
        let file = builder.write_file("wrapping-token", &format!("{wrapping_token}\n"));
        let auth = format!(
            "[auth]\nmethod = \"approle\"\nmount = \"/{}/\"\nrole = \"plugin\"\nrole_id = \"{}\"\nwrapped_secret_id_file = \"{}\"",
            self.mount,
            self.role_id,
            file.display()
        );
        (builder.extra(&auth), file)
    }

    fn lookups(&self) -> usize {
        self.proxy.count(LOOKUP)
    }

    fn unwraps(&self) -> usize {
        self.proxy.count(UNWRAP)
    }

    fn logins(&self) -> usize {
        self.proxy.count(&format!("/v1/auth/{}/login", self.mount))
    }

    /// Whether Vault would still unwrap it.
    async fn is_unspent(&self, wrapping_token: &str) -> bool {
        let looked = Some(json!({ "token": wrapping_token }));
        let (status, _) = self
            .vault
            .request("POST", "sys/wrapping/lookup", looked)
            .await;
        status == 200
    }

    async fn spend(&self, wrapping_token: &str) {
        let body = Some(json!({ "token": wrapping_token }));
        self.vault.expect("POST", "sys/wrapping/unwrap", body).await;
    }
}

/// Wraps the response of this path. Returns the wrapping token.
pub(crate) async fn wrapped(vault: &Vault, path: &str) -> String {
    let url = format!("{}/v1/{path}", vault.address());
    let answer = http::client(None)
        .post(url)
        .header("x-vault-token", vault.root_token())
        .header("x-vault-wrap-ttl", "10m")
        .send()
        .await
        .unwrap();
    let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    answer["wrap_info"]["token"].as_str().unwrap().to_owned()
}

fn store_path(daemon: &Daemon) -> PathBuf {
    daemon.dir().join("kms.sock.secret-id.json")
}

fn stored(daemon: &Daemon) -> Value {
    serde_json::from_slice(&fs::read(store_path(daemon)).unwrap()).unwrap()
}

fn alarms(daemon: &Daemon) -> usize {
    let said = "wrapping token cannot be trusted";
    daemon.log().matches(said).count()
}

async fn a_wrapped_secret_id_is_unwrapped_once_and_stored_across_restarts() {
    let case = Case::new(json!({})).await;
    let token = case.wrapping_token().await;
    let (builder, file) = case.daemon(&token);
    let daemon = builder.extra("[log]\nlevel = \"trace\"").spawn().await;
    works(&daemon).await;
    let mode = fs::metadata(store_path(&daemon)).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);

    daemon.restart().await;
    works(&daemon).await;
    // A spent token may be removed.
    fs::remove_file(&file).unwrap();
    daemon.restart().await;
    works(&daemon).await;
    assert_eq!((case.lookups(), case.unwraps(), case.logins()), (1, 1, 3));

    let log = daemon.log();
    let secret_id = stored(&daemon)["current"]["secret_id"].clone();
    assert!(!log.contains(&token), "{log}");
    assert!(!log.contains(secret_id.as_str().unwrap()), "{log}");
    assert!(log.contains("unwrapped and stored a secret_id"), "{log}");
}

async fn an_unwrapped_secret_id_survives_a_crash_before_the_login() {
    let case = Case::new(json!({})).await;
    case.proxy
        .fault(&format!("{}/login", case.mount), Fault::Refuse);
    let (builder, _) = case.daemon(&case.wrapping_token().await);
    let daemon = builder.spawn().await;
    wait::until_true("a login to fail", LIMIT, async || case.logins() > 0).await;
    daemon.kill();
    case.proxy.clear();
    daemon.restart().await;
    works(&daemon).await;
    assert_eq!((case.lookups(), case.unwraps()), (1, 1));
}

async fn a_wrapping_token_for_something_else_is_rejected_and_not_spent() {
    let case = Case::new(json!({})).await;
    let other = format!("auth/{}/role/other", case.mount);
    case.vault.expect("POST", &other, Some(json!({}))).await;
    let foreign = wrapped(case.vault, &format!("{other}/secret-id")).await;
    let (builder, file) = case.daemon(&foreign);
    let daemon = builder.spawn().await;
    let wanted = format!("auth/{}/role/plugin/secret-id", case.mount);
    let texts = [&format!("{other}/secret-id"), wanted.as_str()];
    refused(&daemon, Code::PermissionDenied, &texts).await;
    assert_eq!((case.unwraps(), case.logins()), (0, 0));
    assert!(case.is_unspent(&foreign).await);
    fs::write(&file, case.wrapping_token().await).unwrap();
    works(&daemon).await;
}

async fn a_spent_wrapping_token_is_an_alarm_and_is_looked_up_once() {
    let case = Case::new(json!({})).await;
    let token = case.wrapping_token().await;
    case.spend(&token).await;
    let (builder, file) = case.daemon(&token);
    let daemon = builder.spawn().await;
    daemon
        .logged("Vault rejected the credentials: no further login until")
        .await;
    for _ in 0..3 {
        let texts = ["spent or expired", "role \"plugin\"", "audit log"];
        refused(&daemon, Code::PermissionDenied, &texts).await;
    }
    assert_eq!((case.lookups(), case.unwraps(), case.logins()), (1, 0, 0));
    assert_eq!(alarms(&daemon), 1);
    let lines = daemon.log_lines();
    let alarm = lines
        .iter()
        .find(|line| line.to_string().contains("cannot be trusted"));
    assert_eq!(alarm.unwrap()["level"], "ERROR");
    fs::write(&file, case.wrapping_token().await).unwrap();
    works(&daemon).await;
}

async fn a_newer_wrapping_token_is_used_during_the_session() {
    let case = Case::new(json!({})).await;
    let (builder, file) = case.daemon(&case.wrapping_token().await);
    let daemon = builder.spawn().await;
    works(&daemon).await;
    let first = stored(&daemon)["current"]["secret_id"].clone();
    fs::write(&file, case.wrapping_token().await).unwrap();
    daemon.logged("new secret_id works").await;
    wait::until_true("the previous one to be discarded", LIMIT, async || {
        let stored = stored(&daemon);
        stored["current"]["secret_id"] != first && stored["previous"].is_null()
    })
    .await;
    let destroy = format!("auth/{}/role/plugin/secret-id/destroy", case.mount);
    case.vault
        .expect("POST", &destroy, Some(json!({ "secret_id": first })))
        .await;
    daemon.restart().await;
    works(&daemon).await;
    assert_eq!(case.unwraps(), 2);
}

async fn a_spent_token_beside_a_stored_secret_id_is_one_alarm_and_stops_nothing() {
    let short = json!({ "token_ttl": "3s", "token_max_ttl": "3s" });
    let case = Case::new(short).await;
    let (builder, file) = case.daemon(&case.wrapping_token().await);
    let daemon = builder.spawn().await;
    works(&daemon).await;
    let spent = case.wrapping_token().await;
    case.spend(&spent).await;
    fs::write(&file, &spent).unwrap();
    daemon.logged("continuing with the stored secret_id").await;
    let before = case.logins();
    let client = KmsClient::connect(daemon.socket());
    wait::until_true("more logins", LIMIT, async || {
        client.encrypt(&SEED).await.unwrap();
        case.logins() >= before + 2
    })
    .await;
    assert_eq!((case.lookups(), case.unwraps()), (2, 1));
    assert_eq!(alarms(&daemon), 1);
}

async fn a_newer_secret_id_that_vault_rejects_leaves_the_previous_one() {
    let case = Case::new(json!({})).await;
    let (builder, file) = case.daemon(&case.wrapping_token().await);
    let daemon = builder.spawn().await;
    works(&daemon).await;
    let first = stored(&daemon)["current"]["secret_id"].clone();
    let path = format!("auth/{}/role/plugin/secret-id", case.mount);
    let all = async || {
        let answer = case.vault.expect("LIST", &path, None).await;
        answer["data"]["keys"].as_array().unwrap().clone()
    };
    let known = all().await;
    let token = case.wrapping_token().await;
    let mut new = all().await;
    new.retain(|accessor| !known.contains(accessor));
    let destroy = format!("auth/{}/role/plugin/secret-id-accessor/destroy", case.mount);
    case.vault
        .expect(
            "POST",
            &destroy,
            Some(json!({ "secret_id_accessor": new[0] })),
        )
        .await;
    fs::write(&file, token).unwrap();
    daemon.logged("new secret_id rejected").await;
    works(&daemon).await;
    daemon.restart().await;
    works(&daemon).await;
    assert_eq!(stored(&daemon)["current"]["secret_id"], first);
    assert_eq!(case.unwraps(), 2);
}

async fn every_request_of_a_login_uses_the_namespace_of_auth() {
    let case = Case::new(json!({})).await;
    let (builder, _) = case.daemon(&case.wrapping_token().await);
    // A server without namespaces ignores the header.
    let namespaces = "[vault]\nnamespace = \"/team/\"\n[auth]\nnamespace = \"team/logins\"";
    let daemon = builder.extra(namespaces).spawn().await;
    works(&daemon).await;
    assert_eq!(daemon.stop().await, 0);
    let mut paths = Vec::new();
    for seen in case.proxy.requests() {
        let namespace = seen.headers.get("x-vault-namespace");
        let of_login = ["/v1/auth/", "/v1/sys/wrapping/"];
        let expected = match seen.path.as_str() {
            path if path.starts_with("/v1/sys/health") => None,
            path if of_login.iter().any(|prefix| path.starts_with(prefix)) => Some("team/logins"),
            _ => Some("team"),
        };
        let namespace = namespace.map(|value| value.to_str().unwrap());
        assert_eq!(namespace, expected, "{}", seen.path);
        paths.push(seen.path);
    }
    for part in ["lookup", "unwrap", "/login", "revoke-self", "/encrypt/"] {
        assert!(paths.iter().any(|path| path.contains(part)), "no {part}");
    }
}

async fn nothing_is_unwrapped_that_cannot_be_stored() {
    let case = Case::new(json!({})).await;
    let token = case.wrapping_token().await;
    let (builder, _) = case.daemon(&token);
    let dir = builder.dir().join("state");
    let settings = format!("[state]\ndir = \"{}\"", dir.display());
    let daemon = builder.extra(&settings).spawn().await;
    let texts = ["state.dir", "nothing is unwrapped"];
    refused(&daemon, Code::PermissionDenied, &texts).await;
    assert!(case.is_unspent(&token).await);
    fs::create_dir(&dir).unwrap();
    works(&daemon).await;
    assert!(dir.join("kms.sock.secret-id.json").exists());
}

async fn a_lost_file_of_the_stored_secret_id_is_an_alarm_too() {
    let case = Case::new(json!({})).await;
    let (builder, file) = case.daemon(&case.wrapping_token().await);
    let daemon = builder.spawn().await;
    works(&daemon).await;
    assert_eq!(daemon.stop().await, 0);
    fs::write(store_path(&daemon), "{\"current\":{\"secret_id\":\"half").unwrap();
    daemon.restart().await;
    daemon.logged("stored secret_id cannot be used").await;
    daemon
        .logged("Vault rejected the credentials: no further login until")
        .await;
    assert_eq!((case.lookups(), case.unwraps()), (2, 1));
    fs::write(&file, case.wrapping_token().await).unwrap();
    works(&daemon).await;
}

async fn two_sessions_at_a_time_never_unwrap_the_same_token() {
    let case = Case::new(json!({})).await;
    let (builder, file) = case.daemon(&case.wrapping_token().await);
    let daemon = builder.spawn().await;
    works(&daemon).await;
    // While the session unwraps the next token, the candidate of a reload wants to.
    let second = Proxy::start(case.vault.socket_address());
    let slow = Fault::Delay(std::time::Duration::from_secs(1));
    case.proxy.fault("/sys/wrapping/unwrap", slow.clone());
    second.fault("/sys/wrapping/unwrap", slow);
    let next = case.wrapping_token().await;
    fs::write(&file, &next).unwrap();
    daemon.change_config(&format!("[vault]\naddress = {:?}", second.address()));
    daemon.signal(rustix::process::Signal::HUP);
    daemon.logged("configuration reloaded").await;
    wait::until_true("the next secret_id", LIMIT, async || {
        stored(&daemon)["current"]["wrapping_token"] == next.as_str()
    })
    .await;
    works(&daemon).await;
    assert_eq!(case.unwraps() + second.count(UNWRAP), 2);
    assert_eq!(alarms(&daemon), 0);
}

async fn a_stop_during_an_unwrap_loses_neither_the_secret_id_nor_a_token() {
    let case = Case::new(json!({})).await;
    let token = case.wrapping_token().await;
    case.proxy
        .fault(UNWRAP, Fault::Delay(Duration::from_millis(1500)));
    let (builder, _file) = case.daemon(&token);
    let daemon = builder.spawn().await;
    wait::until_true("an unwrap", LIMIT, async || case.unwraps() > 0).await;
    daemon.stop().await;
    assert_eq!(case.logins(), 1, "{}", daemon.log());
    assert_eq!(case.proxy.count(REVOKE), 1, "{}", daemon.log());

    case.proxy.clear();
    daemon.restart().await;
    KmsClient::connect(daemon.socket()).wait_ok(LIMIT).await;
    assert_eq!(case.unwraps(), 1, "{}", daemon.log());
}

/// The login goes on without its actor, and the next one finds the secret_id that it stored.
async fn a_session_that_fails_during_an_unwrap_loses_neither_the_secret_id_nor_a_token() {
    let case = Case::new(json!({})).await;
    let token = case.wrapping_token().await;
    case.proxy
        .fault(UNWRAP, Fault::Delay(Duration::from_millis(1500)));
    let (builder, _file) = case.daemon(&token);
    let daemon = supervision::start(&builder).await;
    wait::until_true("an unwrap", LIMIT, async || case.unwraps() > 0).await;
    daemon.inject(Child::Session, actor::Fault::Panic);
    KmsClient::connect(builder.socket()).wait_ok(LIMIT).await;
    assert_eq!(case.unwraps(), 1);
    wait::until_true("the first login's token to be revoked", LIMIT, async || {
        case.proxy.count(REVOKE) == 1
    })
    .await;
}

tests! {
    single a_stop_during_an_unwrap_loses_neither_the_secret_id_nor_a_token [Vault];
    single a_session_that_fails_during_an_unwrap_loses_neither_the_secret_id_nor_a_token [Vault];
    single two_sessions_at_a_time_never_unwrap_the_same_token [Vault];
    single a_wrapped_secret_id_is_unwrapped_once_and_stored_across_restarts [Vault];
    single an_unwrapped_secret_id_survives_a_crash_before_the_login [Vault];
    single a_wrapping_token_for_something_else_is_rejected_and_not_spent [Vault];
    single a_spent_wrapping_token_is_an_alarm_and_is_looked_up_once [Vault];
    single a_newer_wrapping_token_is_used_during_the_session [Vault];
    single a_spent_token_beside_a_stored_secret_id_is_one_alarm_and_stops_nothing [Vault];
    single a_newer_secret_id_that_vault_rejects_leaves_the_previous_one [Vault];
    single every_request_of_a_login_uses_the_namespace_of_auth [Vault, NoNamespaces];
    single nothing_is_unwrapped_that_cannot_be_stored [Vault];
    single a_lost_file_of_the_stored_secret_id_is_an_alarm_too [Vault];
}

//! The client against servers that answer what they are given: what it makes of each answer, and what it sends.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::*;
use crate::reason::Reason;
use crate::telemetry::metrics::Metrics;

/// A server with one answer: the status line with the headers, and the body.
#[derive(Clone)]
struct Answering {
    address: String,
    head: Arc<Mutex<String>>,
    body: Arc<Mutex<String>>,
    /// The requests, as they came.
    requests: Arc<Mutex<Vec<String>>>,
}

impl Answering {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let server = Self {
            address,
            head: Arc::default(),
            body: Arc::default(),
            requests: Arc::default(),
        };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().answer(stream));
            }
        });
        server
    }

    async fn answer(self, mut stream: TcpStream) {
        let mut request = Vec::new();
        let mut part = [0; 4096];
        loop {
            let length = stream.read(&mut part).await.unwrap_or_default();
            request.extend_from_slice(&part[..length]);
            let text = String::from_utf8_lossy(&request);
            let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
            let length_of_body = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let expected = length_of_body.map_or(0, |it| it.parse().expect("a length"));
            if length == 0 || (text.contains("\r\n\r\n") && body.len() >= expected) {
                break;
            }
        }
        let request = String::from_utf8_lossy(&request).into_owned();
        self.requests.lock().expect("a list").push(request);
        let (head, body) = {
            let head = self.head.lock().expect("a text").clone();
            (head, self.body.lock().expect("a text").clone())
        };
        let length = body.len();
        let text = format!(
            "HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        let _ = stream.write_all(text.as_bytes()).await;
    }

    /// Answers this from now on.
    fn says(&self, head: &str, body: impl ToString) {
        *self.head.lock().expect("a text") = head.to_owned();
        *self.body.lock().expect("a text") = body.to_string();
    }

    /// The last request: its first line, and the whole.
    fn last(&self) -> (String, String) {
        let requests = self.requests.lock().expect("a list");
        let last = requests.last().cloned().unwrap_or_default();
        (last.lines().next().unwrap_or_default().to_owned(), last)
    }

    fn count(&self) -> usize {
        self.requests.lock().expect("a list").len()
    }
}

fn client(servers: &[&Answering]) -> Client {
    let addresses = servers.iter().map(|it| Address::try_new(&it.address));
    client_at(addresses.map(|it| it.expect("an address")).collect())
}

/// A client of servers without TLS, in this order.
pub(in crate::vault) fn client_at(addresses: Vec<Address>) -> Client {
    let settings = Settings {
        addresses,
        ca_file: None,
        ca_dir: None,
        tls_server_name: None,
        client_certificate: None,
        proxies: Proxies::default(),
    };
    Client::new(&settings, Metrics::default()).expect("a client")
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn token() -> Token {
    Token::try_new("hvs.secret").expect("a token")
}

fn root() -> Namespace {
    Namespace::default()
}

fn key() -> TransitKey {
    TransitKey {
        namespace: Namespace::try_new("a/b").expect("a namespace"),
        mount: MountPath::try_new("transit").expect("a mount"),
        name: KeyName::try_new("kms").expect("a name"),
    }
}

fn ciphertext(text: &str) -> Ciphertext {
    Ciphertext::try_new(text.as_bytes().to_vec()).expect("a ciphertext")
}

#[tokio::test]
async fn a_login_is_complete_with_a_token_and_with_nothing_less() {
    let server = Answering::start().await;
    let client = client(&[&server]);
    let body = json!({ "password": "correct horse" });
    let login = || async {
        client
            .login(&root(), "auth/userpass/login/u", &body, soon())
            .await
    };
    server.says("200 OK", json!({
        "auth": { "client_token": "hvs.x", "lease_duration": 60, "renewable": true, "num_uses": 3 },
        "warnings": ["of correct horse"],
    }));
    let grant = login().await.expect("a grant");
    assert_eq!(grant.token.expose_secret(), "hvs.x");
    let lease = Lease {
        ttl: Some(Duration::from_secs(60)),
        renewable: true,
        num_uses: 3,
    };
    assert_eq!(grant.lease, lease);
    assert_eq!(grant.warnings, ["of [redacted]"]);
    let (line, request) = server.last();
    assert_eq!(line, "POST /v1/auth/userpass/login/u HTTP/1.1");
    assert!(
        request.ends_with(r#"{"password":"correct horse"}"#),
        "{request}"
    );
    server.says(
        "200 OK",
        json!({ "auth": { "client_token": "hvs.x", "lease_duration": 0 } }),
    );
    assert_eq!(login().await.expect("a grant").lease.ttl, None);
    for (answer, kind) in [
        (
            json!({ "auth": { "client_token": "", "lease_duration": 0, "mfa_requirement": {} } }),
            Some(ApiErrorKind::LoginIncomplete),
        ),
        (
            json!({ "auth": null, "wrap_info": { "token": "t" } }),
            Some(ApiErrorKind::LoginIncomplete),
        ),
        (
            json!({ "auth": { "client_token": "", "lease_duration": 0 } }),
            None,
        ),
        (
            json!({ "auth": { "client_token": "a b", "lease_duration": 0 } }),
            None,
        ),
        (json!({ "auth": null }), None),
        (json!({}), None),
    ] {
        server.says("200 OK", &answer);
        let error = login().await.expect_err("no token");
        assert_eq!(error.api_error(), kind, "{answer}: {error}");
    }
    // With a token, what is wrapped beside it does not matter.
    server.says(
        "200 OK",
        json!({ "auth": { "client_token": "hvs.x", "lease_duration": 1 }, "wrap_info": {} }),
    );
    assert!(login().await.is_ok());
}

#[tokio::test]
async fn what_vault_says_of_a_token_is_read() {
    let server = Answering::start().await;
    let client = client(&[&server]);
    let describe = |data: serde_json::Value| {
        server.says("200 OK", json!({ "data": data }));
        let (client, token) = (&client, token());
        async move {
            client
                .describe_self(&root(), &token, soon())
                .await
                .expect("a token")
        }
    };
    let info = describe(json!({
        "ttl": 40, "creation_ttl": 60, "renewable": true, "expire_time": "2026-01-01T00:00:00Z", "last_renewal": null,
        "policies": ["a"], "identity_policies": ["b"], "type": "service", "namespace_path": "a/b/", "orphan": false,
        "num_uses": 2,
    })).await;
    let second = Duration::from_secs(1);
    assert_eq!(
        info.lease,
        Lease {
            ttl: Some(40 * second),
            renewable: true,
            num_uses: 2
        }
    );
    assert_eq!(
        (info.policies, info.kind.as_str()),
        (vec!["a".to_owned(), "b".to_owned()], "service")
    );
    assert_eq!((info.is_periodic, info.has_parent), (false, true));
    assert_eq!(info.namespace.as_str(), "a/b");
    assert_eq!(info.age, Some(20 * second));
    let (line, request) = server.last();
    assert_eq!(line, "GET /v1/auth/token/lookup-self HTTP/1.1");
    assert!(request.contains("x-vault-token: hvs.secret"), "{request}");
    // Renewed: its age is not known.
    let renewed =
        describe(json!({ "ttl": 40, "creation_ttl": 60, "last_renewal": 1, "policies": null }))
            .await;
    assert_eq!((renewed.age, renewed.has_parent), (None, false));
    // It expires this second, or never.
    let ends = describe(json!({ "ttl": 0, "creation_ttl": 5, "expire_time": "2026-01-01T00:00:00Z", "last_renewal": null })).await;
    assert_eq!(
        (ends.lease.ttl, ends.is_periodic),
        (Some(Duration::ZERO), false)
    );
    let root_token = describe(json!({ "ttl": 0, "creation_ttl": 0, "expire_time": null, "last_renewal": null, "orphan": true })).await;
    assert_eq!(
        (root_token.lease.ttl, root_token.is_periodic, root_token.age),
        (None, true, None)
    );
    assert!(!root_token.has_parent);
    for (period, max, is_periodic) in [(0, 0, false), (1, 0, true), (1, 1, false), (0, 1, false)] {
        let info = describe(
            json!({ "ttl": 9, "period": period, "explicit_max_ttl": max, "last_renewal": null }),
        )
        .await;
        assert_eq!(info.is_periodic, is_periodic, "{period} {max}");
    }
    server.says(
        "200 OK",
        json!({ "data": { "ttl": 7, "last_renewal": null } }),
    );
    let lease = client
        .lookup_self(&root(), &token(), soon())
        .await
        .expect("a lease");
    assert_eq!(lease.ttl, Some(7 * second));
}

#[tokio::test]
async fn a_token_is_renewed_and_revoked_by_itself() {
    let server = Answering::start().await;
    let client = client(&[&server]);
    server.says("200 OK", json!({ "auth": { "client_token": "hvs.secret", "lease_duration": 30, "renewable": true } }));
    let renewed = client
        .renew_self(&root(), &token(), soon())
        .await
        .expect("renewed");
    assert_eq!(
        renewed.and_then(|lease| lease.ttl),
        Some(Duration::from_secs(30))
    );
    assert_eq!(server.last().0, "POST /v1/auth/token/renew-self HTTP/1.1");
    server.says("204 No Content", "");
    assert_eq!(client.renew_self(&root(), &token(), soon()).await, Ok(None));
    client
        .revoke_self(&root(), &token(), soon())
        .await
        .expect("revoked");
    assert_eq!(server.last().0, "POST /v1/auth/token/revoke-self HTTP/1.1");
    server.says("403 Forbidden", json!({ "errors": ["permission denied"] }));
    let error = client
        .revoke_self(&root(), &token(), soon())
        .await
        .expect_err("denied");
    assert_eq!(error.api_error(), Some(ApiErrorKind::TokenRefused));
    assert_eq!(error.reason(), Reason::TokenRejected);
}

#[tokio::test]
async fn a_wrapping_token_is_looked_up_without_being_spent_and_unwrapped_as_itself() {
    let server = Answering::start().await;
    let client = client(&[&server]);
    server.says(
        "200 OK",
        json!({ "data": { "creation_path": "auth/approle/role/r/secret-id" } }),
    );
    let path = client
        .wrapped_path(&root(), &token(), soon())
        .await
        .expect("a path");
    assert_eq!(path, "auth/approle/role/r/secret-id");
    let (line, request) = server.last();
    assert_eq!(line, "POST /v1/sys/wrapping/lookup HTTP/1.1");
    assert!(
        request.ends_with(r#"{"token":"hvs.secret"}"#) && !request.contains("x-vault-token"),
        "{request}"
    );
    server.says("200 OK", json!({ "data": { "secret_id": "s" } }));
    let secret_id = client
        .unwrap_secret_id(&root(), &token(), soon())
        .await
        .expect("a secret_id");
    assert_eq!(secret_id.as_str(), "s");
    let (line, request) = server.last();
    assert_eq!(line, "POST /v1/sys/wrapping/unwrap HTTP/1.1");
    assert!(request.contains("x-vault-token: hvs.secret"), "{request}");
    for (message, is_spent) in [
        ("wrapping token is not valid or does not exist", true),
        ("other", false),
    ] {
        server.says("400 Bad Request", json!({ "errors": [message] }));
        let error = client
            .unwrap_secret_id(&root(), &token(), soon())
            .await
            .expect_err("400");
        assert_eq!(error.is_spent_wrapping(), is_spent, "{error}");
    }
}

#[tokio::test]
async fn capabilities_are_those_of_the_paths_in_their_order() {
    let server = Answering::start().await;
    let client = client(&[&server]);
    server.says(
        "200 OK",
        json!({ "data": { "b": ["update", "read"], "a": ["deny"], "capabilities": ["x"] } }),
    );
    let paths = ["a", "b", "c"].map(str::to_owned);
    let found = client
        .capabilities(&root(), &token(), &paths, soon())
        .await
        .expect("capabilities");
    assert_eq!(
        found,
        [vec![], vec!["update".to_owned(), "read".to_owned()], vec![]]
    );
    assert!(server.last().1.ends_with(r#"{"paths":["a","b","c"]}"#));
}

#[tokio::test]
async fn one_item_and_several_are_encrypted_and_decrypted() {
    let server = Answering::start().await;
    let client = client(&[&server]);
    let plaintext = Plaintext::new(b"seed".to_vec());
    let item = || ToEncrypt {
        plaintext: &plaintext,
        version: None,
        associated_data: None,
    };
    server.says(
        "200 OK",
        json!({ "data": { "ciphertext": "vault:v3:AAAA", "key_version": 3 } }),
    );
    let made = client
        .encrypt(&key(), &[item()], &token(), soon())
        .await
        .expect("an answer");
    let made: Vec<_> = made
        .into_iter()
        .map(|it| it.expect("encrypted").ciphertext)
        .collect();
    assert_eq!(made, [ciphertext("vault:v3:AAAA")]);
    let (line, request) = server.last();
    assert_eq!(line, "POST /v1/transit/encrypt/kms HTTP/1.1");
    assert!(request.contains("x-vault-namespace: a/b"), "{request}");
    server.says("200 OK", json!({ "data": { "batch_results": [
        { "ciphertext": "vault:v3:AAAA", "reference": "0" }, { "error": "encryption key not found", "reference": "1" },
    ] } }));
    let made = client
        .encrypt(&key(), &[item(), item()], &token(), soon())
        .await
        .expect("an answer");
    assert_eq!(
        made.iter().map(Result::is_ok).collect::<Vec<_>>(),
        [true, false]
    );
    let one = ciphertext("vault:v3:AAAA");
    server.says("200 OK", json!({ "data": { "plaintext": "c2VlZA==" } }));
    let opened = client
        .decrypt(&key(), &[ToDecrypt::from(&one)], &token(), soon())
        .await
        .expect("an answer");
    assert_eq!(opened.len(), 1);
    let opened = opened[0].as_ref().expect("decrypted");
    assert_eq!(opened.expose_secret(), b"seed");
}

#[tokio::test]
async fn a_redirect_is_followed_once_to_an_address_that_is_configured() {
    let (standby, leader, stranger) = (
        Answering::start().await,
        Answering::start().await,
        Answering::start().await,
    );
    let lookup = |servers: &[&Answering]| {
        let client = client(servers);
        async move {
            let first = client.lookup_self(&root(), &token(), soon()).await;
            (first, client.lookup_self(&root(), &token(), soon()).await)
        }
    };
    let redirect =
        |status: &str, to: &str| format!("{status} X\r\nlocation: {to}/v1/auth/token/lookup-self");
    let answer = json!({ "data": { "ttl": 7, "last_renewal": null } });
    leader.says("200 OK", answer);
    standby.says(&redirect("307", &leader.address), "");
    let (first, second) = lookup(&[&standby, &leader]).await;
    for lease in [first, second] {
        let lease = lease.expect("the leader answers");
        assert_eq!(lease.ttl, Some(Duration::from_secs(7)));
    }
    // Once it was found, the leader is preferred.
    assert_eq!((standby.count(), leader.count()), (1, 2));
    for (head, text) in [
        (
            redirect("307", &stranger.address),
            "which vault.address does not list",
        ),
        (
            redirect("302", &standby.address),
            "only a 307 of Vault's own is followed",
        ),
        ("307 X".to_owned(), "redirect without a usable Location"),
    ] {
        standby.says(&head, "");
        let error = lookup(&[&standby]).await.0.expect_err("not followed");
        assert!(error.to_string().contains(text), "{head}: {error}");
    }
    standby.says(&redirect("307", &leader.address), "");
    leader.says(&redirect("307", &standby.address), "");
    let error = lookup(&[&standby, &leader])
        .await
        .0
        .expect_err("not followed twice");
    assert!(
        error.to_string().contains("it was redirected to from"),
        "{error}"
    );
    assert_eq!(stranger.count(), 0, "the token is sent to nobody else");
}

#[tokio::test]
async fn the_health_of_a_server_follows_from_what_it_reports() {
    let server = Answering::start().await;
    let client = client(&[&server]);
    for (data, health) in [
        (
            json!({ "initialized": true, "sealed": false }),
            Health::Ready,
        ),
        (
            json!({ "initialized": true, "sealed": false, "standby": true }),
            Health::Standby,
        ),
        (
            json!({ "initialized": true, "sealed": true }),
            Health::Sealed,
        ),
        (
            json!({ "initialized": false, "sealed": false }),
            Health::Sealed,
        ),
        (
            json!({ "initialized": true, "sealed": false, "replication_dr_mode": "secondary" }),
            Health::Secondary,
        ),
    ] {
        server.says("200 OK", &data);
        let found = client.server(soon()).await.expect("an answer");
        assert_eq!(found.health, health, "{data}");
    }
    assert!(
        server
            .last()
            .0
            .starts_with("GET /v1/sys/health?standbycode=200"),
        "{:?}",
        server.last()
    );
}

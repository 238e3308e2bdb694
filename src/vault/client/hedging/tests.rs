//! Every combination of three endpoints that serve, fail or are silent, as servers on loopback.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::reason::Reason;
use crate::vault::tests::client_at;
use crate::vault::{Address, CallError, Client, KeyName, MountPath, Namespace, Token, TransitKey};

/// Worlds at a time: more of them would make a loaded machine look like silent endpoints.
const AT_A_TIME: usize = 32;
/// The longest silence of a test: three endpoints have their turn within it.
const DEADLINE: Duration = Duration::from_secs(8);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Serves,
    Denies,
    Sealed,
    IsNoVault,
    Breaks,
    IsClosed,
    Hangs,
}

const ALL: [Endpoint; 7] = [
    Endpoint::Serves,
    Endpoint::Denies,
    Endpoint::Sealed,
    Endpoint::IsNoVault,
    Endpoint::Breaks,
    Endpoint::IsClosed,
    Endpoint::Hangs,
];

impl Endpoint {
    /// Starts it. Returns its address, and how many requests it gets.
    async fn start(self) -> (Address, Arc<AtomicUsize>) {
        let requests = Arc::new(AtomicUsize::new(0));
        let mut address = "http://127.0.0.1:9".to_owned();
        if self != Self::IsClosed {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            address = format!("http://{}", listener.local_addr().expect("an address"));
            let requests = requests.clone();
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    requests.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(self.answer(stream));
                }
            });
        }
        (Address::try_new(&address).expect("an address"), requests)
    }

    async fn answer(self, mut stream: TcpStream) {
        let mut request = [0; 4096];
        let length = stream.read(&mut request).await.unwrap_or_default();
        let is_health = request[..length].starts_with(b"GET /v1/sys/health");
        let (status, body) = match self {
            Self::Serves if is_health => (200, r#"{"initialized":true,"sealed":false}"#),
            Self::Sealed if is_health => (200, r#"{"initialized":true,"sealed":true}"#),
            Self::Serves => (
                200,
                r#"{"data":{"latest_version":1,"keys":{"1":1700000000},"type":"aes256-gcm96"}}"#,
            ),
            Self::Denies => (
                403,
                r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#,
            ),
            Self::Sealed => (503, r#"{"errors":["Vault is sealed"]}"#),
            Self::IsNoVault => (502, "<html>bad gateway</html>"),
            Self::Breaks | Self::IsClosed => return,
            Self::Hangs => std::future::pending().await,
        };
        let length = body.len();
        let text = format!(
            "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        let _ = stream.write_all(text.as_bytes()).await;
    }
}

async fn read_key(client: &Client) -> Result<(), CallError> {
    let key = TransitKey {
        namespace: Namespace::default(),
        mount: MountPath::try_new("transit").expect("a mount"),
        name: KeyName::try_new("kms").expect("a name"),
    };
    let token = Token::try_new("hvs.x").expect("a token");
    let read = client.read_key(&key, &token, Instant::now() + DEADLINE);
    read.await.map(drop)
}

/// A client of these endpoints, and how many requests each gets.
async fn client_of(world: [Endpoint; 3]) -> (Client, Vec<Arc<AtomicUsize>>) {
    let (mut addresses, mut requests) = (Vec::new(), Vec::new());
    for endpoint in world {
        let (address, count) = endpoint.start().await;
        addresses.push(address);
        requests.push(count);
    }
    (client_at(addresses), requests)
}

async fn reaches_the_one_that_can_serve(world: [Endpoint; 3]) {
    let (client, requests) = client_of(world).await;
    let counts = || requests.iter().map(|count| count.load(Ordering::Relaxed));
    let first = read_key(&client).await;
    let attempts: Vec<_> = counts().collect();
    assert!(
        attempts.iter().all(|&count| count <= 1),
        "{world:?}: {attempts:?}"
    );
    if !world.contains(&Endpoint::Serves) {
        let error = first.expect_err("nobody serves");
        // What Vault said of the key is the answer, whatever the others are.
        if world.contains(&Endpoint::Denies) {
            assert!(error.to_string().contains("HTTP 403"), "{world:?}: {error}");
        }
        return;
    }
    assert!(first.is_ok(), "{world:?}: {first:?}");
    // From then on that one is asked alone.
    let second = read_key(&client).await;
    assert!(second.is_ok(), "{world:?}: {second:?}");
    for ((endpoint, before), now) in world.iter().zip(attempts).zip(counts()) {
        if *endpoint != Endpoint::Serves {
            assert_eq!(before, now, "{endpoint:?} of {world:?}");
        }
    }
}

/// Within the time of a health check.
async fn finds_the_one_that_is_ready(world: [Endpoint; 3]) {
    let (client, _) = client_of(world).await;
    let deadline = Instant::now() + Duration::from_secs(2);
    let found = client.find_ready(deadline).await;
    let preferred = world[client.selection().preferred()];
    // Where something denies the health paths, a request must show it.
    let is_unknown = |it: &Endpoint| matches!(it, Endpoint::Denies | Endpoint::IsNoVault);
    if world.contains(&Endpoint::Serves) {
        assert!(found.is_ok(), "{world:?}: {found:?}");
        assert_eq!(preferred, Endpoint::Serves, "{world:?}");
    } else if world.iter().any(is_unknown) {
        assert!(found.is_ok(), "{world:?}: {found:?}");
        assert!(is_unknown(&preferred), "{world:?}: {preferred:?}");
    } else {
        let found = found.expect_err("none is ready");
        let text = found.diagnosis.to_string();
        if world.contains(&Endpoint::Sealed) {
            assert!(text.contains("Vault is sealed"), "{world:?}: {text}");
        }
        let is_sealed = world.iter().all(|it| *it == Endpoint::Sealed);
        assert_eq!(
            found.reason == Reason::VaultSealed,
            is_sealed,
            "{world:?}: {text}"
        );
    }
}

/// An ordinary user has 1,024 open files unless it asks for more.
fn allow_many_sockets() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).expect("the hard limit is allowed");
}

/// Every combination of three.
fn worlds() -> Vec<[Endpoint; 3]> {
    let mut worlds = Vec::new();
    for a in ALL {
        for b in ALL {
            for c in ALL {
                worlds.push([a, b, c]);
            }
        }
    }
    worlds
}

#[tokio::test]
async fn a_call_reaches_an_endpoint_that_can_serve_whatever_the_others_do() {
    allow_many_sockets();
    let worlds = stream::iter(worlds());
    let done = worlds.for_each_concurrent(AT_A_TIME, reaches_the_one_that_can_serve);
    done.await;
}

#[tokio::test]
async fn a_health_check_finds_an_endpoint_that_is_ready_whatever_the_others_do() {
    allow_many_sockets();
    let worlds = stream::iter(worlds());
    let done = worlds.for_each_concurrent(AT_A_TIME, finds_the_one_that_is_ready);
    done.await;
}

/// A server that answers the health paths like this and all others with `body`; without an answer for the
/// health paths it never answers.
async fn server(health: Option<(u16, &'static str)>, body: &'static str) -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let length = stream.read(&mut request).await.unwrap_or_default();
                let is_health = request[..length].starts_with(b"GET /v1/sys/");
                let (status, body) = match health {
                    Some(health) if is_health => health,
                    Some(_) => (200, body),
                    None => std::future::pending().await,
                };
                let length = body.len();
                let text = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
                let _ = stream.write_all(text.as_bytes()).await;
            });
        }
    });
    Address::try_new(&address).expect("an address")
}

#[tokio::test]
async fn a_login_is_sent_where_health_is_denied_and_another_hangs() {
    let login = r#"{"auth":{"client_token":"hvs.x","lease_duration":3600,"renewable":true}}"#;
    let a = server(Some((403, r#"{"errors":["forbidden by proxy"]}"#)), login).await;
    let b = server(None, "").await;
    let client = client_at(vec![a, b]);
    for _ in 0..3 {
        let soon = Instant::now() + Duration::from_secs(2);
        client.find_ready(soon).await.expect("one may be ready");
        let deadline = Instant::now() + Duration::from_secs(10);
        let (namespace, body) = (Namespace::default(), serde_json::json!({}));
        let granted = client.login(&namespace, "auth/approle/login", &body, deadline);
        granted.await.expect("a login");
    }
}

/// The second one is asked when the first one takes long, which then answers first.
#[tokio::test]
async fn an_endpoint_that_was_asked_a_moment_ago_is_not_taken_for_silent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let slow = Address::try_new(&format!("http://{}", listener.local_addr().expect("x")));
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        tokio::time::sleep(Duration::from_millis(550)).await;
        let body = r#"{"initialized":true,"sealed":false,"standby":false}"#;
        let length = body.len();
        let text = format!("HTTP/1.1 200 X\r\ncontent-length: {length}\r\n\r\n{body}");
        let _ = stream.write_all(text.as_bytes()).await;
        std::future::pending::<()>().await;
    });
    let client = client_at(vec![slow.expect("a"), server(None, "").await]);
    let deadline = Instant::now() + DEADLINE;
    client
        .find_ready(deadline)
        .await
        .expect("the first is ready");
    assert_eq!(client.selection().preferred(), 0);
    assert!(client.selection().is_healthy(1));
}

/// Serves the first request of each connection; then that connection is silent. The second endpoint hangs.
#[tokio::test]
async fn a_lost_connection_is_replaced_although_the_other_endpoint_hangs() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let a = Address::try_new(&format!("http://{}", listener.local_addr().expect("x"))).expect("a");
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = accepted.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let body = r#"{"data":{"latest_version":1,"keys":{"1":1700000000},"type":"aes256-gcm96"}}"#;
                let length = body.len();
                let text = format!("HTTP/1.1 200 X\r\ncontent-length: {length}\r\n\r\n{body}");
                let _ = stream.write_all(text.as_bytes()).await;
                std::future::pending::<()>().await;
            });
        }
    });
    let b = server(None, "").await;
    let client = client_at(vec![a, b]);
    read_key(&client).await.expect("the first");
    let second = read_key(&client).await;
    assert!(second.is_ok(), "{second:?}");
    assert_eq!(accepted.load(Ordering::Relaxed), 2);
}

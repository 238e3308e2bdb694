//! The Kubernetes method: Vault sends its TokenReviews to the kube-apiserver of the tests.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;
use tonic::Code;

use super::SEED;
use crate::harness::daemon::Builder;
use crate::harness::kms::KmsClient;
use crate::harness::kubernetes::{Etcd, KubeApiserver};
use crate::harness::proxy::Proxy;
use crate::harness::vault::{Fixture, Vault};
use crate::harness::wait;
use crate::{LIMIT, daemon_at};

const ACCOUNT: &str = "vault-kms-plugin";
const NAMESPACE: &str = "kube-system";

/// A cluster, and a role `plugin` in Vault for a service account of it.
struct Cluster {
    kubernetes: KubeApiserver,
    fixture: Fixture,
    mount: String,
    /// The service account's token.
    jwt: String,
    _etcd: Etcd,
}

impl Cluster {
    /// Vault's tokens expire after 3 s and can be renewed up to 6 s.
    async fn start(vault: &Vault) -> Self {
        let etcd = Etcd::start().await;
        let kubernetes = KubeApiserver::start(&etcd, None, None).await;
        for account in [ACCOUNT, "reviewer"] {
            kubernetes.create_service_account(NAMESPACE, account).await;
        }
        kubernetes.bind_token_reviewer(NAMESPACE, "reviewer").await;
        let reviewer = kubernetes.token_request(NAMESPACE, "reviewer", &[]).await;
        let jwt = kubernetes.token_request(NAMESPACE, ACCOUNT, &[]).await;
        let fixture = vault.fixture().await;
        let mount = format!("kubernetes-{}", fixture.mount);
        vault.enable_auth("kubernetes", &mount).await;
        let reach = json!({
            "kubernetes_host": kubernetes.address(),
            "kubernetes_ca_cert": kubernetes.ca_pem(),
            "token_reviewer_jwt": reviewer,
        });
        let role = json!({
            "bound_service_account_names": [ACCOUNT],
            "bound_service_account_namespaces": [NAMESPACE],
            "token_policies": [fixture.policy],
            "token_ttl": "3s",
            "token_max_ttl": "6s",
        });
        for (path, body) in [("config", reach), ("role/plugin", role)] {
            let path = format!("auth/{mount}/{path}");
            vault.expect("POST", &path, Some(body)).await;
        }
        Self {
            kubernetes,
            fixture,
            mount,
            jwt,
            _etcd: etcd,
        }
    }

    /// A daemon that logs in with what its file holds: `jwt`, for now.
    fn daemon(&self, address: &str, jwt: &str) -> (Builder, PathBuf) {
        let builder = daemon_at(address, &self.fixture);
        let file = builder.write_file("jwt", jwt);
        let auth = format!(
            "[auth]\nmethod = \"kubernetes\"\nmount = \"{}\"\nrole = \"plugin\"\njwt_file = \"{}\"",
            self.mount,
            file.display()
        );
        (builder.extra(&auth), file)
    }
}

async fn the_kubernetes_method_logs_in_through_a_real_token_review() {
    let vault = Vault::shared().await;
    let cluster = Cluster::start(vault).await;
    let (builder, file) = cluster.daemon(&vault.address(), "not-a-token-yet\n");
    let daemon = builder.spawn().await;
    let client = KmsClient::connect(daemon.socket());
    let error = client.encrypt(&SEED).await.unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied, "{error}");
    assert!(error.message().contains("role \"plugin\""), "{error}");

    // The file is read at every login: no notification is needed.
    std::fs::write(&file, &cluster.jwt).unwrap();
    client.wait_ok(LIMIT).await;
    // Max TTL is 6 s: the token is renewed and then replaced by new logins, and no call fails.
    wait::until("three logins", LIMIT, async || {
        client.encrypt(&SEED).await.unwrap();
        (daemon.log().matches("logged in to Vault").count() >= 3).then_some(())
    })
    .await;
    let log = daemon.log();
    assert!(
        !log.contains(&cluster.jwt)
            && !log.contains("Vault rejected the token as invalid or expired"),
        "{log}"
    );
}

/// Stops kube-apiserver, which reviews each login, for so long that the session expires.
async fn back_after(away: Duration) {
    let vault = Vault::shared().await;
    let cluster = Cluster::start(vault).await;
    let proxy = Proxy::start(vault.socket_address());
    let daemon = cluster
        .daemon(&proxy.address(), &cluster.jwt)
        .0
        .spawn()
        .await;
    let client = KmsClient::connect(daemon.socket());
    client.wait_ok(LIMIT).await;
    cluster.kubernetes.kill();
    wait::until_true("the session's end", LIMIT, async || {
        let refused = client.encrypt(&SEED).await.err();
        refused.is_some_and(|error| error.code() == Code::PermissionDenied)
    })
    .await;
    proxy.reset_counts();
    tokio::time::sleep(away).await;
    let logins = proxy.count(&format!("/v1/auth/{}/login", cluster.mount));
    cluster.kubernetes.restart().await;
    let back = Instant::now();
    wait::until("calls to work", LIMIT, async || {
        client.encrypt(&SEED).await.ok()
    })
    .await;
    let took = back.elapsed();
    eprintln!("kube-apiserver away for {away:?}: {logins} logins tried, back {took:?} after it");
    // The promise is ten seconds; a loaded machine gets more.
    assert!(took < Duration::from_secs(15), "{took:?}");
    // The wait is below 10 s and on average 5 s.
    let seconds = usize::try_from(away.as_secs()).unwrap();
    let fewest = (seconds / 20).max(1);
    assert!((fewest..=seconds).contains(&logins), "{logins}");
}

async fn an_unavailable_kube_apiserver_does_not_suspend_logins() {
    back_after(Duration::from_secs(12)).await;
}

async fn soak_a_kube_apiserver_unavailable_for_a_minute_does_not_suspend_logins() {
    back_after(Duration::from_secs(60)).await;
}

tests! {
    single the_kubernetes_method_logs_in_through_a_real_token_review [Vault, Kubernetes];
    single an_unavailable_kube_apiserver_does_not_suspend_logins [Vault, Kubernetes];
    single soak_a_kube_apiserver_unavailable_for_a_minute_does_not_suspend_logins soak "soak: 90 s, kube-apiserver is away for a minute";
}

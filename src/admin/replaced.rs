//! The HTTP endpoints of the plugin in whose place this one runs, at that one's addresses. A port that is in
//! use is tried again without limit.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::{StatusCode, Uri};
use axum::routing::{any, get};
use tokio::net::TcpListener;

use super::arguments::Arguments;
use super::bind_retry::BindRetry;
use super::readiness::Readiness;
use super::scrape;
use super::server::{Pages, answer, is_of_this_host};
use crate::replaced_plugin::{DropIn, ReplacedPlugin};
use crate::telemetry::events;

/// Why a plugin that runs is not healthy.
const NOT_SERVED: &str = "the KMS socket is not served";

/// An address, and what is served there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    plugin: ReplacedPlugin,
    address: SocketAddr,
    /// The key of the configuration.
    key: &'static str,
    health: bool,
    metrics: bool,
}

/// Where to serve: one place if both addresses are the same.
pub(super) fn places(drop_in: Option<DropIn>) -> Vec<Place> {
    let Some(drop_in) = drop_in else {
        return Vec::new();
    };
    let DropIn {
        plugin,
        health_listen,
        metrics_listen,
    } = drop_in;
    let is_shared = health_listen == metrics_listen;
    let health = health_listen.map(|address| Place {
        plugin,
        address,
        key: "drop_in.health_listen",
        health: true,
        metrics: is_shared,
    });
    let metrics = metrics_listen.filter(|_| !is_shared).map(|address| Place {
        plugin,
        address,
        key: "drop_in.metrics_listen",
        health: false,
        metrics: true,
    });
    health.into_iter().chain(metrics).collect()
}

/// Serves as soon as the port is free, and as long as the task lives.
pub(super) async fn serve(place: Place, args: Arguments) {
    let mut retry = BindRetry::default();
    loop {
        match TcpListener::bind(place.address).await {
            Ok(listener) => {
                events::ReplacedListening {
                    plugin: place.plugin.as_str(),
                    address: place.address.to_string(),
                }
                .emit();
                answer(listener, pages(place, &args), is_of_this_host).await;
            }
            Err(error) => {
                let Place { key, address, .. } = place;
                retry
                    .failed(format!("{key}: cannot bind {address}: {error}"))
                    .await;
            }
        }
    }
}

/// Other hosts see what the replaced plugin showed them, and no more.
fn pages(place: Place, args: &Arguments) -> Pages {
    let mut health = Router::new();
    if place.health {
        health = health_of(place.plugin);
    }
    let (mut for_all, mut for_this_host) = (health.clone(), health);
    if place.metrics {
        for_all = for_all.route("/metrics", get(scrape::of_replaced));
        for_this_host = for_this_host.route("/metrics", get(scrape::all));
    }
    Pages {
        for_all: for_all.with_state(args.clone()),
        for_this_host: for_this_host.with_state(args.clone()),
    }
}

fn health_of(plugin: ReplacedPlugin) -> Router<Arguments> {
    match plugin {
        ReplacedPlugin::VaultKubernetesKms => Router::new()
            .route("/health", any(health))
            .route("/live", any(live)),
        ReplacedPlugin::VaultKmsProvider => Router::new().fallback(ready_or_health),
        ReplacedPlugin::VaultKubeKms => Router::new()
            .route("/healthz", any(async || "ok"))
            .route("/readyz", any(readyz)),
        ReplacedPlugin::Kleidi => Router::new(),
    }
}

/// The liveness probe of vault-kubernetes-kms: whether the KMS socket is served. Vault does not count: a restart would
/// not bring it back, and after some of them kubelet waits minutes before the next.
async fn health(Shared(args): Shared<Arguments>) -> (StatusCode, &'static str) {
    if args.grpc.borrow().is_some() {
        (StatusCode::OK, "OK")
    } else {
        (StatusCode::INTERNAL_SERVER_ERROR, NOT_SERVED)
    }
}

/// Its readiness probe.
async fn live(Shared(args): Shared<Arguments>) -> (StatusCode, String) {
    match Readiness::of(&args).reason() {
        None => (StatusCode::OK, "OK".to_owned()),
        Some(reason) => (StatusCode::INTERNAL_SERVER_ERROR, reason.to_owned()),
    }
}

/// vault-kms-provider: by what the path contains.
async fn ready_or_health(Shared(args): Shared<Arguments>, uri: Uri) -> (StatusCode, &'static str) {
    if uri.path().contains("ready") {
        if Readiness::of(&args).is_ready() {
            (StatusCode::OK, "OK")
        } else {
            (StatusCode::INTERNAL_SERVER_ERROR, "Not ready")
        }
    } else if uri.path().contains("health") {
        (StatusCode::OK, "OK")
    } else {
        (StatusCode::NOT_FOUND, "Not found")
    }
}

/// vault-kube-kms: whether the KMS socket is served.
async fn readyz(Shared(args): Shared<Arguments>) -> (StatusCode, &'static str) {
    if args.grpc.borrow().is_some() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::INTERNAL_SERVER_ERROR, NOT_SERVED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_for_both_is_one_place() {
        let address = |port: u16| Some(SocketAddr::from(([127, 0, 0, 1], port)));
        let places_of = |health_listen, metrics_listen| {
            places(Some(DropIn {
                plugin: ReplacedPlugin::VaultKubernetesKms,
                health_listen,
                metrics_listen,
            }))
        };
        let served = |places: Vec<Place>| -> Vec<_> {
            let served = places.iter();
            served
                .map(|it| (it.address.port(), it.health, it.metrics))
                .collect()
        };
        assert_eq!(served(places_of(address(1), address(1))), [(1, true, true)]);
        let both = places_of(address(1), address(2));
        assert_eq!(served(both), [(1, true, false), (2, false, true)]);
        assert_eq!(served(places_of(None, address(2))), [(2, false, true)]);
        assert_eq!(served(places_of(address(1), None)), [(1, true, false)]);
        assert_eq!(places_of(None, None), []);
        assert_eq!(places(None), []);
    }
}

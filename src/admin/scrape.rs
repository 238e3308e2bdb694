//! `/metrics`: the counters, the gauges of the moment, and the metrics of the plugin in whose place this one
//! runs.

use std::time::Duration;

use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use prometheus_client::registry::Registry;

use super::arguments::Arguments;
use super::gauges;
use crate::session::Session;
use crate::telemetry::metrics::{AtScrape, Exposition};

/// The plugin's own metrics, and those of the replaced one, in the format that the scraper accepts.
pub(super) async fn all(Shared(args): Shared<Arguments>, headers: HeaderMap) -> Response {
    let mut registry = args.metrics.registry();
    gauges::register(&mut registry, &args);
    register_replaced(&mut registry, &args);
    write(&registry, &headers)
}

/// Those of the replaced plugin alone.
pub(super) async fn of_replaced(Shared(args): Shared<Arguments>, headers: HeaderMap) -> Response {
    let mut registry = Registry::default();
    register_replaced(&mut registry, &args);
    write(&registry, &headers)
}

fn register_replaced(registry: &mut Registry, args: &Arguments) {
    let view = args.sessions.borrow();
    let end = view.current.as_deref().and_then(Session::end);
    let left = end.map(|end| Duration::try_from(end.duration_since(Timestamp::now())));
    // One that has ended is as good as none.
    let token_left = left.and_then(Result::ok).unwrap_or_default();
    args.metrics
        .register_replaced(registry, AtScrape { token_left });
}

fn write(registry: &Registry, headers: &HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|it| it.to_str().ok());
    let exposition = if accept.is_some_and(|it| it.contains("application/openmetrics-text")) {
        Exposition::OpenMetrics
    } else {
        Exposition::Prometheus
    };
    match exposition.write(registry) {
        Ok(text) => {
            let kind = [(header::CONTENT_TYPE, exposition.content_type())];
            (StatusCode::OK, kind, text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

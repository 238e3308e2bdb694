//! The export of spans to the collector that OpenTelemetry's own variables name. They wait in a
//! bounded queue that a thread of its own empties; a collector that hangs blocks only that thread.

use std::env;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry::{Key, KeyValue};
use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use reqwest::Url;
use rustls::crypto::aws_lc_rs;
use thiserror::Error;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use crate::telemetry::events;

/// Spans are exported if one of them is set; the first one counts.
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];
/// What the SDK calls a service that the environment gives no name.
const NAMELESS: &str = "unknown_service";
/// How long spans that are not exported yet may delay the end of the process.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// The export. When dropped, what is queued is sent, within a limit.
#[derive(Debug)]
pub(in crate::telemetry) struct Export(Result<Option<Collector>, StartError>);

/// The connection to the collector.
#[derive(Debug)]
struct Collector {
    provider: SdkTracerProvider,
    /// Where the spans go, without user, password or query.
    endpoint: String,
}

/// Why spans are not exported though an endpoint is set.
#[derive(Debug, Error)]
enum StartError {
    /// Without its text, which can hold a password.
    #[error("{0}: it has to be an http:// or https:// URL")]
    Endpoint(&'static str),
    #[error(transparent)]
    Exporter(#[from] ExporterBuildError),
}

/// Logs when exports begin to fail, and when they succeed again: a line for each batch would bury
/// all others.
#[derive(Debug)]
struct ReportingExporter<E> {
    exporter: E,
    is_failing: AtomicBool,
}

impl Export {
    /// Prepares the export if an endpoint is set. Must not be called inside a runtime: the exporter's
    /// client has one of its own.
    pub(in crate::telemetry) fn prepare() -> Self {
        let collector = endpoint().map(|(variable, endpoint)| Collector::at(variable, &endpoint));
        Self(collector.transpose())
    }

    /// Whether spans are exported.
    pub(in crate::telemetry) fn is_active(&self) -> bool {
        matches!(self.0, Ok(Some(_)))
    }

    /// What turns tracing's spans of this target into OpenTelemetry's.
    pub(in crate::telemetry) fn layer<S>(
        &self,
        target: &str,
    ) -> Option<impl Layer<S> + Send + Sync + 'static>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let collector = self.0.as_ref().ok()?.as_ref()?;
        let layer = tracing_opentelemetry::layer()
            .with_tracer(collector.provider.tracer(env!("CARGO_PKG_NAME")))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_level(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false);
        // Only spans: events would become part of the span that they happen in.
        Some(layer.with_filter(Targets::new().with_target(target, LevelFilter::INFO)))
    }

    /// Logs where the spans go, or why they are not exported.
    pub(in crate::telemetry) fn announce(&self) {
        match &self.0 {
            Ok(None) => {}
            Ok(Some(Collector { endpoint, .. })) => {
                let endpoint = endpoint.clone();
                events::SpansExported { endpoint }.emit();
            }
            Err(error) => {
                let error = error.to_string();
                events::SpansNotExported { error }.emit();
            }
        }
    }
}

impl Collector {
    /// The libraries read everything else from the environment: headers, timeout, sampler, queue.
    fn at(variable: &'static str, endpoint: &str) -> Result<Self, StartError> {
        let url = Url::parse(endpoint).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = url.ok_or(StartError::Endpoint(variable))?;
        // The exporter's client takes the process's provider; a second call changes nothing.
        let _ = aws_lc_rs::default_provider().install_default();
        let exporter = opentelemetry_otlp::SpanExporter::builder();
        let exporter = ReportingExporter {
            exporter: exporter.with_http().build()?,
            is_failing: AtomicBool::new(false),
        };
        let provider = SdkTracerProvider::builder()
            .with_resource(resource())
            .with_batch_exporter(exporter)
            .build();
        Ok(Self {
            provider,
            endpoint: url.origin().ascii_serialization(),
        })
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let provider = self.provider.clone();
        let (done, is_done) = mpsc::channel();
        // The SDK would log the end of its own limit as an error, though nobody has to act. The
        // thread may outlive this; the process ends.
        thread::spawn(move || done.send(provider.shutdown_with_timeout(Duration::MAX)));
        if !matches!(is_done.recv_timeout(FLUSH_LIMIT), Ok(Ok(()))) {
            events::SpansLost {}.emit();
        }
    }
}

/// The endpoint and the variable that sets it. Two other variables of OpenTelemetry can disable it.
fn endpoint() -> Option<(&'static str, String)> {
    let is_set_to = |name: &str, word: &str| {
        env::var(name).is_ok_and(|value| value.trim().eq_ignore_ascii_case(word))
    };
    if is_set_to("OTEL_SDK_DISABLED", "true") || is_set_to("OTEL_TRACES_EXPORTER", "none") {
        return None;
    }
    let set = ENDPOINTS.into_iter().filter_map(|name| {
        let value = env::var_os(name)?.to_string_lossy().into_owned();
        Some((name, value))
    });
    set.into_iter().find(|(_, value)| !value.is_empty())
}

/// The service's name is what the environment sets, else the plugin's own.
fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let named = Resource::builder().with_attribute(version);
    let name = Resource::builder().build().get(&Key::new("service.name"));
    if name.is_none_or(|name| name.as_str().starts_with(NAMELESS)) {
        named.with_service_name(env!("CARGO_PKG_NAME")).build()
    } else {
        named.build()
    }
}

impl<E: SpanExporter> SpanExporter for ReportingExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        match self.exporter.export(batch).await {
            Ok(()) if self.is_failing.swap(false, Ordering::Relaxed) => {
                events::SpanExportRecovered {}.emit();
            }
            Err(error) if !self.is_failing.swap(true, Ordering::Relaxed) => {
                let error = error.to_string();
                events::SpanExportFailed { error }.emit();
            }
            _ => {}
        }
        // It is logged already; the SDK would log it as an error each time.
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

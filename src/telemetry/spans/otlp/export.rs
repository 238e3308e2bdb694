//! Where spans go to: the collector that OpenTelemetry's own variables name. They wait in a bounded
//! queue, which a thread of its own empties; a collector that hangs holds up that thread alone.

use std::env;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry::{Key, KeyValue};
use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, SpanData, SpanExporter};
use reqwest::Url;
use rustls::crypto::ring;
use thiserror::Error;

use crate::telemetry::events;

/// Either makes spans be exported; the first one counts.
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];
/// What the SDK calls a service that the environment gives no name.
const NAMELESS: &str = "unknown_service";
/// How long the end of the process may be held up by spans that are not exported yet.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// Process-wide, as the log is.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// The way to the collector, where there is one. When dropped, what waits is sent, within
/// a limit.
#[derive(Debug)]
pub struct Export(Option<SdkTracerProvider>);

/// Why spans are not exported though an endpoint is set.
#[derive(Debug, Error)]
enum StartError {
    /// Without its text, which can hold a password.
    #[error("{0}: it has to be an http:// or https:// URL")]
    Endpoint(&'static str),
    #[error(transparent)]
    Exporter(#[from] ExporterBuildError),
}

/// Tells in the log when exporting begins to fail, and when it works again: a line for each batch
/// would drown the rest.
#[derive(Debug)]
struct Outspoken<E> {
    exporter: E,
    failing: AtomicBool,
}

impl Export {
    /// Begins where an endpoint is set. Not inside a runtime: the exporter's client has one of its own.
    #[must_use]
    pub fn start() -> Self {
        let Some((variable, endpoint)) = endpoint() else {
            return Self(None);
        };
        match provider(variable, &endpoint) {
            Ok((provider, endpoint)) => {
                let _ = TRACER.set(provider.tracer(env!("CARGO_PKG_NAME")));
                events::SpansExported { endpoint }.emit();
                Self(Some(provider))
            }
            Err(error) => {
                let error = error.to_string();
                events::SpansNotExported { error }.emit();
                Self(None)
            }
        }
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        let Some(provider) = self.0.take() else {
            return;
        };
        let (tell, told) = mpsc::channel();
        // A limit of the SDK's own is told of as an error, though nobody has to act. The thread may
        // outlive this; the process ends.
        thread::spawn(move || tell.send(provider.shutdown_with_timeout(Duration::MAX)));
        if !matches!(told.recv_timeout(FLUSH_LIMIT), Ok(Ok(()))) {
            events::SpansLost {}.emit();
        }
    }
}

/// What makes spans, where they are exported.
pub(super) fn tracer() -> Option<&'static SdkTracer> {
    TRACER.get()
}

/// Where to, and which variable says so. Two other variables of OpenTelemetry's can forbid it.
fn endpoint() -> Option<(&'static str, String)> {
    let says = |name: &str, word: &str| {
        env::var(name).is_ok_and(|value| value.trim().eq_ignore_ascii_case(word))
    };
    if says("OTEL_SDK_DISABLED", "true") || says("OTEL_TRACES_EXPORTER", "none") {
        return None;
    }
    let set = ENDPOINTS.into_iter().filter_map(|name| {
        let value = env::var_os(name)?.to_string_lossy().into_owned();
        Some((name, value))
    });
    set.into_iter().find(|(_, value)| !value.is_empty())
}

/// All else is read from the environment by the libraries: headers, timeout, sampler, queue. Tells
/// where spans go to as well, without user, password or query.
fn provider(
    variable: &'static str,
    endpoint: &str,
) -> Result<(SdkTracerProvider, String), StartError> {
    let url = Url::parse(endpoint).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.ok_or(StartError::Endpoint(variable))?;
    // Its client takes the process's; a second call changes nothing.
    let _ = ring::default_provider().install_default();
    let exporter = opentelemetry_otlp::SpanExporter::builder();
    let exporter = Outspoken {
        exporter: exporter.with_http().build()?,
        failing: AtomicBool::new(false),
    };
    let provider = SdkTracerProvider::builder()
        .with_resource(resource())
        .with_batch_exporter(exporter)
        .build();
    Ok((provider, url.origin().ascii_serialization()))
}

/// Who we are: as the environment says, else by our own name.
fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let named = Resource::builder().with_attribute(version);
    let name = Resource::builder().build().get(&Key::new("service.name"));
    let is_nameless = name.is_none_or(|name| name.as_str().starts_with(NAMELESS));
    match is_nameless {
        true => named.with_service_name(env!("CARGO_PKG_NAME")).build(),
        false => named.build(),
    }
}

impl<E: SpanExporter> SpanExporter for Outspoken<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        match self.exporter.export(batch).await {
            Ok(()) if self.failing.swap(false, Ordering::Relaxed) => {
                events::SpanExportRecovered {}.emit();
            }
            Err(error) if !self.failing.swap(true, Ordering::Relaxed) => {
                let error = error.to_string();
                events::SpanExportFailed { error }.emit();
            }
            _ => {}
        }
        // It has been told; the SDK would log it as an error each time.
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

//! Spans: one for a call of kube-apiserver's, one for the batch that it leaves with, one for each
//! HTTP request to Vault. A leaf, and the one place that knows whether the feature `otlp` is there:
//! without it all of this is of no size and does nothing.

#[cfg(not(feature = "otlp"))]
mod none;
#[cfg(feature = "otlp")]
mod otlp;

#[cfg(not(feature = "otlp"))]
pub use none::{BatchSpan, CallSpan, Callers, Export, Parent, RequestSpan};
#[cfg(feature = "otlp")]
pub use otlp::{BatchSpan, CallSpan, Callers, Export, Parent, RequestSpan};

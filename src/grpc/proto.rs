//! The two services of `proto/`, as generated at build time. Nothing by hand lives here.
#![allow(missing_docs, unreachable_pub, reason = "generated code")]

/// KMS v2, spoken by Kubernetes 1.27 and later.
pub mod v2 {
    tonic::include_proto!("v2");
}

/// KMS v1, spoken where the feature gate `KMSv1` is on.
pub mod v1beta1 {
    tonic::include_proto!("v1beta1");
}

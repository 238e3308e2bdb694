//! The service of `proto/workload.proto`, as generated at build time. Nothing in here is
//! written by hand. The server is for tests; the linker drops it from a release.
#![allow(missing_docs, unreachable_pub, reason = "generated code")]

// The file of what is in no package.
tonic::include_proto!("_");

//! The service of `proto/workload.proto`, as generated at build time. Nothing by hand lives here.
//! The server is there for tests; a release that does not call it does not hold it.
#![allow(missing_docs, unreachable_pub, reason = "generated code")]

// The file of what is in no package.
tonic::include_proto!("_");

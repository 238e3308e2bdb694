//! The part of etcd's API in `proto/etcd.proto`, as generated at build time. Nothing by hand lives here.
#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]

tonic::include_proto!("etcdserverpb");

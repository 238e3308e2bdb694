//! A KMS plugin for kube-apiserver over Vault or OpenBao Transit.

pub mod grpc;

//! A KMS plugin for kube-apiserver over Vault or OpenBao Transit: the daemon's parts.
//!
//! The arrows point one way: [`grpc`] → [`keys`] → [`session`] → [`vault`]. [`supervisor`] knows
//! them all, none knows it; [`vault`] knows nothing of Kubernetes, [`grpc`] nothing of Vault.
//! [`session`] alone asks [`spiffe`], which knows none of them. [`metrics`] and [`spans`] are leaves.

pub mod actor;
pub mod admin;
pub mod check;
pub mod cli;
pub mod config;
pub mod events;
pub mod folder;
pub mod grpc;
pub mod keys;
pub mod metrics;
pub mod session;
pub mod spans;
pub mod spiffe;
pub mod status;
pub mod supervisor;
pub mod system;
pub mod telemetry;
pub mod vault;

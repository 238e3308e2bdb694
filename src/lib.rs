//! A KMS plugin for kube-apiserver over Vault or OpenBao Transit: the daemon's modules.
//!
//! Dependencies point one way: [`commands`] → [`supervisor`] → [`grpc`] → [`keys`] → [`session`] →
//! [`vault`]. [`vault`] knows nothing of Kubernetes, [`grpc`] nothing of Vault. [`telemetry`],
//! [`system`], [`reason`] and [`replaced_plugin`] are leaves that every module may use. `etcd` and `kmsctl` are of the second
//! program, `vault-kmsctl`; no module of the daemon uses them. `fuzzing` is in no program.

pub mod actor;
pub mod admin;
mod batch;
pub mod cli;
pub mod commands;
pub mod config;
pub mod diagnosis;
pub mod drop_in;
#[cfg(feature = "kmsctl")]
pub mod etcd;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod go_duration;
pub mod grpc;
pub mod keys;
#[cfg(feature = "kmsctl")]
pub mod kmsctl;
pub mod reason;
pub mod replaced_plugin;
pub mod session;
mod sha256;
#[cfg(test)]
mod simulation;
pub mod supervisor;
pub mod system;
pub mod telemetry;
pub mod vault;

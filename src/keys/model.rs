//! A model of key_id, Status, rotation and migration: every interleaving, within bounds, of Vault, plugins,
//! kube-apiservers and an operator.
//!
//! The plugins are the production code: the refresh machine, the view, the Status policy, the state file, the choice of a
//! key, and of `vault-kmsctl` what `rotate` waits for and `audit` advises. docs/assurance.md says what is covered.

mod action;
mod apiserver;
mod bounds;
mod check;
mod clock;
mod config;
mod operate;
mod operator;
mod plugin;
mod process;
mod properties;
mod refreshing;
mod server;
mod settle;
mod system;
mod tests;
mod vault;

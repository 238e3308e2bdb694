//! What kube-apiserver keeps in etcd: names, the forms of a value, and where both are read from.
//!
//! Knows nothing of Vault, and writes nothing.

pub mod connection;
pub mod live;
pub mod object_name;
pub mod proto;
pub mod scan;
pub mod snapshot;
pub mod stored;

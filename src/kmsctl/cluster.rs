//! The API of a cluster: who one is (kubeconfig or service account), and single requests.
//!
//! Requests name their paths themselves, because the resources are known only at run time.

mod call;
mod connection;
mod retry;
mod status;

pub use call::{Answer, Call, CallError};
pub use connection::{Cluster, ClusterArgs};
pub use retry::{Failure, Retries};
pub use status::Status;

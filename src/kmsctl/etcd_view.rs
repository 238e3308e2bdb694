//! What etcd says of the objects before and after they are written again, where it can be read.

use std::collections::BTreeMap;
use std::path::Path;

use prost::bytes::Bytes;
use serde_json::Value;

use super::audit::{self, Audit};
use super::cluster::{Call, Retries};
use super::etcd_args::EtcdArgs;
use super::migrate::selection::StaleObjects;
use super::output::{self, Problem};
use crate::diagnosis::Diagnosis;
use crate::etcd::connection::Connection;
use crate::etcd::proto::RangeRequest;
use crate::etcd::stored::Stored;
use crate::kmsctl::audit::Examined;
use crate::system::one_line;

/// A namespace that every cluster has.
const NAMESPACE: &str = "kube-system";
/// How many names of each finding are shown.
const SHOWN: usize = 10;

/// The etcd of a cluster.
#[derive(Debug)]
pub(crate) struct EtcdView {
    audit: Audit,
}

impl EtcdView {
    /// The etcd that the options, the variables of etcdctl or the manifest of kubeadm name, if it is that of the cluster.
    /// `None`, with a note, if none is named, or one that was not given by an option cannot be read.
    ///
    /// # Errors
    /// If one is given by an option and cannot be read, or one is named that is of another cluster.
    pub(crate) async fn open(
        etcd: &EtcdArgs,
        encryption_config: &Path,
        retries: &Retries,
    ) -> Result<Option<Self>, Problem> {
        let target = etcd.resolve().map_err(Problem::wrong_input)?;
        if !target.is_known {
            return Ok(None);
        }
        let connection = match Connection::open(&target.options, &target.prefix).await {
            Ok(connection) => connection,
            Err(error) if etcd.endpoints.is_empty() => {
                let problem = audit::source_problem(error);
                output::note(&format!("etcd is not read: {}", problem.text()));
                return Ok(None);
            }
            Err(error) => return Err(audit::source_problem(error)),
        };
        check_cluster(&connection, &target.prefix, retries).await?;
        Ok(Some(Self {
            audit: Audit {
                encryption_config: Some(encryption_config.to_owned()),
                etcd: etcd.clone(),
                list: SHOWN,
                ..Audit::default()
            },
        }))
    }

    /// The objects that have to be written again; `announced` is the hash of the key_id of each KMS v2 provider.
    ///
    /// # Errors
    /// If etcd cannot be read to its end.
    pub(crate) async fn stale(
        &self,
        announced: &BTreeMap<String, String>,
    ) -> Result<StaleObjects, Problem> {
        let examined = audit::examine(&self.audit, announced, usize::MAX).await?;
        Ok(examined.stale().collect())
    }

    /// Audits everything.
    ///
    /// # Errors
    /// If etcd cannot be read to its end.
    pub(crate) async fn audit(
        &self,
        announced: &BTreeMap<String, String>,
    ) -> Result<Examined, Problem> {
        audit::examine(&self.audit, announced, self.audit.list).await
    }
}

/// Compares the uid of a namespace: an audit of the etcd of another cluster would prove nothing.
async fn check_cluster(
    connection: &Connection,
    prefix: &str,
    retries: &Retries,
) -> Result<(), Problem> {
    let answer = retries
        .send(&Call::get(format!("/api/v1/namespaces/{NAMESPACE}")))
        .await;
    let body: Option<Value> = answer
        .ok()
        .and_then(|answer| serde_json::from_slice(&answer.body).ok());
    let Some(uid) = body
        .as_ref()
        .and_then(|body| body.pointer("/metadata/uid")?.as_str())
    else {
        output::note(
            &"whether etcd is that of the cluster was not checked: that needs get on the namespace kube-system",
        );
        return Ok(());
    };
    let key = format!("{}/namespaces/{NAMESPACE}", prefix.trim_end_matches('/'));
    let request = RangeRequest {
        key: Bytes::from(key),
        ..RangeRequest::default()
    };
    let answer = connection.range(&request).await;
    let answer = answer.map_err(|error| audit::source_problem(error.into()))?;
    let is_same = answer
        .kvs
        .first()
        .is_some_and(|pair| match Stored::parse(&pair.value) {
            Ok(Stored::Plain(_)) => pair
                .value
                .windows(uid.len())
                .any(|part| part == uid.as_bytes()),
            // It cannot be read without its key.
            _ => true,
        });
    if is_same {
        return Ok(());
    }
    let cause = format!(
        "the etcd at {} is not that of the cluster at {}",
        one_line(connection.label()),
        retries.cluster.address()
    );
    let remedy = "name the etcd of this cluster with --endpoints, and its --etcd-prefix with --prefix; or unset \
                  ETCDCTL_ENDPOINTS";
    Err(Problem::wrong_input(
        Diagnosis::new(cause).with_remedy(remedy),
    ))
}

//! All kube-apiservers of a cluster, and what each of them announces.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::diagnosis::Diagnosis;
use crate::kmsctl::announced::{Announced, announced};
use crate::kmsctl::cluster::{Call, CallError, Cluster, Failure, Retries};

/// kube-apiserver keeps its own addresses in it, under this name.
const SLICE: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes";
/// In the certificate of each kube-apiserver, whatever its address.
const COMMON_NAME: &str = "kubernetes";

/// One kube-apiserver.
#[derive(Debug)]
pub(super) struct ApiServer {
    /// Its URL.
    pub(super) url: String,
    /// Ways to reach it: by the name of its address, and by that which all have in common.
    ways: Vec<Cluster>,
}

/// What one of them says.
#[derive(Debug)]
pub(super) enum Observed {
    /// By the name of a KMS v2 provider; and what its health checks say against its providers.
    Providers(BTreeMap<String, Announced>, Option<String>),
    /// Its metrics may not be read.
    Forbidden(String),
    /// It does not answer.
    Unreachable(String),
}

/// Those at these URLs, or those that the cluster names.
///
/// # Errors
/// If a URL is invalid, or nobody says where they are.
pub(super) async fn find(retries: &Retries, urls: &[String]) -> Result<Vec<ApiServer>, Diagnosis> {
    let cluster = &retries.cluster;
    let urls = if urls.is_empty() {
        discover(retries).await?
    } else {
        urls.to_vec()
    };
    let mut found = Vec::new();
    for url in urls {
        let ways = [cluster.server_name(), Some(COMMON_NAME)];
        let ways = ways.map(|name| cluster.at(&url, name));
        found.push(ApiServer {
            ways: ways.into_iter().collect::<Result<_, _>>()?,
            url,
        });
    }
    Ok(found)
}

async fn discover(retries: &Retries) -> Result<Vec<String>, Diagnosis> {
    const REMEDY: &str = "name each kube-apiserver with --apiserver URL, or grant get on the EndpointSlice \
                          default/kubernetes, as docs/operations/rotation.md shows";
    let slice = match retries.send(&Call::get(SLICE)).await {
        Ok(answer) => answer.json::<Value>().unwrap_or_default(),
        Err(Failure::Unavailable(diagnosis)) => return Err(diagnosis),
        Err(failure) => {
            let cause = failure.message().unwrap_or_default();
            let cause = format!("the kube-apiservers cannot be found: {cause}");
            return Err(Diagnosis::new(cause).with_remedy(REMEDY));
        }
    };
    let urls = urls(&slice);
    if urls.is_empty() {
        let cause = "the EndpointSlice default/kubernetes names no kube-apiserver";
        return Err(Diagnosis::new(cause).with_remedy(REMEDY));
    }
    Ok(urls)
}

fn urls(slice: &Value) -> Vec<String> {
    let ports = slice["ports"].as_array().into_iter().flatten();
    let https = ports.filter(|port| port["name"] == "https");
    let port = https
        .filter_map(|port| port["port"].as_u64())
        .next()
        .unwrap_or(6443);
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    let addresses = endpoints.flat_map(|one| one["addresses"].as_array().into_iter().flatten());
    let addresses = addresses.filter_map(Value::as_str);
    addresses
        .map(|address| {
            if address.contains(':') {
                format!("https://[{address}]:{port}")
            } else {
                format!("https://{address}:{port}")
            }
        })
        .collect()
}

impl ApiServer {
    /// Asks it.
    pub(super) async fn observe(&self) -> Observed {
        let mut cause = String::new();
        for way in &self.ways {
            match metrics(way).await {
                Ok(providers) => return Observed::Providers(providers, unhealthy(way).await),
                Err(CallError::Refused(status, _)) if matches!(status.code, 401 | 403) => {
                    return Observed::Forbidden(status.message);
                }
                Err(CallError::Refused(status, _)) => cause = status.message,
                Err(CallError::Unreachable(text) | CallError::NoCredentials(text)) => {
                    // The first way is the usual one.
                    if cause.is_empty() {
                        cause = text;
                    }
                }
            }
        }
        Observed::Unreachable(cause)
    }
}

async fn metrics(server: &Cluster) -> Result<BTreeMap<String, Announced>, CallError> {
    let answer = server
        .send(&Call::get("/metrics").accept("text/plain"))
        .await?;
    Ok(announced(&answer.text()))
}

/// A Status with a new key_id is counted before the new seed is encrypted. While that fails, kube-apiserver goes
/// on writing with the old one, and its health check says so.
async fn unhealthy(server: &Cluster) -> Option<String> {
    match server
        .send(&Call::get("/readyz").accept("text/plain"))
        .await
    {
        Err(CallError::Refused(status, _)) => {
            let is_ours = status.message.contains("[-]kms-provider");
            is_ours.then(|| "its health check of the KMS provider fails".to_owned())
        }
        _ => None,
    }
}

/// How many seconds ago that was.
pub(super) fn seconds_since(at: f64) -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    (now.as_secs_f64() - at).max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_addresses_of_the_slice_are_urls() {
        let slice = json!({
            "ports": [{ "name": "https", "port": 6444 }],
            "endpoints": [{ "addresses": ["10.0.0.1"] }, { "addresses": ["fd00::1"] }],
        });
        assert_eq!(
            urls(&slice),
            ["https://10.0.0.1:6444", "https://[fd00::1]:6444"]
        );
    }
}

//! Writes one object as it is: kube-apiserver stores it again if its stored form is out of date, and does not
//! touch it otherwise.
//!
//! The write is an empty merge patch with the object's uid and resourceVersion. It is one transaction of
//! etcd, keeps the content, and needs neither to read nor to send it.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::time::sleep;

use super::discovery::Served;
use super::pace::Pace;
use super::pages::{self, Metadata};
use crate::diagnosis::Diagnosis;
use crate::kmsctl::cluster::{Call, Failure, Retries};

const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
/// How often others may be faster before an object is given up.
const MAX_CONFLICTS: u32 = 10;
/// The longest pause after a conflict.
const CONFLICT_PAUSE: Duration = Duration::from_millis(500);

/// What became of an object.
#[derive(Debug)]
pub(super) enum Written {
    /// It was stored again.
    Stored,
    /// It was up to date.
    Current,
    /// It was deleted meanwhile.
    Gone,
    /// It cannot be written, and why.
    Failed(String),
    /// kube-apiserver has an internal error about it, which others may have too.
    Internal(String),
    /// Nothing can be written now.
    Unavailable(Diagnosis),
    /// One was asked to stop.
    Stopped,
}

#[derive(Deserialize)]
struct Partial {
    metadata: Metadata,
}

/// Writes an object of a list.
pub(super) async fn write(
    retries: &Retries,
    pace: &Pace,
    served: &Served,
    listed: &Metadata,
) -> Written {
    let mut object = listed.clone();
    for _ in 0..MAX_CONFLICTS {
        pace.turn().await;
        let status = match patch(retries, served, &object).await {
            Ok(metadata) if metadata.resource_version == object.resource_version => {
                return Written::Current;
            }
            Ok(_) => return Written::Stored,
            Err(Failure::Refused(status)) => status,
            Err(Failure::Internal(status)) => return Written::Internal(status.message),
            Err(Failure::Unavailable(diagnosis)) => return Written::Unavailable(diagnosis),
            Err(Failure::Stopped) => return Written::Stopped,
        };
        // 422 is the answer to another uid too.
        if !matches!(status.code, 404 | 409 | 422) {
            return Written::Failed(status.message);
        }
        let now = match pages::one(retries, &list_path(served, &object), &object.name).await {
            Ok(Some(now)) => now,
            Ok(None) => return Written::Gone,
            Err(failure) => return failed(failure),
        };
        if now == object {
            return Written::Failed(status.message);
        }
        object = now;
        sleep(CONFLICT_PAUSE.mul_f64(fastrand::f64())).await;
    }
    Written::Failed("others changed it again and again meanwhile".to_owned())
}

async fn patch(retries: &Retries, served: &Served, object: &Metadata) -> Result<Metadata, Failure> {
    let list = list_path(served, object);
    let path = format!(
        "{list}/{}?fieldManager=vault-kmsctl",
        pages::encoded(&object.name)
    );
    let metadata = json!({ "uid": object.uid, "resourceVersion": object.resource_version });
    let call = Call::merge_patch(path, &json!({ "metadata": metadata })).accept(METADATA);
    let answer = retries.send(&call).await?;
    let partial: Partial = answer
        .json()
        .map_err(|error| Failure::Unavailable(error.diagnosis(&retries.cluster.address())))?;
    Ok(partial.metadata)
}

fn list_path(served: &Served, object: &Metadata) -> String {
    if served.is_namespaced {
        served.path_in(&object.namespace)
    } else {
        served.path()
    }
}

fn failed(failure: Failure) -> Written {
    match failure {
        Failure::Refused(status) => Written::Failed(status.message),
        Failure::Internal(status) => Written::Internal(status.message),
        Failure::Unavailable(diagnosis) => Written::Unavailable(diagnosis),
        Failure::Stopped => Written::Stopped,
    }
}

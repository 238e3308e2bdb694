//! Whether one may do what a run needs, asked before anything is written.

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::discovery::Served;
use crate::diagnosis::Diagnosis;
use crate::kmsctl::cluster::{Call, Failure, Retries};

const REVIEW: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
const VERBS: [&str; 2] = ["list", "patch"];
const IN_FLIGHT: usize = 8;

/// Finds the permissions that are missing.
///
/// # Errors
/// If one is missing, with the rule that grants it, or kube-apiserver does not answer.
pub(super) async fn check(retries: &Retries, resources: &[&Served]) -> Result<(), Failure> {
    let pairs = resources
        .iter()
        .flat_map(|one| VERBS.map(|verb| (*one, verb)));
    let reviews = pairs.map(|(served, verb)| async move {
        let allowed = is_allowed(retries, served, verb).await?;
        Ok((!allowed).then(|| format!("{verb} {served}")))
    });
    let reviews = stream::iter(reviews).buffered(IN_FLIGHT);
    let reviews: Vec<Result<Option<String>, Failure>> = reviews.collect().await;
    let mut missing = Vec::new();
    for review in reviews {
        missing.extend(review?);
    }
    if missing.is_empty() {
        return Ok(());
    }
    let cause = format!(
        "permissions are missing in all namespaces: {}",
        missing.join(", ")
    );
    let remedy = "grant list and patch on these resources in a ClusterRole, as docs/operations/re-encryption.md shows";
    Err(Failure::Unavailable(
        Diagnosis::new(cause).with_remedy(remedy),
    ))
}

/// Whoever may not ask finds out by trying.
async fn is_allowed(retries: &Retries, served: &Served, verb: &str) -> Result<bool, Failure> {
    let attributes = json!({ "verb": verb, "group": served.group, "resource": served.resource });
    let body = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": attributes },
    });
    match retries.send(&Call::post(REVIEW, &body)).await {
        Ok(answer) => {
            let review: Value = answer.json().unwrap_or_default();
            Ok(review["status"]["allowed"] != false)
        }
        Err(Failure::Refused(_)) => Ok(true),
        Err(failure) => Err(failure),
    }
}

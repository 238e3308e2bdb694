//! A StorageVersionMigration: the kube-controller-manager writes all objects of a resource.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::discovery::Served;
use crate::kmsctl::cluster::{Call, Failure, Retries};

const GROUP: &str = "storagemigration.k8s.io";
const RESOURCE: &str = "storageversionmigrations";
/// In v1alpha1 the resource had another form.
const VERSIONS: [&str; 2] = ["v1", "v1beta1"];
/// Within it the kube-controller-manager begins; longer, and it does not run, or not with this controller.
/// It waits up to a minute for its own caches.
const START_LIMIT: Duration = Duration::from_secs(120);
/// The kube-controller-manager sends 20 requests a second by default: enough for five million objects.
const LIMIT: Duration = Duration::from_secs(72 * 3600);
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How a migration ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// All objects are written.
    Succeeded,
    /// It gave up, and why.
    Failed(String),
    /// Nobody works it off, or one may not create it.
    NotStarted(String),
}

/// Whether the cluster serves it: where.
pub(super) fn path(served: &[Served]) -> Option<String> {
    let mut served = served.iter();
    let found = served.find(|one| {
        one.group == GROUP && one.resource == RESOURCE && VERSIONS.contains(&one.version.as_str())
    });
    found.map(Served::path)
}

/// Creates a migration at `path` and waits for its end. Removes it unless it failed.
pub(super) async fn migrate(
    retries: &Retries,
    path: &str,
    served: &Served,
) -> Result<Ended, Failure> {
    let name = match create(retries, path, served).await {
        Ok(name) => name,
        Err(Failure::Refused(status)) => return Ok(Ended::NotStarted(status.message)),
        Err(failure) => return Err(failure),
    };
    let path = format!("{path}/{name}");
    let ended = wait(retries, &path).await;
    // The server is asked even if one was asked to stop: nobody else would remove it.
    let _ = retries.cluster.send(&Call::delete(&path)).await;
    ended
}

async fn create(retries: &Retries, path: &str, served: &Served) -> Result<String, Failure> {
    let version = path.rsplit('/').nth(1).unwrap_or(VERSIONS[0]);
    let body = json!({
        "apiVersion": format!("{GROUP}/{version}"),
        "kind": "StorageVersionMigration",
        "metadata": {
            "generateName": "vault-kmsctl-",
            "labels": { "app.kubernetes.io/managed-by": "vault-kmsctl" },
        },
        "spec": { "resource": { "group": served.group, "resource": served.resource } },
    });
    let created = json_of(retries, &Call::post(path, &body)).await?;
    Ok(created["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

async fn wait(retries: &Retries, path: &str) -> Result<Ended, Failure> {
    let began = Instant::now();
    loop {
        let migration = json_of(retries, &Call::get(path)).await?;
        if let Some(ended) = ended(&migration) {
            return Ok(ended);
        }
        let limit = if is_true(&migration, "Running") {
            LIMIT
        } else {
            START_LIMIT
        };
        if began.elapsed() > limit {
            let limit = limit.as_secs();
            return Ok(Ended::NotStarted(format!(
                "the kube-controller-manager did not work it off within {limit} s"
            )));
        }
        tokio::select! {
            () = sleep(POLL_INTERVAL) => {}
            () = retries.stop.cancelled() => return Err(Failure::Stopped),
        }
    }
}

async fn json_of(retries: &Retries, call: &Call) -> Result<Value, Failure> {
    let answer = retries.send(call).await?;
    let json = answer.json();
    json.map_err(|error| Failure::Unavailable(error.diagnosis(&retries.cluster.address())))
}

fn ended(migration: &Value) -> Option<Ended> {
    if is_true(migration, "Succeeded") {
        return Some(Ended::Succeeded);
    }
    let failed = condition(migration, "Failed").filter(|one| one["status"] == "True")?;
    let message = failed["message"].as_str().unwrap_or_default();
    Some(Ended::Failed(message.to_owned()))
}

fn is_true(migration: &Value, kind: &str) -> bool {
    condition(migration, kind).is_some_and(|one| one["status"] == "True")
}

fn condition<'a>(migration: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = migration["status"]["conditions"].as_array()?;
    conditions.iter().find(|one| one["type"] == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_ends_by_its_conditions() {
        let with = |conditions: Value| json!({ "status": { "conditions": conditions } });
        let running = json!({ "type": "Running", "status": "True" });
        assert_eq!(ended(&with(json!([running]))), None);
        let succeeded = json!({ "type": "Succeeded", "status": "True" });
        assert_eq!(
            ended(&with(json!([running, succeeded]))),
            Some(Ended::Succeeded)
        );
        let failed = json!({ "type": "Failed", "status": "True", "message": "no" });
        assert_eq!(
            ended(&with(json!([failed]))),
            Some(Ended::Failed("no".to_owned()))
        );
        assert_eq!(ended(&json!({})), None);
    }
}

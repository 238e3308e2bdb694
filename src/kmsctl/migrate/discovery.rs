//! Which resources a cluster serves that can be listed and written.

use serde::Deserialize;
use serde_json::Value;

use crate::diagnosis::Diagnosis;
use crate::kmsctl::cluster::{Call, CallError, Failure, Retries};

/// Everything in two requests; served since Kubernetes 1.27.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
    application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
const NEEDED_VERBS: [&str; 2] = ["list", "patch"];

/// A resource that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Served {
    /// The API group; empty for the core group.
    pub(super) group: String,
    /// Its preferred version.
    pub(super) version: String,
    /// The plural name.
    pub(super) resource: String,
    /// Whether its objects are in namespaces.
    pub(super) is_namespaced: bool,
}

#[derive(Deserialize)]
struct Groups {
    items: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    metadata: Named,
    versions: Vec<Version>,
}

#[derive(Deserialize, Default)]
struct Named {
    #[serde(default)]
    name: String,
}

/// Versions are in the order of preference.
#[derive(Deserialize)]
struct Version {
    version: String,
    #[serde(default)]
    resources: Vec<OneResource>,
}

#[derive(Deserialize)]
struct OneResource {
    resource: String,
    scope: String,
    #[serde(default)]
    verbs: Vec<String>,
}

impl Served {
    /// The path of a list of all its objects.
    pub(super) fn path(&self) -> String {
        format!("{}/{}", self.base(), self.resource)
    }

    /// The path of a list of those of a namespace.
    pub(super) fn path_in(&self, namespace: &str) -> String {
        format!("{}/namespaces/{namespace}/{}", self.base(), self.resource)
    }

    fn base(&self) -> String {
        match self.group.as_str() {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        }
    }
}

impl std::fmt::Display for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.group.as_str() {
            "" => f.write_str(&self.resource),
            group => write!(f, "{}.{group}", self.resource),
        }
    }
}

/// Asks for all resources that can be listed and patched, each in its preferred version.
pub(super) async fn served(retries: &Retries) -> Result<Vec<Served>, Failure> {
    let mut all = Vec::new();
    for path in ["/api", "/apis"] {
        let answer = retries.send(&Call::get(path).accept(AGGREGATED)).await;
        let answer = match answer {
            Err(Failure::Refused(status)) if status.code == 406 => return Err(too_old()),
            answer => answer?,
        };
        let groups: Groups = answer.json().map_err(|_| too_old())?;
        all.extend(resources(groups));
    }
    Ok(all)
}

fn too_old() -> Failure {
    let text =
        "kube-apiserver does not serve aggregated discovery: Kubernetes 1.27 or later is needed";
    Failure::Unavailable(Diagnosis::new(text))
}

fn resources(groups: Groups) -> Vec<Served> {
    let mut found: Vec<Served> = Vec::new();
    for group in groups.items {
        for version in group.versions {
            for one in version.resources {
                let has = |verb: &&str| one.verbs.iter().any(|it| it == verb);
                let is_known = found.iter().any(|known| {
                    known.group == group.metadata.name && known.resource == one.resource
                });
                if !is_known && NEEDED_VERBS.iter().all(has) {
                    found.push(Served {
                        group: group.metadata.name.clone(),
                        version: version.version.clone(),
                        is_namespaced: one.scope == "Namespaced",
                        resource: one.resource,
                    });
                }
            }
        }
    }
    found
}

/// The groups that other servers answer for, which store their objects elsewhere. Empty if one may not
/// know.
pub(super) async fn foreign_groups(retries: &Retries) -> Result<Vec<String>, Failure> {
    let call = Call::get("/apis/apiregistration.k8s.io/v1/apiservices");
    let answer = match retries.send(&call).await {
        Err(Failure::Refused(_)) => return Ok(Vec::new()),
        answer => answer?,
    };
    let list: Value = answer.json().map_err(|error: CallError| {
        Failure::Unavailable(error.diagnosis(&retries.cluster.address()))
    })?;
    let items = list["items"].as_array().into_iter().flatten();
    let foreign = items.filter(|item| !item["spec"]["service"].is_null());
    let group = |item: &Value| item["spec"]["group"].as_str().map(str::to_owned);
    Ok(foreign.filter_map(group).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_version_that_can_be_written_is_taken() {
        let json = r#"{"items":[{"metadata":{"name":"example.org"},"versions":[
            {"version":"v2","resources":[{"resource":"gadgets","scope":"Cluster","verbs":["get","list"]},
                {"resource":"widgets","scope":"Namespaced","verbs":["list","patch"]}]},
            {"version":"v1","resources":[{"resource":"gadgets","scope":"Cluster","verbs":["list","patch"]},
                {"resource":"widgets","scope":"Namespaced","verbs":["list","patch"]}]}]},
            {"versions":[{"version":"v1","resources":[{"resource":"secrets","scope":"Namespaced","verbs":["list","patch"]}]}]}]}"#;
        let found = resources(serde_json::from_str(json).expect("JSON"));
        let paths: Vec<_> = found.iter().map(Served::path).collect();
        assert_eq!(
            paths,
            [
                "/apis/example.org/v2/widgets",
                "/apis/example.org/v1/gadgets",
                "/api/v1/secrets"
            ]
        );
        assert_eq!(found[2].path_in("a"), "/api/v1/namespaces/a/secrets");
        assert_eq!(found[0].to_string(), "widgets.example.org");
    }
}

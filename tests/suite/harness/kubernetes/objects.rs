//! The objects that tests put into kube-apiserver.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::KubeApiserver;

impl KubeApiserver {
    /// Makes a ServiceAccount, and its namespace if that is missing.
    pub async fn create_service_account(&self, namespace: &str, name: &str) {
        self.create_namespace(namespace).await;
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        self.expect("POST", &path, Some(json!({ "metadata": { "name": name } })))
            .await;
    }

    /// Makes a namespace unless it exists.
    pub async fn create_namespace(&self, namespace: &str) {
        let body = json!({ "metadata": { "name": namespace } });
        let (status, answer) = self.request("POST", "/api/v1/namespaces", Some(body)).await;
        assert!(
            matches!(status, 201 | 409),
            "namespace {namespace}: {status} {answer}"
        );
    }

    /// A token of an hour for a ServiceAccount; no audiences means the server's own.
    pub async fn token_request(&self, namespace: &str, name: &str, audiences: &[&str]) -> String {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": { "audiences": audiences, "expirationSeconds": 3600 },
        });
        let answer = self.expect("POST", &path, Some(body)).await;
        answer["status"]["token"]
            .as_str()
            .expect("a token is a string")
            .to_owned()
    }

    /// Lets a ServiceAccount review tokens, as Vault's `auth/kubernetes` has to.
    pub async fn bind_token_reviewer(&self, namespace: &str, name: &str) {
        let body = json!({
            "metadata": { "name": format!("token-reviewer-{namespace}-{name}") },
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "system:auth-delegator",
            },
            "subjects": [{ "kind": "ServiceAccount", "namespace": namespace, "name": name }],
        });
        let path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
        self.expect("POST", path, Some(body)).await;
    }

    /// Makes a Secret with one entry, `value`; status and answer.
    pub async fn create_secret(&self, namespace: &str, name: &str, value: &str) -> (u16, Value) {
        let body = json!({
            "metadata": { "name": name },
            "data": { "value": STANDARD.encode(value) },
        });
        let path = format!("/api/v1/namespaces/{namespace}/secrets");
        self.request("POST", &path, Some(body)).await
    }

    /// Stores it once more as it is, so that it is encrypted again; status and answer.
    pub async fn rewrite_secret(&self, namespace: &str, name: &str) -> (u16, Value) {
        let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
        let secret = self.expect("GET", &path, None).await;
        self.request("PUT", &path, Some(secret)).await
    }

    /// All of a namespace that [`KubeApiserver::create_secret`] stored, by name; or the status and
    /// the message.
    pub async fn list_secrets(
        &self,
        namespace: &str,
    ) -> Result<BTreeMap<String, String>, (u16, String)> {
        let path = format!("/api/v1/namespaces/{namespace}/secrets");
        let (status, answer) = self.request("GET", &path, None).await;
        let Some(items) = answer["items"].as_array() else {
            return Err((status, answer["message"].to_string()));
        };
        let entry = |item: &Value| {
            let name = item["metadata"]["name"].as_str()?.to_owned();
            Some((name, decoded(&item["data"]["value"])?))
        };
        Ok(items.iter().filter_map(entry).collect())
    }

    /// Reads back what [`KubeApiserver::create_secret`] stored, or the status and the message.
    pub async fn read_secret(&self, namespace: &str, name: &str) -> Result<String, (u16, String)> {
        let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
        let (status, answer) = self.request("GET", &path, None).await;
        decoded(&answer["data"]["value"]).ok_or_else(|| (status, answer["message"].to_string()))
    }
}

fn decoded(value: &Value) -> Option<String> {
    let bytes = STANDARD.decode(value.as_str()?);
    let bytes = bytes.expect("a Secret holds base64");
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

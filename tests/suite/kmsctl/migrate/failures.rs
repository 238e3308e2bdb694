//! What cannot be written is named, and the rest is written.

use serde_json::json;

use crate::LIMIT;
use crate::harness::vault::Vault;
use crate::harness::wait;
use crate::kmsctl::site::{NAMESPACE, Site, finish, identity, write_kubeconfig};

const DIRECT: [&str; 5] = ["migrate", "--method", "direct", "--qps", "0"];
const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";

async fn ready(count: usize) -> Site {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let site = Site::start(vault, &fixture).await;
    site.fill(count).await;
    site.configure(&[site.kms("v2", "vault"), identity()]).await;
    site
}

/// Nobody may write secret-1.
async fn forbid(site: &Site) {
    let rule = json!({ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["secrets"] });
    let validation =
        json!({ "expression": "object.metadata.name != 'secret-1'", "message": "nobody may" });
    let policy = json!({
        "metadata": { "name": "nobody" },
        "spec": { "failurePolicy": "Fail", "matchConstraints": { "resourceRules": [rule] }, "validations": [validation] },
    });
    site.kubernetes.expect("POST", POLICIES, Some(policy)).await;
    let binding = json!({
        "metadata": { "name": "nobody" },
        "spec": { "policyName": "nobody", "validationActions": ["Deny"] },
    });
    site.kubernetes
        .expect("POST", BINDINGS, Some(binding))
        .await;
    let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets/secret-1");
    wait::until_true("the policy is in force", LIMIT, async || {
        let mut secret = site.kubernetes.expect("GET", &path, None).await;
        secret["metadata"]["labels"] = json!({ "a": "b" });
        let dry = format!("{path}?dryRun=All");
        let (code, _) = site.kubernetes.request("PUT", &dry, Some(secret)).await;
        matches!(code, 403 | 422)
    })
    .await;
}

async fn what_admission_refuses_is_named_and_the_rest_is_written() {
    let site = ready(10).await;
    forbid(&site).await;
    let before = site.contents().await;
    let ended = site.run(&DIRECT).await.expect(1);
    eprintln!("{}\n{}", ended.out, ended.err);
    assert!(
        ended.out.contains("1 FAILED") && ended.out.contains("default/secret-1: "),
        "{ended:?}"
    );
    assert!(
        ended.out.contains("nobody may") && ended.err.contains("NOT all objects"),
        "{ended:?}"
    );
    for (key, value) in site.stored().await {
        let is_encrypted = value.starts_with(b"k8s:enc:kms:v2:vault:");
        assert_eq!(is_encrypted, !key.ends_with("/secret-1"), "{key}");
    }
    assert_eq!(site.contents().await, before);
    site.kubernetes
        .expect("DELETE", &format!("{BINDINGS}/nobody"), None)
        .await;
    wait::until("the rest is written", LIMIT, async || {
        (site.run(&DIRECT).await.code == Some(0)).then_some(())
    })
    .await;
    site.assert_stored("k8s:enc:kms:v2:vault:", "").await;
    assert_eq!(site.contents().await, before);
}

async fn an_object_that_cannot_be_read_is_named_and_other_namespaces_are_written() {
    let site = ready(6).await;
    site.kubernetes.create_namespace("other").await;
    let (code, _) = site.kubernetes.create_secret("other", "broken", "x").await;
    assert_eq!(code, 201);
    let broken = b"k8s:enc:kms:v2:vault:broken";
    site.etcd
        .put(b"/registry/secrets/other/broken", broken)
        .await;
    site.kubernetes.start_again();
    site.kubernetes.answers().await;
    site.wait_for_widgets().await;
    let ended = site.run(&DIRECT).await.expect(1);
    eprintln!("{}\n{}", ended.out, ended.err);
    assert!(ended.out.contains("list of secrets"), "{ended:?}");
    for (key, value) in site.stored().await {
        assert!(value.starts_with(b"k8s:enc:kms:v2:vault:"), "{key}");
    }
}

async fn missing_permissions_are_named_before_anything_is_written() {
    let site = ready(4).await;
    let rules = json!([{ "apiGroups": [""], "resources": ["secrets", "configmaps"], "verbs": ["list", "patch"] },
        { "apiGroups": ["example.org"], "resources": ["widgets"], "verbs": ["list"] }]);
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let role = json!({ "metadata": { "name": "migrate" }, "rules": rules });
    site.kubernetes.expect("POST", roles, Some(role)).await;
    let account = json!({ "metadata": { "name": "migrate" } });
    let accounts = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts");
    site.kubernetes
        .expect("POST", &accounts, Some(account))
        .await;
    let binding = json!({
        "metadata": { "name": "migrate" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "migrate" },
        "subjects": [{ "kind": "ServiceAccount", "namespace": NAMESPACE, "name": "migrate" }],
    });
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    site.kubernetes
        .expect("POST", bindings, Some(binding))
        .await;
    let path = format!("{accounts}/migrate/token");
    let token = site
        .kubernetes
        .expect("POST", &path, Some(json!({ "spec": {} })))
        .await;
    let token = token["status"]["token"].as_str().unwrap();
    let kubeconfig = site.path("limited");
    write_kubeconfig(&kubeconfig, &site.kubernetes, token);
    let stored = site.stored().await;
    let run = async |resource: &[&str]| {
        let mut command = site.command(&[&DIRECT[..], resource].concat());
        command.arg("--kubeconfig").arg(&kubeconfig);
        finish(command).await
    };
    let ended = run(&[]).await.expect(69);
    assert!(ended.err.contains("patch widgets.example.org"), "{ended:?}");
    assert_eq!(site.stored().await, stored);
    // List and patch are enough, whoever changes an object meanwhile.
    let ended = run(&["--resource", "secrets", "--resource", "configmaps"]).await;
    ended.expect(0);
}

tests! {
    multi what_admission_refuses_is_named_and_the_rest_is_written [Vault, Kubernetes];
    multi an_object_that_cannot_be_read_is_named_and_other_namespaces_are_written [Vault, Kubernetes];
    multi missing_permissions_are_named_before_anything_is_written [Vault, Kubernetes];
}

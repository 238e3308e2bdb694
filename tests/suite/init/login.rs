//! Each login method, from `init` to a daemon that is ready.

use std::fs;

use rcgen::KeyPair;
use serde_json::json;

use super::Site;
use crate::authentication::signed;
use crate::harness::certificates::Certificates;
use crate::harness::kubernetes::{Etcd, KubeApiserver};
use crate::harness::vault::Vault;
use crate::tls::vault_with_tls;

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const SERVICE_ACCOUNT: &str = "system:serviceaccount:kube-system:vault-kms-plugin";

/// Sets Vault up, and once more: the second time everything is kept.
async fn set_up_twice(site: &Site, vault: &Vault) {
    let first = site.set_up(vault, "").await;
    assert!(first.contains("enabled the Transit engine"), "{first}");
    assert!(first.contains("created the key"), "{first}");
    let second = site.set_up(vault, "").await;
    assert!(
        second.lines().all(|line| line.starts_with("kept ")),
        "{second}"
    );
}

async fn the_version_of_the_key_is_one(vault: &Vault) {
    let key = vault.expect("GET", "transit/keys/kms", None).await;
    assert_eq!(key["data"]["latest_version"], 1);
    assert_eq!(key["data"]["deletion_allowed"], false);
    assert_eq!(key["data"]["exportable"], false);
}

async fn a_token() {
    let vault = Vault::start().await;
    let site = Site::new(
        &vault.address(),
        &["--platform", "systemd", "--auth", "token"],
    );
    set_up_twice(&site, &vault).await;
    the_version_of_the_key_is_one(&vault).await;
    let said = site.set_up(&vault, "node cp-1").await;
    let token = site.file("nodes/cp-1/token");
    assert!(!said.contains(&token), "a secret was printed");
    let _daemon = site.ready().await;
    // A second token for the same name would leave the first one behind.
    let refused = site.set_up_fails(&vault, &["node", "cp-1"]);
    assert!(refused.contains("nodes/cp-1 exists"), "{refused}");
    assert_eq!(site.file("nodes/cp-1/token"), token);
    site.set_up(&vault, "node cp-2").await;
    assert_ne!(site.file("nodes/cp-2/token"), token);
    // The accessor revokes this one, and no other.
    let accessor = site.file("nodes/cp-1/accessor");
    let body = json!({ "accessor": accessor });
    let path = "auth/token/revoke-accessor";
    vault.expect("POST", path, Some(body)).await;
    let lookup = json!({ "token": token });
    let (code, _) = vault
        .request("POST", "auth/token/lookup", Some(lookup))
        .await;
    assert_ne!(code, 200);
}

async fn an_approle() {
    let vault = Vault::start().await;
    let arguments = ["--platform", "kubeadm", "--auth", "approle"];
    let site = Site::new(&vault.address(), &arguments);
    set_up_twice(&site, &vault).await;
    site.set_up(&vault, "node cp-1").await;
    site.set_up(&vault, "node cp-2").await;
    assert_ne!(
        site.file("nodes/cp-1/secret-id"),
        site.file("nodes/cp-2/secret-id")
    );
    site.ready().await;
}

async fn a_user_with_other_names_everywhere() {
    let vault = Vault::start().await;
    let arguments = [
        "--platform",
        "static-pod",
        "--auth",
        "userpass",
        "--auth-mount",
        "team/users",
        "--username",
        "kms.user",
        "--policy",
        "kms-policy",
        "--mount",
        "team/transit",
        "--key",
        "blue_1",
    ];
    let site = Site::new(&vault.address(), &arguments);
    set_up_twice(&site, &vault).await;
    site.set_up(&vault, "node cp-1").await;
    let daemon = site.ready().await;
    let status = crate::harness::kms::KmsClient::connect(daemon.socket())
        .status()
        .await
        .unwrap();
    assert!(
        status
            .key_id
            .starts_with("transit1::team%2Ftransit:blue_1:v1:"),
        "{}",
        status.key_id
    );
}

async fn a_jwt() {
    let vault = Vault::start().await;
    let site = Site::new(&vault.address(), &["--platform", "k3s", "--auth", "jwt"]);
    let missing = site.set_up_fails(&vault, &[]);
    assert!(
        missing.contains("sa.pub is missing beside this file"),
        "{missing}"
    );
    let key = KeyPair::generate().unwrap();
    site.write("sa.pub", &key.public_key_pem());
    site.set_up(&vault, "").await;
    let again = site.set_up(&vault, "").await;
    assert!(!again.contains("wrote"), "{again}");
    fs::create_dir_all(site.path("nodes/cp-1")).unwrap();
    let jwt = signed(&key, ISSUER, SERVICE_ACCOUNT, "vault");
    site.write("nodes/cp-1/jwt", &jwt);
    site.ready().await;
}

async fn a_service_account_that_kube_apiserver_reviews() {
    let etcd = Etcd::start().await;
    let kubernetes = KubeApiserver::start(&etcd, None, None).await;
    let vault = Vault::start().await;
    let host = kubernetes.address();
    let arguments = [
        "--platform",
        "rke2",
        "--auth",
        "kubernetes",
        "--kubernetes-host",
        &host,
    ];
    let site = Site::new(&vault.address(), &arguments);
    for name in ["vault-kms-plugin", "vault-token-reviewer"] {
        kubernetes.create_service_account("kube-system", name).await;
    }
    kubernetes
        .bind_token_reviewer("kube-system", "vault-token-reviewer")
        .await;
    let reviewer = kubernetes
        .token_request("kube-system", "vault-token-reviewer", &[])
        .await;
    site.write("reviewer.jwt", &reviewer);
    site.write("kubernetes-ca.pem", &kubernetes.ca_pem());
    set_up_twice(&site, &vault).await;
    let token = kubernetes
        .token_request("kube-system", "vault-kms-plugin", &[])
        .await;
    fs::create_dir_all(site.path("nodes/cp-1")).unwrap();
    site.write("nodes/cp-1/jwt", &token);
    site.ready().await;
}

async fn a_certificate() {
    let certificates = Certificates::new();
    certificates.server("127.0.0.1");
    for kind in ["pem", "key"] {
        certificates.link(
            &format!("127.0.0.1.{kind}"),
            &format!("vault.example.{kind}"),
        );
    }
    certificates.client("cp-1");
    let (vault, _, address) = vault_with_tls(&certificates, "").await;
    let arguments = [
        "--platform",
        "k0s",
        "--auth",
        "cert",
        "--node-name",
        "cp-1,cp-2",
        "--ca-file",
        "/etc/vault-kms-plugin/ca.pem",
        "--mount",
        "kms-of-the-test",
    ];
    let site = Site::new(&address, &arguments);
    site.write("client-ca.pem", &certificates.ca_pem());
    set_up_twice(&site, &vault).await;
    fs::create_dir_all(site.path("nodes/cp-1")).unwrap();
    site.write("nodes/cp-1/ca.pem", &certificates.ca_pem());
    for (name, file) in [("cp-1.pem", "client.pem"), ("cp-1.key", "client.key")] {
        let to = site.path("nodes/cp-1").join(file);
        fs::copy(certificates.path(name), to).unwrap();
    }
    site.ready().await;
}

/// What exists and is another's stays as it is.
async fn what_exists_and_differs_is_an_error_and_stays() {
    let vault = Vault::start().await;
    let site = Site::new(
        &vault.address(),
        &["--platform", "systemd", "--auth", "approle"],
    );
    let policy = json!({ "policy": "path \"a\" { capabilities = [\"read\"] }" });
    let path = "sys/policies/acl/vault-kms-plugin";
    vault.expect("PUT", path, Some(policy.clone())).await;
    let refused = site.set_up_fails(&vault, &[]);
    assert!(
        refused.contains("the policy vault-kms-plugin exists and is not policy.hcl"),
        "{refused}"
    );
    let kept = vault.expect("GET", path, None).await;
    assert_eq!(kept["data"]["policy"], policy["policy"]);
    vault.expect("DELETE", path, None).await;

    let mount = json!({ "type": "userpass" });
    vault.expect("POST", "sys/auth/approle", Some(mount)).await;
    let refused = site.set_up_fails(&vault, &[]);
    assert!(
        refused.contains("approle is an auth method of type userpass"),
        "{refused}"
    );
    vault.expect("DELETE", "sys/auth/approle", None).await;
    let mount = json!({ "type": "approle" });
    vault.expect("POST", "sys/auth/approle", Some(mount)).await;
    let role = json!({ "token_policies": "default" });
    let path = "auth/approle/role/vault-kms-plugin";
    vault.expect("POST", path, Some(role)).await;
    let refused = site.set_up_fails(&vault, &[]);
    assert!(
        refused.contains("has token_policies [default] instead of"),
        "{refused}"
    );

    let engine = json!({ "type": "kv" });
    let other = [
        "--platform",
        "systemd",
        "--auth",
        "token",
        "--mount",
        "kv-of-others",
    ];
    let site = Site::new(&vault.address(), &other);
    vault
        .expect("POST", "sys/mounts/kv-of-others", Some(engine))
        .await;
    let refused = site.set_up_fails(&vault, &[]);
    assert!(refused.contains("is an engine of type kv"), "{refused}");

    vault.enable_transit("derived").await;
    let key = json!({ "derived": true });
    vault.expect("POST", "derived/keys/kms", Some(key)).await;
    let other = [
        "--platform",
        "systemd",
        "--auth",
        "token",
        "--mount",
        "derived",
    ];
    let site = Site::new(&vault.address(), &other);
    let refused = site.set_up_fails(&vault, &[]);
    assert!(refused.contains("derived/keys/kms is derived"), "{refused}");

    let key = json!({ "type": "ed25519" });
    vault.expect("POST", "derived/keys/signs", Some(key)).await;
    let site = Site::new(
        &vault.address(),
        &[&other[..], &["--key", "signs"]].concat(),
    );
    let refused = site.set_up_fails(&vault, &[]);
    assert!(
        refused.contains("derived/keys/signs is of type ed25519"),
        "{refused}"
    );
}

/// Who may log in is compared, too: a role with the right policy may be open to others.
async fn a_login_that_is_open_to_others_is_an_error() {
    let vault = Vault::start().await;
    let site = Site::new(&vault.address(), &["--platform", "k3s", "--auth", "jwt"]);
    let [own, other] = [(); 2].map(|()| KeyPair::generate().unwrap().public_key_pem());
    site.write("sa.pub", &own);
    site.set_up(&vault, "").await;
    let role = "auth/jwt/role/vault-kms-plugin";
    for (field, value, text) in [
        ("bound_subject", "", "has bound_subject  instead of system:"),
        (
            "bound_audiences",
            "vault,other",
            "has bound_audiences [vault other]",
        ),
    ] {
        let before = vault.expect("GET", role, None).await["data"].clone();
        let mut changed = before.clone();
        changed[field] = json!(value);
        vault.expect("POST", role, Some(changed)).await;
        let refused = site.set_up_fails(&vault, &[]);
        assert!(refused.contains(text), "{refused}");
        vault.expect("POST", role, Some(before)).await;
    }
    site.set_up(&vault, "").await;
    // While the key of the cluster is replaced, Vault trusts two.
    let config =
        |keys: &[&String]| json!({ "jwt_validation_pubkeys": keys, "bound_issuer": ISSUER });
    let path = "auth/jwt/config";
    vault
        .expect("POST", path, Some(config(&[&other, &own])))
        .await;
    site.set_up(&vault, "").await;
    vault.expect("POST", path, Some(config(&[&other]))).await;
    let refused = site.set_up_fails(&vault, &[]);
    assert!(
        refused.contains("does not trust the key in sa.pub"),
        "{refused}"
    );

    let arguments = ["--platform", "systemd", "--auth", "approle"];
    let site = Site::new(&vault.address(), &arguments);
    site.set_up(&vault, "").await;
    let open = json!({ "bind_secret_id": false, "token_bound_cidrs": "127.0.0.0/8" });
    let role = "auth/approle/role/vault-kms-plugin";
    vault.expect("POST", role, Some(open)).await;
    let refused = site.set_up_fails(&vault, &[]);
    assert!(
        refused.contains("has bind_secret_id false instead of true"),
        "{refused}"
    );
}

/// The shell of an operator has variables that other programs need.
async fn the_environment_of_the_operator_changes_nothing() {
    let vault = Vault::start().await;
    let arguments = ["--platform", "systemd", "--auth", "token"];
    let site = Site::new(&vault.address(), &arguments);
    let root = site.dir.path();
    fs::create_dir_all(root.join("elsewhere/files")).unwrap();
    fs::write(root.join("ca.pem"), Certificates::new().ca_pem()).unwrap();
    let elsewhere = root.join("elsewhere").display().to_string();
    let variables = [
        ("CDPATH", elsewhere.as_str()),
        ("VAULT_FORMAT", "json"),
        ("BAO_FORMAT", "json"),
        ("VAULT_WRAP_TTL", "60s"),
        ("BAO_WRAP_TTL", "60s"),
        ("VAULT_CACERT", "ca.pem"),
        ("BAO_CACERT", "ca.pem"),
    ];
    for arguments in ["", "", "node cp-1"] {
        let command = format!("sh files/vault-setup.sh {arguments}");
        let ended = site.shell(&vault, &variables, &command);
        assert!(ended.status.success(), "{}", super::text(&ended.stderr));
    }
    site.ready().await;
    // What is made in another namespace than the plugin uses would not be found.
    let inherited = [("VAULT_NAMESPACE", "admin")];
    let ended = site.shell(&vault, &inherited, "sh files/vault-setup.sh");
    let said = super::text(&ended.stderr);
    assert!(!ended.status.success());
    assert!(
        said.contains("the environment names the namespace admin"),
        "{said}"
    );
}

/// Where a credential cannot be stored, none is left: neither half of it there, nor an unknown one in Vault.
async fn a_credential_that_cannot_be_stored_is_taken_back() {
    let vault = Vault::start().await;
    for (auth, listed) in [
        ("token", "auth/token/accessors"),
        ("approle", "auth/approle/role/vault-kms-plugin/secret-id"),
        ("userpass", "auth/userpass/users"),
    ] {
        let site = Site::new(&vault.address(), &["--platform", "systemd", "--auth", auth]);
        site.set_up(&vault, "").await;
        let before = vault.request("LIST", listed, None).await;
        // As on a full disk: a file can be made, and nothing written.
        let full = "trap '' XFSZ; ulimit -f 0; sh files/vault-setup.sh node cp-1";
        let ended = site.shell(&vault, &[], full);
        assert!(!ended.status.success(), "{auth}");
        let said = super::text(&ended.stderr);
        assert!(said.contains("nothing of it is kept"), "{said}");
        assert!(!site.path("nodes/cp-1").exists(), "{auth}: {said}");
        let after = vault.request("LIST", listed, None).await;
        assert_eq!(after.0, before.0, "{auth}");
        assert_eq!(after.1["data"], before.1["data"], "{auth}");
        site.set_up(&vault, "node cp-1").await;
        site.ready().await;
    }
}

async fn a_vault_that_refuses_is_not_taken_for_an_empty_one() {
    let vault = Vault::start().await;
    let site = Site::new(
        &vault.address(),
        &["--platform", "systemd", "--auth", "token"],
    );
    let wrong = ["VAULT_TOKEN", "BAO_TOKEN"].map(|name| (name, "not-a-token"));
    let ended = site.shell(&vault, &wrong, "sh files/vault-setup.sh");
    let said = super::text(&ended.stderr);
    assert!(!ended.status.success());
    assert!(said.contains("permission denied"), "{said}");
    assert!(ended.stdout.is_empty(), "something was done");
}

tests! {
    single a_token [Vault];
    single an_approle [Vault];
    single a_user_with_other_names_everywhere [Vault];
    single a_jwt [Vault];
    single a_service_account_that_kube_apiserver_reviews [Vault, Kubernetes];
    single a_certificate [Vault];
    single what_exists_and_differs_is_an_error_and_stays [Vault];
    single a_login_that_is_open_to_others_is_an_error [Vault];
    single the_environment_of_the_operator_changes_nothing [Vault];
    single a_credential_that_cannot_be_stored_is_taken_back [Vault];
    single a_vault_that_refuses_is_not_taken_for_an_empty_one [Vault];
}

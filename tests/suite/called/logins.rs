//! Secrets in arguments and variables log in as they did, and appear nowhere.

use serde_json::json;

use super::super::authentication::approle::AppRole;
use super::super::harness::vault::Vault;
use super::{Site, admin, kubernetes_kms, stopped, works};
use crate::harness::child::free_port;

async fn a_role_id_and_a_secret_id_in_arguments_log_in() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let role = AppRole::new(vault, &fixture, json!({})).await;
    let site = Site::new("vault-kubernetes-kms");
    let socket = site.path("kms.sock");
    let mut arguments = kubernetes_kms(vault, &fixture, &socket);
    arguments.extend([
        "-auth-method=AppRole".to_owned(),
        format!("-approle-mount={}", role.mount),
        format!("-approle-role-id={}", role.role_id),
        format!("-approle-secret-id={}", role.secret_id),
    ]);
    let mut child = site.start(&arguments, &[admin()]);
    works(&socket).await;
    let log = child.log();
    assert!(
        !log.contains(&role.secret_id) && !log.contains(&role.role_id),
        "{log}"
    );
    stopped(&mut child).await;
}

async fn a_password_in_a_variable_logs_in() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let mount = format!("userpass-{}", fixture.mount);
    vault.enable_auth("userpass", &mount).await;
    let user = json!({ "password": "pa55word", "token_policies": [fixture.policy] });
    vault
        .expect("POST", &format!("auth/{mount}/users/kms"), Some(user))
        .await;
    for (name, variables) in [
        (
            "vault-kubernetes-kms",
            vec![
                ("VAULT_KMS_VAULT_ADDR", vault.address()),
                ("VAULT_KMS_TRANSIT_MOUNT", fixture.mount.clone()),
                ("VAULT_KMS_HEALTH_PORT", free_port().to_string()),
                ("VAULT_KMS_AUTH_METHOD", "userpass".to_owned()),
                ("VAULT_KMS_USERPASS_MOUNT", mount.clone()),
                ("VAULT_KMS_USERPASS_USERNAME", "kms".to_owned()),
                ("VAULT_KMS_USERPASS_PASSWORD", "pa55word".to_owned()),
            ],
        ),
        (
            "vault-kms-provider",
            vec![
                ("VAULT_ADDRESS", vault.address()),
                ("VAULT_TRANSIT_MOUNT", fixture.mount.clone()),
                ("VAULT_TRANSIT_KEY", fixture.key.clone()),
                ("HTTP_ADDRESS", format!("127.0.0.1:{}", free_port())),
                ("VAULT_AUTH_MOUNT", mount.clone()),
                ("VAULT_USER", "kms".to_owned()),
                ("VAULT_PASSWORD", "pa55word".to_owned()),
            ],
        ),
    ] {
        let site = Site::new(name);
        let socket = site.path("kms.sock");
        let (of_socket, value) = if name == "vault-kms-provider" {
            ("SOCKET_PATH", socket.display().to_string())
        } else {
            ("VAULT_KMS_SOCKET", format!("unix://{}", socket.display()))
        };
        let mut all = vec![admin(), (of_socket, value)];
        all.extend(variables);
        let mut child = site.start(&[], &all);
        works(&socket).await;
        assert!(!child.log().contains("pa55word"), "{}", child.log());
        stopped(&mut child).await;
    }
}

tests! {
    multi a_role_id_and_a_secret_id_in_arguments_log_in [Vault];
    multi a_password_in_a_variable_logs_in [Vault];
}

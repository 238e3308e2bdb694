//! Secrets in arguments and variables log in as they did, and appear nowhere.

use serde_json::json;

use super::super::authentication::approle::AppRole;
use super::super::harness::certificates::Certificates;
use super::super::harness::vault::Vault;
use super::super::tls::vault_with_tls;
use super::{Site, admin, kubernetes_kms, stopped, works};
use crate::LIMIT;
use crate::harness::child::free_port;
use crate::harness::wait;

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

async fn our_own_variables_take_precedence_over_the_plugins_settings() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let site = Site::new("vault-kubernetes-kms");
    let socket = site.path("kms.sock");
    let mut arguments = kubernetes_kms(vault, &fixture, &socket);
    arguments
        .extend(["-auth-method=token", "-token=wrong", "-transit-key=wrong"].map(str::to_owned));
    let token = site.write("token", &fixture.token);
    let variables = [
        admin(),
        (
            "VAULT_KMS_PLUGIN_AUTH_TOKEN_FILE",
            token.display().to_string(),
        ),
        ("VAULT_KMS_PLUGIN_TRANSIT_KEY", fixture.key.clone()),
    ];
    let mut child = site.start(&arguments, &variables);
    works(&socket).await;
    stopped(&mut child).await;
}

/// The plugin would have gone on without a word.
async fn a_certificate_that_was_not_verified_is_an_error_that_names_the_ca() {
    let certificates = Certificates::new();
    certificates.server("127.0.0.1");
    for kind in ["pem", "key"] {
        certificates.link(
            &format!("127.0.0.1.{kind}"),
            &format!("vault.example.{kind}"),
        );
    }
    let (_vault, fixture, address) = vault_with_tls(&certificates, "").await;
    let site = Site::new("vault-kms-provider");
    let socket = site.path("kms.sock");
    let variables = |more: &[(&'static str, String)]| {
        let mut all = vec![
            admin(),
            ("HTTP_ADDRESS", format!("127.0.0.1:{}", free_port())),
            ("SOCKET_PATH", socket.display().to_string()),
            ("SOCKET_PERMISSIONS", "600".to_owned()),
            ("VAULT_ADDRESS", address.clone()),
            ("VAULT_TRANSIT_MOUNT", fixture.mount.clone()),
            ("VAULT_TRANSIT_KEY", fixture.key.clone()),
            ("VAULT_TOKEN", fixture.token.clone()),
            ("VAULT_SKIP_VERIFY", "true".to_owned()),
        ];
        all.extend(more.to_vec());
        all
    };
    let mut child = site.start(&[], &variables(&[]));
    wait::until_true("the failed login", LIMIT, async || {
        let log = child.log();
        log.contains("login to Vault failed") && log.contains("vault.ca_file")
    })
    .await;
    let warning = "VAULT_SKIP_VERIFY: is not kept: the certificate of Vault is always verified";
    assert!(child.log().contains(warning), "{}", child.log());
    assert!(
        child
            .log()
            .contains("name the CA with VAULT_CA_CERT (vault.ca_file)")
    );
    stopped(&mut child).await;
    let ca = site.write("ca.pem", &certificates.ca_pem());
    let mut child = site.start(
        &[],
        &variables(&[("VAULT_CA_CERT", ca.display().to_string())]),
    );
    works(&socket).await;
    stopped(&mut child).await;
}

tests! {
    multi our_own_variables_take_precedence_over_the_plugins_settings [Vault];
    multi a_certificate_that_was_not_verified_is_an_error_that_names_the_ca [Vault];
    multi a_role_id_and_a_secret_id_in_arguments_log_in [Vault];
    multi a_password_in_a_variable_logs_in [Vault];
}

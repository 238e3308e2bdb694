//! What `check` does not use up: secret_ids, wrapping tokens, and tokens of operators.

use serde_json::json;

use super::super::authentication::approle::AppRole;
use super::super::authentication::wrapped::wrapped;
use super::super::daemon_at;
use super::super::harness::proxy::Proxy;
use super::super::harness::vault::Vault;
use super::proven;

const REVOKE: &str = "/v1/auth/token/revoke-self";
const UNWRAP: &str = "/v1/sys/wrapping/unwrap";

async fn a_secret_id_with_one_use_is_used_only_with_login() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let role = AppRole::new(vault, &fixture, json!({ "secret_id_num_uses": 1 })).await;
    let proxy = Proxy::start(vault.socket_address());
    let builder = || role.daemon(&proxy.address(), &fixture).0;
    for (more, code) in [(&[][..], 0), (&["--strict"], 1)] {
        let said = proven(builder(), more).await;
        said.ends_with(code).says(
            "! login: skipped, with all later steps: a login may consume a use of the secret_id",
        );
        assert!(!said.text.contains(&role.secret_id), "{}", said.text);
    }
    assert_eq!(proxy.count(&role.login_path()), 0);
    // It is not used yet; the token of the check's login is revoked.
    let said = proven(builder(), &["--login"]).await;
    said.ends_with(0)
        .says("✓ login: by approle")
        .says("✓ round trip: ");
    let counts = (proxy.count(&role.login_path()), proxy.count(REVOKE));
    assert_eq!(counts, (1, 1));
    let said = proven(builder(), &["--login"]).await;
    let remedy = "put a role_id and secret_id that Vault knows";
    said.ends_with(69).names("login by approle failed", remedy);
}

async fn a_wrong_password_counts_towards_no_lockout() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let users = format!("users-{}", fixture.mount.replace('/', "-"));
    vault.enable_auth("userpass", &users).await;
    let path = format!("auth/{users}/users/plugin");
    let user = json!({ "password": "right", "token_policies": [fixture.policy] });
    vault.expect("POST", &path, Some(user)).await;
    let proxy = Proxy::start(vault.socket_address());
    let builder = |password: &str| {
        let builder = daemon_at(&proxy.address(), &fixture);
        let file = builder.write_file("password", password);
        builder.extra(&format!(
            "[auth]\nmethod = \"userpass\"\nmount = \"{users}\"\nusername = \"plugin\"\n\
             password_file = {file:?}"
        ))
    };
    // Vault locks the user after five.
    for _ in 0..6 {
        let said = proven(builder("wrong"), &[]).await;
        said.ends_with(0).says(
            "! login: skipped, with all later steps: a login may count towards a lockout of the user",
        );
    }
    let said = proven(builder("right"), &["--login"]).await;
    said.ends_with(0).says("✓ login: by userpass");
    assert_eq!(proxy.count(&format!("/v1/auth/{users}/login/plugin")), 1);
}

async fn a_wrapped_secret_id_is_only_looked_up() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let role = AppRole::new(vault, &fixture, json!({})).await;
    let path = format!("auth/{}/role/plugin/secret-id", role.mount);
    let token = wrapped(vault, &path).await;
    let proxy = Proxy::start(vault.socket_address());
    let builder = |token: &str| {
        let builder = daemon_at(&proxy.address(), &fixture);
        let file = builder.write_file("wrapping-token", token);
        builder.extra(&format!(
            "[auth]\nmethod = \"approle\"\nmount = \"{}\"\nrole = \"plugin\"\nrole_id = \"{}\"\n\
             wrapped_secret_id_file = {file:?}",
            role.mount, role.role_id
        ))
    };
    let said = proven(builder(&token), &[]).await;
    said.ends_with(0)
        .says("holds a secret_id of role \"plugin\"; it was looked up and not unwrapped")
        .says("! login: skipped, with all later steps: a login may unwrap the secret_id");
    assert!(!said.text.contains(&token), "{}", said.text);
    let counts = (proxy.count(UNWRAP), proxy.count(&role.login_path()));
    assert_eq!(counts, (0, 0));
    // It can still be unwrapped, once; then that is reported.
    let said = proven(builder(&token), &["--login"]).await;
    said.ends_with(0).says("✓ round trip: ");
    let said = proven(builder(&token), &[]).await;
    said.ends_with(69).names(
        "is spent or expired",
        "put a new wrapping token into the file",
    );
    let other = wrapped(vault, "auth/token/create").await;
    let said = proven(builder(&other), &["--login"]).await;
    said.ends_with(69).names(
        "was made by \"auth/token/create\"",
        "find out who put it there",
    );
}

async fn a_token_of_an_operator_is_not_revoked() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let proxy = Proxy::start(vault.socket_address());
    for _ in 0..2 {
        let builder = daemon_at(&proxy.address(), &fixture).token(&fixture.token);
        let said = proven(builder, &[]).await;
        let line = "✓ token: expires in 60 minutes, renewable, policies default, ";
        said.ends_with(0).says(line);
        assert!(!said.text.contains(&fixture.token), "{}", said.text);
    }
    assert_eq!(proxy.count(REVOKE), 0);
}

async fn root_unwraps_nothing_into_a_directory_of_another_user() {
    let vault = Vault::shared().await;
    let fixture = vault.fixture().await;
    let role = AppRole::new(vault, &fixture, json!({})).await;
    let path = format!("auth/{}/role/plugin/secret-id", role.mount);
    let token = wrapped(vault, &path).await;
    let proxy = Proxy::start(vault.socket_address());
    let builder = daemon_at(&proxy.address(), &fixture);
    let file = builder.write_file("wrapping-token", &token);
    let state = builder.dir().join("state");
    std::fs::create_dir(&state).unwrap();
    std::os::unix::fs::chown(&state, Some(60790), Some(60790)).unwrap();
    let builder = builder.extra(&format!(
        "[state]\ndir = {state:?}\n[auth]\nmethod = \"approle\"\nmount = \"{}\"\n\
         role = \"plugin\"\nrole_id = \"{}\"\nwrapped_secret_id_file = {file:?}",
        role.mount, role.role_id
    ));
    let said = proven(builder, &["--login"]).await;
    said.ends_with(69)
        .names("belongs to user 60790", "run this as that user");
    assert_eq!(proxy.count(UNWRAP), 0);
}

tests! {
    single root_unwraps_nothing_into_a_directory_of_another_user [Vault, Root];
    single a_secret_id_with_one_use_is_used_only_with_login [Vault];
    single a_wrapped_secret_id_is_only_looked_up [Vault];
    single a_wrong_password_counts_towards_no_lockout [Vault];
    single a_token_of_an_operator_is_not_revoked [Vault];
}

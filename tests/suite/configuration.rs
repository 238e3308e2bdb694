//! An invalid configuration ends the daemon with 78 before anything is opened, and all errors are
//! shown at once; `check` shows the same. Under `configuration/` there is one file per case: the
//! TOML with the expected errors.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::LIMIT;
use super::check::checked;
use super::harness::certificates::Certificates;
use super::harness::daemon::{Builder, Daemon};

async fn all_errors_are_shown_at_once_with_their_keys() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/configuration");
    let mut seen = 0;
    for entry in fs::read_dir(&cases).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            rejected(&path).await;
            seen += 1;
        }
    }
    assert_eq!(seen, 18, "of the files in {}", cases.display());
}

/// The errors of a case: the lines that begin with `#!` are causes, and a line that begins with `#>`
/// is the remedy of the cause before it.
fn expected_errors(toml: &str) -> Vec<(&str, Option<&str>)> {
    let mut errors = Vec::new();
    for line in toml.lines() {
        if let Some(cause) = line.strip_prefix("#! ") {
            errors.push((cause, None));
        } else if let Some(remedy) = line.strip_prefix("#> ") {
            errors.last_mut().expect("a cause").1 = Some(remedy);
        }
    }
    errors
}

async fn rejected(case: &Path) {
    let toml = fs::read_to_string(case).unwrap();
    let daemon = Daemon::builder().config(&toml).spawn_raw();
    let code = daemon.wait_exit(LIMIT).await;
    let log = daemon.log();
    assert_eq!(code, 78, "{}: {log}", case.display());
    let logged: Vec<&str> = log.lines().skip(1).collect();
    let expected = expected_errors(&toml);
    for (cause, remedy) in &expected {
        let error = match remedy {
            Some(remedy) => format!("{cause}; {remedy}"),
            None => (*cause).to_owned(),
        };
        assert!(
            logged.contains(&error.as_str()),
            "{}: no {error:?} in {logged:#?}",
            case.display()
        );
    }
    assert_eq!(
        logged.len(),
        expected.len(),
        "{}: {logged:#?}",
        case.display()
    );
    assert!(!daemon.socket().exists(), "a socket was opened");
    let (code, lines) = checked(Daemon::builder().config(&toml)).await;
    assert_eq!(code, 78, "{}: {lines:?}", case.display());
    // `check` shows them in the order of the log.
    let position = |cause: &str| logged.iter().position(|line| line.starts_with(cause));
    let mut in_order = expected;
    in_order.sort_by_key(|(cause, _)| position(cause));
    let steps = in_order.into_iter().flat_map(|(cause, remedy)| {
        let remedy =
            remedy.unwrap_or("correct that in the configuration file, or in the environment");
        [format!("✗ configuration: {cause}"), format!("    {remedy}")]
    });
    assert_eq!(lines, steps.collect::<Vec<_>>(), "{}", case.display());
}

async fn a_missing_file_is_named() {
    let missing = "/nonexistent/config.toml";
    let builder = Daemon::builder().arguments(&["serve", "--config", missing]);
    let daemon = builder.spawn_raw();
    assert_eq!(daemon.wait_exit(LIMIT).await, 78);
    assert!(daemon.log().contains(missing), "{}", daemon.log());
}

async fn invalid_toml_is_reported_with_line_and_column() {
    let daemon = Daemon::builder().config("[vault]\naddress =\n").spawn_raw();
    assert_eq!(daemon.wait_exit(LIMIT).await, 78);
    let expected = "config.toml: invalid TOML: TOML parse error at line 2, column 10";
    assert!(daemon.log().contains(expected), "{}", daemon.log());
}

async fn wrong_usage_ends_with_64() {
    let daemon = Daemon::builder()
        .arguments(&["serve", "--nonsense"])
        .spawn_raw();
    assert_eq!(daemon.wait_exit(LIMIT).await, 64);
}

async fn skipping_tls_verification_is_rejected() {
    let builder = Daemon::builder()
        .vault("http://127.0.0.1:9")
        .transit("transit", "kms")
        .token("x")
        .env("VAULT_SKIP_VERIFY", "true");
    let daemon = builder.spawn_raw();
    assert_eq!(daemon.wait_exit(LIMIT).await, 78);
    assert!(
        daemon
            .log()
            .contains("VAULT_SKIP_VERIFY: TLS is always verified")
    );
}

async fn the_environment_alone_can_configure_the_daemon() {
    let builder = Daemon::builder();
    let socket = builder.socket().to_str().unwrap().to_owned();
    let admin = builder.admin_address().to_owned();
    let daemon = builder
        .arguments(&["serve"])
        .env("VAULT_ADDR", "http://127.0.0.1:9")
        .env("VAULT_TOKEN", "x")
        .env("VAULT_KMS_PLUGIN_TRANSIT_KEY", "kms")
        .env("VAULT_KMS_PLUGIN_SOCKET_PATH", &socket)
        .env("VAULT_KMS_PLUGIN_ADMIN_LISTEN", &admin)
        .spawn()
        .await;
    daemon
        .logged("a token in the environment is meant for testing only")
        .await;
}

async fn the_argument_names_the_file_wherever_it_is_and_whatever_the_variable_says() {
    let variable = "VAULT_KMS_PLUGIN_CONFIG";
    let shown = async |arguments: &[&str], value: &str| {
        let builder = Daemon::builder().arguments(arguments).env(variable, value);
        let check = builder.spawn_raw();
        assert_eq!(check.wait_exit(LIMIT).await, 78);
        check.log()
    };
    for arguments in [
        ["--config", "/nonexistent/a", "check", "--offline"],
        ["check", "--config", "/nonexistent/a", "--offline"],
        ["check", "--offline", "--config", "/nonexistent/a"],
    ] {
        for value in ["/nonexistent/b", ""] {
            let text = shown(&arguments, value).await;
            assert!(text.contains(" /nonexistent/a: cannot be read"), "{text}");
        }
    }
    let text = shown(&["check", "--offline"], "/nonexistent/b").await;
    assert!(text.contains(" /nonexistent/b: cannot be read"), "{text}");
    let text = shown(&["check", "--offline"], "").await;
    assert!(text.contains("vault.address: is missing"), "{text}");
}

async fn check_names_the_variables_that_it_used() {
    let config = "[vault]\nca_file = \"/nonexistent\"\n";
    let builder = Daemon::builder().config(config);
    let (_, lines) = checked(
        builder
            .env("VAULT_KMS_PLUGIN_SOCKET_ALLOW_UIDS", "0, 1000")
            .env(
                "VAULT_KMS_PLUGIN_VAULT_ADDRESS",
                "https://a.invalid,https://b.invalid",
            )
            .env("VAULT_KMS_PLUGIN_TRANSIT_DECRYPT_ALSO", "old,team/older")
            .env("VAULT_KMS_PLUGIN_TRANSIT_KEY", "kms")
            .env("VAULT_KMS_PLUGIN_TRANSIT_MOUNT", "")
            .env("VAULT_ADDR", "https://c.invalid")
            .env("VAULT_CAPATH", "/etc/ssl")
            .env("BAO_NAMESPACE", "team")
            .env("BAO_TOKEN", "x")
            .env("HTTP_PROXY", "proxy.invalid")
            .env("HTTPS_PROXY", "proxy.invalid")
            .env("NO_PROXY", "b.invalid"),
    )
    .await;
    let in_this_shell = |sets: &str| {
        format!("! environment: {sets} in this shell, and the service may not have it")
    };
    let expected = [
        in_this_shell("BAO_NAMESPACE sets vault.namespace to team"),
        in_this_shell("BAO_TOKEN sets token"),
        in_this_shell("HTTPS_PROXY sets proxy"),
        in_this_shell("NO_PROXY sets proxy to b.invalid"),
        "✓ environment: VAULT_KMS_PLUGIN_SOCKET_ALLOW_UIDS sets socket.allow_uids to 0, 1000".to_owned(),
        "✓ environment: VAULT_KMS_PLUGIN_TRANSIT_DECRYPT_ALSO sets transit.decrypt_also to old,team/older".to_owned(),
        "✓ environment: VAULT_KMS_PLUGIN_TRANSIT_KEY sets transit.key to kms".to_owned(),
        "✓ environment: VAULT_KMS_PLUGIN_VAULT_ADDRESS sets vault.address to https://a.invalid,https://b.invalid".to_owned(),
    ];
    let environment = lines.iter().filter(|line| line.contains(" environment: "));
    assert!(environment.eq(expected.iter()), "{lines:#?}");
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// A valid configuration, and a directory of its own for a file.
fn with_files() -> (Builder, TempDir) {
    let builder = Daemon::builder()
        .vault("https://vault.invalid:8200")
        .transit("transit", "kms")
        .token("x");
    (builder, tempfile::tempdir().unwrap())
}

/// The daemon does not start, `check` says the same, and a reload is rejected.
async fn is_refused(extra: &str, cause: &str, remedy: &str) {
    let daemon = with_files().0.extra(extra).spawn_raw();
    assert_eq!(daemon.wait_exit(LIMIT).await, 78, "{cause}");
    let expected = format!("{cause}; {remedy}");
    assert!(daemon.log().contains(&expected), "{}", daemon.log());
    let (code, lines) = checked(with_files().0.extra(extra)).await;
    if cause.contains("belongs to") {
        // As root it does not know the user of the daemon.
        assert_eq!((code, lines.len()), (0, 1), "{lines:?}");
    } else {
        let steps = [format!("✗ configuration: {cause}"), format!("    {remedy}")];
        assert_eq!((code, lines), (78, steps.to_vec()));
    }
    let daemon = with_files().0.spawn().await;
    daemon.change_config(extra);
    daemon.signal(rustix::process::Signal::HUP);
    daemon.logged("configuration rejected").await;
    assert!(daemon.log().contains(&expected), "{}", daemon.log());
}

async fn a_ca_that_others_can_change_is_refused() {
    let certificates = Certificates::new();
    let (_, dir) = with_files();
    let inner = dir.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let (file, link) = (inner.join("ca.pem"), dir.path().join("link.pem"));
    fs::write(&file, certificates.ca_pem()).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let ca_file = format!("[vault]\nca_file = {link:?}");
    let ca_dir = format!("[vault]\nca_dir = {inner:?}");
    for (keys, key) in [(&ca_file, "vault.ca_file"), (&ca_dir, "vault.ca_dir")] {
        set_mode(&inner, 0o755);
        set_mode(&file, 0o646);
        let shown = file.display();
        let cause = format!("{key}: {shown} has mode 0646: every user can change it");
        is_refused(keys, &cause, &format!("chmod go-w {shown}")).await;
        chown(&file, Some(0), Some(1)).unwrap();
        set_mode(&file, 0o664);
        let cause = format!("{key}: {shown} has mode 0664: group 1 can change it");
        is_refused(keys, &cause, &format!("chmod g-w {shown}")).await;
        set_mode(&file, 0o644);
        chown(&file, Some(4242), Some(0)).unwrap();
        let cause = format!("{key}: {shown} belongs to uid 4242, who can change it");
        is_refused(keys, &cause, &format!("chown root {shown}")).await;
        chown(&file, Some(0), Some(0)).unwrap();
        set_mode(&inner, 0o777);
        let shown = inner.display();
        let cause = format!("{key}: {shown} has mode 0777: every user can replace what is in it");
        is_refused(keys, &cause, &format!("chmod go-w {shown}")).await;
    }
    // In a directory such as /tmp others cannot replace it.
    set_mode(&inner, 0o1777);
    let (code, lines) = checked(with_files().0.extra(&ca_file)).await;
    assert_eq!((code, lines.len()), (0, 1), "{lines:?}");
}

async fn a_configuration_file_that_others_can_change_is_refused() {
    let (builder, dir) = with_files();
    let file = dir.path().join("config.toml");
    fs::write(&file, builder.config_text()).unwrap();
    set_mode(&file, 0o666);
    let arguments = ["serve", "--config", file.to_str().unwrap()];
    let daemon = builder.arguments(&arguments).spawn_raw();
    assert_eq!(daemon.wait_exit(LIMIT).await, 78);
    let shown = file.display();
    let expected = format!(
        "configuration file: {shown} has mode 0666: every user can change it; chmod go-w {shown}"
    );
    assert!(daemon.log().contains(&expected), "{}", daemon.log());
    let checked_after = |mount: &str, service: bool| {
        let script = format!("{mount} && shift && exec \"$@\"");
        let mut command = Command::new("unshare");
        super::harness::child::clean_environment(&mut command);
        if service {
            command.env("INVOCATION_ID", "0123456789abcdef0123456789abcdef");
        }
        let output = command
            .args(["-m", "sh", "-c", &script, "sh"])
            .arg(dir.path())
            .args([env!("CARGO_BIN_EXE_vault-kms-plugin"), "check", "--offline"])
            .arg("--config")
            .arg(&file)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    // A mount of its own does not keep others from the file, as in a service of systemd.
    let bind = "mount --bind \"$1\" \"$1\" && mount -o remount,ro,bind \"$1\"";
    let text = checked_after(bind, false);
    assert!(
        text.contains("has mode 0666: every user can change it"),
        "{text}"
    );
    // The directory of a ConfigMap has such a mode, below one of kubelet's.
    set_mode(&file, 0o644);
    set_mode(dir.path(), 0o777);
    let text = checked_after(bind, false);
    assert!(text.starts_with("✓ configuration: "), "{text}");
    let text = checked_after(bind, true);
    assert!(
        text.contains("every user can replace what is in it"),
        "{text}"
    );
    // On a read-only file system nobody can write.
    set_mode(&file, 0o666);
    let copied = "mkdir /mnt/kms-test-copy && cp -a \"$1\"/. /mnt/kms-test-copy && mount -t tmpfs none \"$1\" && \
                  cp -a /mnt/kms-test-copy/. \"$1\" && rm -r /mnt/kms-test-copy && mount -o remount,ro \"$1\"";
    let text = checked_after(copied, true);
    assert!(text.starts_with("✓ configuration: "), "{text}");
}

async fn a_credential_that_others_can_change_causes_a_warning() {
    let (builder, dir) = with_files();
    let file = dir.path().join("token");
    fs::write(&file, "x").unwrap();
    set_mode(&file, 0o620);
    chown(&file, None, Some(1)).unwrap();
    set_mode(dir.path(), 0o777);
    let state = tempfile::tempdir().unwrap();
    set_mode(state.path(), 0o775);
    chown(state.path(), None, Some(1)).unwrap();
    let extra = format!(
        "[auth]\ntoken_file = {file:?}\n[state]\ndir = {:?}",
        state.path()
    );
    let (token, dir, state) = (file.display(), dir.path().display(), state.path().display());
    let expected = [
        format!("auth.token_file: {token} has mode 0620: group 1 can change it; chmod g-w {token}"),
        format!(
            "auth.token_file: {dir} has mode 0777: every user can replace what is in it; \
             chmod go-w {dir}"
        ),
        format!(
            "state.dir: {state} has mode 0775: group 1 can replace what is in it; chmod g-w {state}"
        ),
    ];
    let daemon = builder.extra(&extra).spawn().await;
    for text in &expected {
        daemon.logged(text).await;
    }
    let (code, lines) = checked(with_files().0.extra(&extra)).await;
    let mut steps = expected.map(|text| format!("! configuration: {text}"));
    // Who the daemon runs as is not known here.
    let own = format!("chmod g-w {state}");
    let given = format!("let it belong to the plugin's user, then chmod go-w {state}");
    steps[2] = steps[2].replace(&own, &given);
    assert_eq!((code, &lines[1..]), (0, &steps[..]));
}

tests! {
    single a_ca_that_others_can_change_is_refused [Root];
    single a_configuration_file_that_others_can_change_is_refused [Mounts];
    single a_credential_that_others_can_change_causes_a_warning [Root];
    single the_argument_names_the_file_wherever_it_is_and_whatever_the_variable_says;
    single check_names_the_variables_that_it_used;
    single all_errors_are_shown_at_once_with_their_keys;
    single a_missing_file_is_named;
    single invalid_toml_is_reported_with_line_and_column;
    single wrong_usage_ends_with_64;
    single skipping_tls_verification_is_rejected;
    single the_environment_alone_can_configure_the_daemon;
}

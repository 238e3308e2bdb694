//! Exit codes, the version, the help, and errors that name what the user wrote.

use std::process::Output;

use super::Site;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn ended(output: &Output) -> (Option<i32>, String, String) {
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn the_version_is_that_of_the_name_on_stdout_with_0() {
    let expected = |name: &str| format!("{name} v{}\n", env!("CARGO_PKG_VERSION"));
    for name in ["vault-kubernetes-kms", "vault-kube-kms"] {
        for flag in ["-version", "--version"] {
            let (code, stdout, stderr) = ended(&Site::new(name).run(&[flag], &[]));
            assert_eq!(
                (code, stdout, stderr),
                (Some(0), expected(name), String::new())
            );
        }
    }
}

fn the_help_lists_every_flag_on_stderr_with_1() {
    let (code, stdout, stderr) = ended(&Site::new("vault-kubernetes-kms").run(&["-h"], &[]));
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(
        stderr.contains("-transit-key (VAULT_KMS_TRANSIT_KEY), by default kms"),
        "{stderr}"
    );
}

fn wrong_arguments_end_with_1_and_name_the_users_own_setting() {
    let common = [
        "-vault-address=https://v",
        "-auth-method=token",
        "-token=hvs.s3cret",
    ];
    for (arguments, expected) in [
        (
            &["-sokcet=unix:///x"][..],
            "-sokcet: is no flag of this plugin",
        ),
        (&["-debug=maybe"], "-debug: is neither true nor false"),
        (
            &["-disable-v1", "-disable-v2"],
            "-disable-v2: leaves no version of KMS",
        ),
        (&["-transit-key=a/b"], "transit.key (from -transit-key): "),
        (
            &["-vault-address=ftp://v"],
            "vault.address (from -vault-address): ",
        ),
        (&["-vault-ca-cert=/nonexistent/ca.pem"], "vault.ca_file"),
    ] {
        let site = Site::new("vault-kubernetes-kms");
        let all = [&common[..], arguments].concat();
        let (code, _, stderr) = ended(&site.run(&all, &[("VAULT_KMS_PLUGIN_ADMIN_LISTEN", "")]));
        assert_eq!(code, Some(1), "{arguments:?}: {stderr}");
        assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
        assert!(!stderr.contains("s3cret"), "{stderr}");
    }
    let (code, _, stderr) = ended(&Site::new("vault-kube-kms").run(&[], &[]));
    assert_eq!(code, Some(1));
    for name in [
        "-vault-address",
        "-vault-key-path",
        "-approle-role-id",
        "-approle-secret-id-path",
    ] {
        assert!(
            stderr.contains(&format!("{name} (VAULT_KUBE_KMS_")),
            "{stderr}"
        );
    }
    let (code, _, stderr) = ended(&Site::new("vault-kms-provider").run(&[], &[]));
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains("VAULT_TOKEN: neither it nor another credential is set"),
        "{stderr}"
    );
}

fn our_own_commands_are_still_there_and_check_reads_the_plugins_arguments() {
    let site = Site::new("vault-kubernetes-kms");
    let token = [
        "-vault-address=https://vault:8200",
        "-auth-method=token",
        "-token=t",
    ];
    let arguments = [&["check", "--offline", "--"][..], &token].concat();
    let (code, stdout, stderr) = ended(&site.run(&arguments, &[]));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(
        stdout.contains("-vault-address sets vault.address to https://vault:8200"),
        "{stdout}"
    );
    assert!(!stdout.contains("in this shell"), "{stdout}");
    let (code, stdout, _) = ended(&site.run(&["check", "--offline"], &[]));
    assert_eq!(code, Some(78), "{stdout}");
    assert!(
        stdout.contains("-vault-address (VAULT_KMS_VAULT_ADDR): is missing"),
        "{stdout}"
    );
    let (code, stdout, _) = ended(&site.run(&["init", "--help"], &[]));
    assert_eq!(code, Some(0));
    assert!(stdout.contains("--platform"), "{stdout}");
}

fn a_configuration_file_is_not_read_under_another_name() {
    let site = Site::new("vault-kubernetes-kms");
    let file = site.write("config.toml", "[vault]\naddress = 'https://other'\n");
    let file = file.display().to_string();
    let arguments = [
        "-vault-address=https://vault:8200",
        "-auth-method=token",
        "-token=t",
    ];
    let (code, _, stderr) = ended(&site.run(&arguments, &[("VAULT_KMS_PLUGIN_CONFIG", &file)]));
    assert_eq!(code, Some(1));
    let expected =
        "is not read by a program that is called vault-kubernetes-kms; call it vault-kms-plugin";
    assert!(stderr.contains(expected), "{stderr}");
}

tests! {
    plain the_version_is_that_of_the_name_on_stdout_with_0;
    plain the_help_lists_every_flag_on_stderr_with_1;
    plain wrong_arguments_end_with_1_and_name_the_users_own_setting;
    plain our_own_commands_are_still_there_and_check_reads_the_plugins_arguments;
    plain a_configuration_file_is_not_read_under_another_name;
}

//! What is not understood, or cannot be kept, is an error that names it, and nothing is written.

use super::{Site, has, text};

/// The error of a conversion.
fn refused(site: &Site, arguments: &[&str]) -> String {
    let output = site.convert(arguments);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{arguments:?}: {error}");
    assert!(
        !site.path("out").exists(),
        "{arguments:?}: something was written"
    );
    error
}

const COMMON: [&str; 4] = [
    "--",
    "/vault-kubernetes-kms",
    "-vault-address=https://v",
    "-auth-method=token",
];

fn everything_that_is_not_understood_is_named_at_once() {
    let site = Site::new();
    let file = site.write("env", "VAULT_KMS_TYPO=x\nVAULT_KMS_DEBUG=perhaps\n");
    let arguments = [
        &["--input", &file][..],
        &COMMON,
        &["-token=s3cret", "left", "-socket=unix:///x/y"],
    ]
    .concat();
    let error = refused(&site, &arguments);
    has(
        &error,
        &[
            "nothing was written",
            "VAULT_KMS_TYPO: is no variable of this plugin",
            "VAULT_KMS_DEBUG: is neither true nor false",
            "is no flag: it and what follows, 2 in all, have no effect",
        ],
    );
    assert!(!error.contains("s3cret"), "{error}");
}

fn values_that_are_elsewhere_are_asked_for() {
    let site = Site::new();
    let pod = "kind: Pod\nspec:\n  containers:\n    - name: vault-kms-provider\n      image: vault-kms-provider\n      env:\n        \
               - name: VAULT_TOKEN\n          valueFrom: {secretKeyRef: {name: a, key: b}}\n";
    let file = site.write("pod.yaml", pod);
    has(
        &refused(&site, &["--input", &file]),
        &["VAULT_TOKEN: its value is not in the manifest"],
    );
    let unit = "[Service]\nExecStart=/usr/bin/vault-kubernetes-kms -socket=unix:///run/%i.sock\n";
    let file = site.write("a.service", unit);
    has(
        &refused(&site, &["--input", &file]),
        &["%i is replaced by systemd"],
    );
    let file = site.write("line", "vault-kubernetes-kms -token=$TOKEN\n");
    has(
        &refused(&site, &["--input", &file]),
        &["a shell would replace"],
    );
}

fn an_unknown_field_and_what_vault_cannot_decrypt() {
    let site = Site::new();
    let file = site.write(
        "config.json",
        r#"{"transitkey": "k", "pin": "1234", "authmethod": "ldap"}"#,
    );
    let error = refused(&site, &["--input", &file]);
    has(
        &error,
        &[
            "pin: is no field",
            "authmethod: \"ldap\" is no method",
            "address: is missing",
        ],
    );
    assert!(!error.contains("1234"), "{error}");
    let arguments = [&["--input", &file][..], &["--", "-provider=tpm"]].concat();
    has(
        &refused(&site, &arguments),
        &["-provider: what the provider \"tpm\" encrypted"],
    );
    let values = site.write("values.yaml", "vault:\n  adress: https://v\n");
    has(
        &refused(&site, &["--input", &values]),
        &["vault.adress: is no value of the chart"],
    );
    let bao = site.write("bao.yaml", "configVersion: v2\nauth:\n  method: cert\n");
    let error = refused(&site, &["--input", &bao]);
    has(
        &error,
        &[
            "configVersion: \"v2\"",
            "auth.method: its private key is in an HSM",
        ],
    );
}

fn a_plugin_that_cannot_be_seen_and_nothing_to_convert() {
    let site = Site::new();
    has(&refused(&site, &[]), &["nothing to convert"]);
    has(&refused(&site, &["--", "-x"]), &["name it with --from"]);
    has(
        &refused(&site, &["--from", "other", "--", "-x"]),
        &["\"other\" is not known"],
    );
    let file = site.write("x.yaml", "a: [");
    has(&refused(&site, &["--input", &file]), &["x.yaml: line "]);
    has(
        &refused(&site, &["--input", "/nonexistent"]),
        &["/nonexistent: cannot be read"],
    );
}

fn a_socket_in_a_shared_directory_needs_a_unit() {
    let site = Site::new();
    let arguments = [
        &["--runs", "static-pod"][..],
        &COMMON,
        &["-token=t", "-socket=unix:///tmp/x.sock"],
    ]
    .concat();
    has(
        &refused(&site, &arguments),
        &["/tmp of the socket would be given to the plugin's user"],
    );
}

fn what_would_need_quotes_in_a_unit_or_a_manifest_is_refused() {
    let site = Site::new();
    let with = |more: &'static str| [&COMMON[..], &["-token=t", more]].concat();
    has(
        &refused(&site, &with("-socket=unix:///run/a b/x.sock")),
        &["-socket: \"/run/a b/x.sock\" must consist of"],
    );
    let arguments = [
        &["--image", "a\nb"][..],
        &with("-socket=unix:///run/a/x.sock"),
    ]
    .concat();
    has(&refused(&site, &arguments), &["--image: "]);
}

fn what_exists_is_not_overwritten() {
    let site = Site::new();
    let arguments = [&COMMON[..], &["-token=t", "-socket=unix:///run/x/y.sock"]].concat();
    assert!(site.convert(&arguments).status.success());
    let output = site.convert(&arguments);
    assert_eq!(output.status.code(), Some(69));
    has(
        &text(&output.stderr),
        &["config.toml exists, and nothing was written"],
    );
}

tests! {
    plain everything_that_is_not_understood_is_named_at_once;
    plain values_that_are_elsewhere_are_asked_for;
    plain an_unknown_field_and_what_vault_cannot_decrypt;
    plain a_plugin_that_cannot_be_seen_and_nothing_to_convert;
    plain a_socket_in_a_shared_directory_needs_a_unit;
    plain what_would_need_quotes_in_a_unit_or_a_manifest_is_refused;
    plain what_exists_is_not_overwritten;
}

//! Where values come from: the defaults are those of docs/configuration.md, and no secret is shown.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;

use serde_json::Value;

use super::super::assets::example::keys::Key;
use super::super::assets::example::markdown::sections;
use super::super::harness::daemon::{Builder, Daemon};
use super::{SECRET, proven, valid};

const SHORTEST: &str = "[vault]\naddress = \"https://vault.invalid:8200\"\n[transit]\nkey = \"kms\"\n\
                        [auth]\nmethod = \"approle\"\nrole_id_file = \"/nonexistent\"\n";

/// The values that are not in this file: each variable and its value by the key.
async fn values_of(config: &str, set: impl Fn(Builder) -> Builder) -> BTreeMap<String, Value> {
    let builder = Daemon::builder();
    let file = builder.write_file("shortest.toml", config);
    let file = file.to_str().unwrap();
    let arguments = ["check", "--offline", "--json", "--config", file];
    let check = set(builder.arguments(&arguments)).spawn_raw();
    assert_eq!(check.wait_exit(super::LIMIT).await, 0, "{}", check.log());
    assert!(!check.log().contains(SECRET), "{}", check.log());
    let report: Value = serde_json::from_str(&check.log()).unwrap();
    let values = report["values"].as_array().unwrap();
    let by_key = |it: &Value| (it["key"].as_str().unwrap().to_owned(), it.clone());
    values.iter().map(by_key).collect()
}

async fn the_defaults_that_are_shown_are_the_documented_ones() {
    let values = values_of(SHORTEST, |builder| builder).await;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let page = sections(&fs::read_to_string(path).unwrap());
    let mut count = 0;
    for key in page.iter().filter_map(Key::of) {
        let Some(default) = key.default_value() else {
            continue;
        };
        // Of a key that is not in this file.
        if key.name.starts_with("transit.decrypt_also.") {
            continue;
        }
        let shown = &values[key.name];
        assert_eq!(shown["value"], default.trim_matches('"'), "{shown}");
        assert!(shown["variable"].is_null(), "{shown}");
        count += 1;
    }
    assert!(count > 10, "{count} defaults");
    // Those that depend on the rest.
    for (key, value) in [
        ("auth.mount", "approle"),
        ("auth.namespace", "root"),
        ("state.dir", "/run/vault-kms-plugin"),
        ("vault.ca_file", "the CA certificates of the system"),
        ("vault.namespace", "root"),
    ] {
        assert_eq!(values[key]["value"], value, "{key}");
    }
    let uids = values["socket.allow_uids"]["value"].as_str().unwrap();
    assert!(uids.starts_with("[0"), "{uids}");
    for key in ["vault.address", "transit.key", "auth.method", "auth.role"] {
        assert!(!values.contains_key(key), "{key}");
    }
}

async fn a_secret_of_the_environment_has_a_name_and_no_value() {
    let variable = "VAULT_KMS_PLUGIN_AUTH_SECRET_ID";
    let values = values_of(SHORTEST, |builder| builder.env(variable, SECRET)).await;
    let secret = &values["auth.secret_id"];
    assert_eq!(secret["variable"], variable);
    assert!(secret["value"].is_null(), "{secret}");
    let proxy = format!("http://user:{SECRET}@proxy.invalid");
    let values = values_of(SHORTEST, |builder| builder.env("HTTPS_PROXY", &proxy)).await;
    assert_eq!(values["proxy"]["variable"], "HTTPS_PROXY");
    let said = proven(
        valid().env("VAULT_NAMESPACE", "team"),
        &["--offline", "--strict"],
    )
    .await;
    said.ends_with(1)
        .says("! environment: VAULT_NAMESPACE sets vault.namespace to team in this shell")
        .says("--unit NAME checks with that environment");
}

async fn a_unit_is_asked_for_on_a_host_with_systemd_alone() {
    let builder = valid();
    // The harness starts the program with a shell.
    let programs = builder.dir().join("programs");
    fs::create_dir(&programs).unwrap();
    symlink("/bin/sh", programs.join("sh")).unwrap();
    let builder = builder.env("PATH", programs.to_str().unwrap());
    let said = proven(builder, &["--unit", "vault-kms-plugin"]).await;
    said.ends_with(78).names(
        "systemctl show: cannot be run: No such file or directory",
        "not in a container",
    );
}

tests! {
    single the_defaults_that_are_shown_are_the_documented_ones;
    single a_secret_of_the_environment_has_a_name_and_no_value;
    single a_unit_is_asked_for_on_a_host_with_systemd_alone;
}

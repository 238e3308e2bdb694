//! Answers that cannot be right are refused, each with its option, and nothing is written; those that can be
//! arrive in the files as they are.

use std::fs;
use std::process::Command;

use super::{PROGRAM, Site, init, text};

const GOOD: [&str; 6] = [
    "--platform",
    "kubeadm",
    "--address",
    "https://vault.example:8200",
    "--auth",
    "token",
];

/// The exit code and the error of `init` with these arguments, which writes nothing.
fn refused(arguments: &[&str]) -> (i32, String) {
    let dir = tempfile::tempdir().unwrap();
    let ended = init(dir.path(), arguments);
    let said = text(&ended.stderr);
    assert!(!ended.status.success(), "{arguments:?} was accepted");
    assert!(ended.stdout.is_empty());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "{said}");
    (ended.status.code().unwrap(), said)
}

fn without_a_terminal_every_missing_option_is_named() {
    let (code, said) = refused(&[]);
    assert_eq!(code, 64);
    for option in ["--platform: ", "--address: ", "--auth: "] {
        assert!(said.contains(option), "{said}");
    }
    let with = [&GOOD[..4], &["--auth", "kubernetes"]].concat();
    let (code, said) = refused(&with);
    assert!(code == 64 && said.contains("--kubernetes-host: "), "{said}");
    let with = [&GOOD[..4], &["--auth", "cert"]].concat();
    let (code, said) = refused(&with);
    assert!(code == 64 && said.contains("--node-name: "), "{said}");
}

fn hostile_answers_are_refused_by_their_option() {
    let words = [
        "",
        "a b",
        "a\"b",
        "a'b",
        "a\nb",
        "$(touch x)",
        "`touch x`",
        "a;b",
        "a*",
        "a+b",
        "{{a}}",
        "-",
        "é",
    ];
    let names = [
        "namespace",
        "mount",
        "key",
        "policy",
        "auth-mount",
        "role",
        "username",
        "provider",
        "resource",
        "image",
        "timeout",
        "key-id-suffix",
    ];
    for option in names {
        let flag = format!("--{option}");
        for word in words {
            // What these options take, in their own way.
            let is_fine = match option {
                "resource" => word == "a*" || word == "-",
                "key-id-suffix" => word.is_empty() || word == "-",
                _ => word == "-" && !["key", "timeout"].contains(&option),
            };
            if is_fine {
                continue;
            }
            let value = format!("{flag}={word}");
            let (code, said) = refused(&[&GOOD[..], &[&value]].concat());
            assert!(
                code == 64 && said.contains(&format!("{flag}: ")),
                "{value:?}: {code} {said}"
            );
        }
    }
    for (option, values) in [
        (
            "ca-file",
            &[
                "ca.pem",
                "/etc/ssl/ca.pem",
                "/etc/vault-kms-plugin/a\nb",
                "",
            ][..],
        ),
        ("tls-server-name", &["a\nb"]),
        (
            "address",
            &[
                "vault.example",
                "http://vault.example:8200",
                "https://u:p@vault.example",
                "https://a b",
                "https://a\nb",
                "",
            ],
        ),
        (
            "socket",
            &[
                "kms.sock",
                "/kms.sock",
                "/run/kms.sock",
                "/etc/kms/kms.sock",
                "/run/vault-kms-plugin/../kms.sock",
                "/run/vault-kms-plugin/a b",
                "@kms",
                "/run/vault-kms-plugin-$(id)/k",
            ],
        ),
        ("timeout", &["3", "never", "-1s", "0s"]),
        ("program", &["vault-kms-plugin", "/opt/a b"]),
        ("resource", &["Secrets/x", "secrets,,configmaps"]),
    ] {
        for value in values {
            let value = format!("--{option}={value}");
            let arguments = [&GOOD[..2], &["--auth", "token"]].concat();
            let address = ["--address", "https://vault.example:8200"];
            let address = if option == "address" {
                &[][..]
            } else {
                &address
            };
            let (code, said) = refused(&[&arguments, address, &[value.as_str()]].concat());
            assert_eq!(code, 64, "{value:?}: {said}");
        }
    }
}

fn every_wrong_answer_is_named_at_once() {
    let (_, said) = refused(&[&GOOD[..], &["--mount=a b", "--key=c d", "--image=e f"]].concat());
    for option in ["--mount: ", "--key: ", "--image: "] {
        assert!(said.contains(option), "{said}");
    }
}

fn unusual_answers_that_are_right_arrive() {
    let file = "/etc/vault-kms-plugin/my \"own\" $(ca) 'x'.pem";
    let more = [
        "--ca-file",
        file,
        "--tls-server-name",
        "va\"ult",
        "--key-id-suffix",
        "a.b-c_1",
        "--allow-uid",
        "0",
        "--allow-uid",
        "1000",
        "--resource",
        "secrets,configmaps,widgets.example.org",
        "--timeout",
        "1m30s",
        "--namespace",
        "/team/a/",
        "--mount",
        "/kv/transit/",
    ];
    let arguments = [
        &[
            "--platform",
            "kubeadm",
            "--auth",
            "token",
            "--address",
            "https://second.example",
        ],
        &more[..],
    ]
    .concat();
    let site = Site::new("https://vault.example:8200", &arguments);
    let config: toml::Table = site.file("config.toml").parse().unwrap();
    let vault = &config["vault"];
    assert_eq!(vault["ca_file"].as_str(), Some(file));
    assert_eq!(vault["tls_server_name"].as_str(), Some("va\"ult"));
    assert_eq!(vault["namespace"].as_str(), Some("team/a"));
    let addresses: Vec<_> = vault["address"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(toml::Value::as_str)
        .collect();
    assert_eq!(
        addresses,
        ["https://vault.example:8200", "https://second.example"]
    );
    assert_eq!(config["transit"]["mount"].as_str(), Some("kv/transit"));
    assert_eq!(config["transit"]["key_id_suffix"].as_str(), Some("a.b-c_1"));
    assert_eq!(config["socket"]["allow_uids"].to_string(), "[0, 1000]");
    let readers = site.file("encryption-1-readers.yaml");
    assert!(
        readers.contains("[\"secrets\", \"configmaps\", \"widgets.example.org\"]"),
        "{readers}"
    );
    assert!(readers.contains("timeout: 1m30s"), "{readers}");
    assert!(
        site.file("policy.hcl")
            .contains("path \"kv/transit/encrypt/kms\"")
    );
    assert!(
        site.file("vault-setup.sh")
            .contains("namespace='team/a'\nmount='kv/transit'\n")
    );
}

/// Whoever follows them never has a writer before all readers.
fn the_steps_are_printed_in_a_safe_order() {
    for platform in ["systemd", "static-pod", "kubeadm", "k3s", "rke2", "k0s"] {
        let arguments = ["--platform", platform, "--auth", "token"];
        let site = Site::new("https://vault.example:8200", &arguments);
        let places = [
            "vault-setup.sh'\n",
            "node NODE",
            " --fingerprint\n",
            "encryption-1-readers.yaml as /etc/",
            "encryption-2-writer.yaml as /etc/",
            "write all objects again",
            "remove `identity`",
        ]
        .map(|part| {
            site.said
                .find(part)
                .unwrap_or_else(|| panic!("no {part:?} in {}", site.said))
        });
        assert!(places.is_sorted(), "{}", site.said);
        let (_, listed) = site.said.split_once(":\n").unwrap();
        let names = listed.lines().take_while(|line| line.starts_with("  "));
        let names: Vec<_> = names
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        assert!(names.len() > 5, "{}", site.said);
        assert!(
            names.iter().all(|name| site.path(name).exists()),
            "{names:?}"
        );
        let page = if platform == "systemd" {
            "hosts"
        } else {
            platform
        };
        let page = format!("docs/install/{page}.md");
        let shown = site.said.split(" has each command").next().unwrap();
        assert!(shown.ends_with(&page), "{shown}");
        assert!(super::root().join(page).exists());
    }
}

/// What `check` would warn of later is said now.
fn a_timeout_in_which_vault_does_not_answer_is_a_warning() {
    let arguments = ["--platform", "systemd", "--auth", "token"];
    let site = Site::new("https://vault.example:8200", &arguments);
    assert!(!site.said.contains("warning:"), "{}", site.said);
    let short = [&arguments[..], &["--timeout", "1ms"]].concat();
    let site = Site::new("https://vault.example:8200", &short);
    let warning = "warning: encryption config: the timeout of provider \"vault\" is 1 ms";
    assert!(site.said.contains(warning), "{}", site.said);
}

fn a_place_without_a_name_and_a_file_outside_of_the_pod_are_refused() {
    for (more, text) in [
        (["--out", ""], "--out: is empty"),
        (
            ["--ca-file", "/etc/vault-kms-plugin/../ca.pem"],
            "is not below /etc/vault-kms-plugin",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let ended = init(dir.path(), &[&GOOD[..], &more].concat());
        let said = super::text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(64), "{said}");
        assert!(said.contains(text), "{said}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

fn a_quoted_value_is_data_to_the_shell() {
    let dir = tempfile::tempdir().unwrap();
    let issuer = "https://x/'; touch \"$PWD/owned\" #$(touch owned)`touch owned`";
    let arguments = ["--platform", "k3s", "--auth", "jwt", "--issuer", issuer];
    let site = Site::new("https://vault.example:8200", &arguments);
    let script = site.file("vault-setup.sh");
    let line = script
        .lines()
        .find(|line| line.starts_with("issuer="))
        .unwrap();
    let command = format!("{line}\nprintf %s \"$issuer\"");
    let said = Command::new("sh")
        .args(["-euc", &command])
        .current_dir(dir.path())
        .output();
    assert_eq!(text(&said.unwrap().stdout), issuer);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

fn nothing_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = [&GOOD[..], &["--out", "files"]].concat();
    fs::create_dir(dir.path().join("files")).unwrap();
    fs::write(dir.path().join("files/vault-kms-plugin.yaml"), "mine").unwrap();
    fs::write(dir.path().join("files/notes"), "mine").unwrap();
    let ended = init(dir.path(), &arguments);
    let said = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(69), "{said}");
    assert!(
        said.contains("files/vault-kms-plugin.yaml exists, and nothing was written"),
        "{said}"
    );
    let mut names: Vec<_> = fs::read_dir(dir.path().join("files"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["notes", "vault-kms-plugin.yaml"]);
    // Beside other files they are written.
    fs::remove_file(dir.path().join("files/vault-kms-plugin.yaml")).unwrap();
    assert!(init(dir.path(), &arguments).status.success());
    // A second run finds the first one's.
    assert_eq!(init(dir.path(), &arguments).status.code(), Some(69));
    assert_eq!(
        fs::read_to_string(dir.path().join("files/notes")).unwrap(),
        "mine"
    );
}

/// `init` prints what `check` shows on a node, whatever the node has of its own.
fn the_fingerprint_of_init_is_that_of_each_node() {
    let of = |arguments: &[&str]| {
        let arguments = [&["--platform", "systemd", "--auth", "token"], arguments].concat();
        Site::new("https://vault.example:8200", &arguments)
    };
    let site = of(&[]);
    let shown = |variables: &[(&str, &str)], name: &str| {
        let mut command = Command::new(PROGRAM);
        crate::harness::child::clean_environment(&mut command);
        command
            .args(["check", "--fingerprint", "--config"])
            .arg(site.path("config.toml"));
        command.arg("--encryption-config").arg(site.path(name));
        let ended = command.envs(variables.iter().copied()).output().unwrap();
        assert!(ended.status.success(), "{}", text(&ended.stderr));
        text(&ended.stdout)
    };
    let own = shown(&[], "encryption-1-readers.yaml");
    let line = own.lines().next().unwrap();
    let fingerprint = line.strip_prefix("configuration ").unwrap();
    let printed = format!("fingerprint of the configuration: {fingerprint}\n");
    assert!(site.said.contains(&printed), "{own}{}", site.said);
    let writer = shown(&[], "encryption-2-writer.yaml");
    assert_ne!(own, writer);
    let [one, two] = [&own, &writer].map(|shown| {
        let line = shown.lines().nth(1).unwrap();
        line.strip_prefix("encryption-config ").unwrap()
    });
    let steps = format!("EncryptionConfiguration: {one} in step 1, {two} in step 2\n");
    assert!(site.said.contains(&steps), "{}", site.said);
    let of_a_node = [
        ("VAULT_KMS_PLUGIN_ADMIN_LISTEN", "127.0.0.1:9"),
        ("VAULT_KMS_PLUGIN_AUTH_TOKEN_FILE", "/other"),
        ("VAULT_KMS_PLUGIN_LOG_LEVEL", "debug"),
    ];
    assert_eq!(shown(&of_a_node, "encryption-1-readers.yaml"), own);
    let other = shown(
        &[("VAULT_KMS_PLUGIN_TRANSIT_KEY", "other")],
        "encryption-1-readers.yaml",
    );
    assert_ne!(other.lines().next(), Some(line));
    let fingerprints: Vec<_> = [
        of(&[]),
        of(&["--key", "other"]),
        of(&["--mount", "other"]),
        of(&["--namespace", "other"]),
        of(&["--key-id-suffix", "x"]),
    ]
    .iter()
    .map(|site| {
        site.said
            .lines()
            .find(|line| line.starts_with("fingerprint"))
            .unwrap()
            .to_owned()
    })
    .collect();
    assert_eq!(fingerprints[0].trim_end(), printed.trim_end());
    for (index, one) in fingerprints.iter().enumerate() {
        assert!(!fingerprints[..index].contains(one), "{one}");
    }
    let mut command = Command::new(PROGRAM);
    crate::harness::child::clean_environment(&mut command);
    let ended = command
        .args(["check", "--fingerprint", "--config", "/nowhere.toml"])
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(78));
}

tests! {
    plain without_a_terminal_every_missing_option_is_named;
    plain hostile_answers_are_refused_by_their_option;
    plain every_wrong_answer_is_named_at_once;
    plain unusual_answers_that_are_right_arrive [Vault];
    plain the_steps_are_printed_in_a_safe_order [Vault];
    plain a_timeout_in_which_vault_does_not_answer_is_a_warning;
    plain a_place_without_a_name_and_a_file_outside_of_the_pod_are_refused;
    plain a_quoted_value_is_data_to_the_shell [Vault];
    plain nothing_is_overwritten;
    plain the_fingerprint_of_init_is_that_of_each_node [Vault];
}

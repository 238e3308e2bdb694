//! The tables of all plugins: every name of every setting is accepted, and what genuine arguments become.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::given::Given;
use super::*;

fn host() -> Host {
    Host {
        working_directory: Some(PathBuf::from("/srv")),
        gid: Some(1000),
        has_ipv6: true,
    }
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn invocation(
    plugin: Plugin,
    arguments: &[&str],
    variables: &[(&str, &str)],
    fields: &[(&str, &str)],
) -> Invocation {
    Invocation {
        plugin,
        arguments: arguments.iter().map(|it| (*it).to_owned()).collect(),
        variables: owned(variables).into_iter().collect::<BTreeMap<_, _>>(),
        fields: owned(fields),
        host: host(),
    }
}

/// `key = value < origin`, in the order of the keys.
fn values(translation: &Translation) -> Vec<String> {
    let values = translation.values.iter();
    let mut values: Vec<_> = values
        .map(|it| format!("{} = {} < {}", it.key, it.text, it.origin))
        .collect();
    let secrets = translation.secrets.iter();
    values.extend(secrets.map(|it| format!("{} : {} < {}", it.key, *it.secret, it.origin)));
    values.sort();
    values
}

fn texts<T: ToString>(all: &[T]) -> Vec<String> {
    all.iter().map(T::to_string).collect()
}

fn example(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Bool => "true",
        Kind::Integer => "42",
        Kind::Duration => "7s",
        Kind::Path => "/a/path",
    }
}

/// The names that a test accepts for a plugin, by what they are.
fn accepted(plugin: Plugin) -> [usize; 3] {
    let mut counts = [0; 3];
    for setting in plugin.settings() {
        let value = example(setting.kind);
        let mut accepts = |kind: usize, name: &'static str, given: &Invocation| {
            let mut out = Translation::default();
            let read = Given::read(given, plugin.settings(), &mut out);
            let entry = read
                .set(setting.name())
                .unwrap_or_else(|| panic!("{plugin}: {name}"));
            assert_eq!((entry.value, entry.origin), (value, name), "{plugin}");
            assert!(out.errors.is_empty(), "{plugin}: {name}: {:?}", out.errors);
            assert!(out.not_understood.is_empty(), "{plugin}: {name}");
            counts[kind] += 1;
        };
        if let Some(flag) = setting.flag {
            let one = format!("{flag}={value}");
            accepts(0, flag, &invocation(plugin, &[&one], &[], &[]));
            let two = format!("-{flag}");
            counts_no_more(plugin, setting, &two, value);
        }
        for variable in setting.variables {
            accepts(
                1,
                variable,
                &invocation(plugin, &[], &[(variable, value)], &[]),
            );
        }
        if let Some(field) = setting.field {
            accepts(2, field, &invocation(plugin, &[], &[], &[(field, value)]));
        }
    }
    counts
}

/// Two dashes, and the value as the next word, are the same.
fn counts_no_more(plugin: Plugin, setting: &Setting, flag: &str, value: &str) {
    let mut out = Translation::default();
    let arguments = match setting.kind {
        Kind::Bool => vec![flag],
        _ => vec![flag, value],
    };
    let given = invocation(plugin, &arguments, &[], &[]);
    let read = Given::read(&given, plugin.settings(), &mut out);
    assert_eq!(
        read.set(setting.name()).map(|it| it.value),
        Some(value),
        "{flag}"
    );
}

#[test]
fn every_flag_variable_and_field_of_every_plugin_is_accepted() {
    // Flags, variables, fields. The variables of Vault's client for Go are 14.
    assert_eq!(accepted(Plugin::VaultKubernetesKms), [34, 42 + 14, 0]);
    assert_eq!(accepted(Plugin::VaultKmsProvider), [0, 35, 0]);
    assert_eq!(accepted(Plugin::VaultKubeKms), [21, 23 + 14, 0]);
    assert_eq!(accepted(Plugin::Kleidi), [4, 4 + 14, 7]);
    assert_eq!(accepted(Plugin::BaoKmsProvider), [1, 8, 72]);
}

#[test]
fn no_name_of_a_plugin_means_two_things() {
    for plugin in Plugin::ALL {
        let mut seen = Vec::new();
        for setting in plugin.settings() {
            let names = setting.flag.into_iter().chain(setting.field);
            for name in names.chain(setting.variables.iter().copied()) {
                assert!(!seen.contains(&name), "{plugin}: {name} twice");
                seen.push(name);
            }
            if let Meaning::Decides(text) | Meaning::Dropped(text) | Meaning::Unread(text) =
                setting.meaning
            {
                assert!(!text.is_empty(), "{plugin}: {}", setting.name());
            }
        }
    }
}

#[test]
fn vault_kubernetes_kms_with_a_token_and_its_defaults() {
    let plugin = Plugin::VaultKubernetesKms;
    let arguments = [
        "-vault-address=http://vault:8200",
        "--auth-method",
        "Token",
        "-token=root",
    ];
    let out = invocation(plugin, &arguments, &[], &[]).translate();
    assert_eq!(texts(&out.errors), [""; 0]);
    assert_eq!(
        values(&out),
        [
            "auth.method = token < -auth-method",
            "auth.token_file : root < -token",
            "drop_in.health_listen = [::]:8080 < vault-kubernetes-kms",
            "drop_in.metrics_listen = [::]:8080 < vault-kubernetes-kms",
            "drop_in.plugin = vault-kubernetes-kms < vault-kubernetes-kms",
            "log.format = json < vault-kubernetes-kms",
            "socket.path = /opt/kms/vaultkms.socket < vault-kubernetes-kms",
            "transit.key = kms < vault-kubernetes-kms",
            "transit.mount = transit < vault-kubernetes-kms",
            "vault.address = http://vault:8200 < -vault-address",
            "vault.allow_plaintext = true < -vault-address",
        ]
    );
    assert_eq!(texts(&out.notes), [""; 0]);
}

#[test]
fn vault_kubernetes_kms_by_variables_under_all_their_names() {
    let plugin = Plugin::VaultKubernetesKms;
    let variables = [
        ("VAULT_KMS_VAULT_ADDR", "https://vault:8200"),
        ("VAULT_ADDR", "https://other:8200"),
        ("VAULT_KMS_AUTH_METHOD", "jwt"),
        ("VAULT_KMS_JWT_ROLE", "kms"),
        ("VAULT_KMS_TOKEN_RENEWAL", "7200"),
        ("FORCE_SOCKET_OVERWRITE", "true"),
        ("VAULT_KMS_DISABLE_V1", "1"),
        ("VAULT_CACERT", "ca.pem"),
        ("VAULT_SKIP_VERIFY", "true"),
        ("VAULT_KMS_DEBUG", "T"),
        ("VAULT_KMS_PLUGIN_LOG_LEVEL", "warn"),
        ("VAULT_KMS_SERVICE_HOST", "10.0.0.1"),
        ("VAULT_KMS_TYPO", "x"),
        ("VAULT_KMS_SOCKET", ""),
    ];
    let out = invocation(plugin, &["-jwt-mount=k8s"], &variables, &[]).translate();
    assert_eq!(texts(&out.errors), [""; 0]);
    let values = values(&out);
    for value in [
        "auth.jwt_file = /var/run/secrets/kubernetes.io/serviceaccount/token < vault-kubernetes-kms",
        "auth.mount = k8s < -jwt-mount",
        "auth.role = kms < VAULT_KMS_JWT_ROLE",
        "log.level = debug < VAULT_KMS_DEBUG",
        "vault.ca_file = /srv/ca.pem < VAULT_CACERT",
        "socket.path = /opt/kms/vaultkms.socket < vault-kubernetes-kms",
    ] {
        assert!(values.contains(&value.to_owned()), "{value}: {values:#?}");
    }
    let notes = texts(&out.notes);
    for setting in [
        "VAULT_ADDR: has no effect",
        "VAULT_KMS_TOKEN_RENEWAL: is not needed",
        "FORCE_SOCKET_OVERWRITE: is not needed",
        "VAULT_KMS_DISABLE_V1: is not kept",
        "VAULT_SKIP_VERIFY: is not kept: the certificate of Vault is always verified",
    ] {
        assert!(
            notes.iter().any(|it| it.starts_with(setting)),
            "{setting}: {notes:#?}"
        );
    }
    assert_eq!(notes.len(), 5, "{notes:#?}");
    let unknown = texts(&out.not_understood);
    assert_eq!(
        unknown,
        ["VAULT_KMS_TYPO: is no variable of this plugin, and has no effect"]
    );
}

#[test]
fn vault_kubernetes_kms_names_what_is_missing_and_what_is_wrong() {
    let errors = |arguments: &[&str]| {
        texts(
            &invocation(Plugin::VaultKubernetesKms, arguments, &[], &[])
                .translate()
                .errors,
        )
    };
    assert_eq!(
        errors(&["-debug=maybe", "-auth-method=approle", "-approle-role-id=r"]),
        [
            "-debug: is neither true nor false; write true or false",
            "-approle-secret-id (VAULT_KMS_APPROLE_SECRET_ID): is missing; set it to the secret_id",
            "-vault-address (VAULT_KMS_VAULT_ADDR): is missing; set it to the address of Vault",
        ]
    );
    let common = ["-vault-address=https://v", "-auth-method=token", "-token=t"];
    for (more, setting) in [
        (
            &["-disable-v1", "-disable-v2"][..],
            "-disable-v2: leaves no version",
        ),
        (
            &["-socket=tcp://a"],
            "-socket: \"tcp://a\" is not of the form unix:///path",
        ),
        (&["-health-port=99999"], "-health-port: is not a port"),
        (
            &["-token-refresh-interval=60"],
            "-token-refresh-interval: is not a duration",
        ),
        (&["-sockte=unix:///a"], "-sockte: is no flag of this plugin"),
        (
            &["-auth-method=ldap"],
            "-auth-method: \"ldap\" is no method",
        ),
    ] {
        let errors = errors(&[&common[..], more].concat());
        assert!(errors[0].starts_with(setting), "{errors:#?}");
        assert_eq!(errors.len(), 1, "{errors:#?}");
    }
}

#[test]
fn vault_kubernetes_kms_logs_in_by_certificate_and_by_spiffe() {
    let plugin = Plugin::VaultKubernetesKms;
    let pem = "-cert-pem=/var/lib/kubelet/pki/kubelet-client-current.pem";
    let common = [
        "-vault-address=https://v",
        "-auth-method=cert",
        "-cert-role=kms",
    ];
    let arguments = [&common[..], &[pem, "-cert-file=/x"]].concat();
    let out = invocation(plugin, &arguments, &[("VAULT_CLIENT_CERT", "/y")], &[]).translate();
    assert_eq!(texts(&out.errors), [""; 0]);
    let cert = out.value("auth.cert_file").map(|it| it.text.as_str());
    assert_eq!(
        cert,
        Some("/var/lib/kubelet/pki/kubelet-client-current.pem")
    );
    assert_eq!(
        texts(&out.notes),
        [
            "-cert-file: has no effect: the login is by cert with one file",
            "VAULT_CLIENT_CERT: has no effect: the login has a certificate of its own",
        ]
    );
    let arguments = [
        "-vault-address=https://v",
        "-auth-method=jwt",
        "-jwt-role=kms",
        "-jwt-token-source=spiffe",
        "-jwt-spiffe-audience=vault",
        "-jwt-spiffe-id=spiffe://a/b",
    ];
    let socket = [("SPIFFE_ENDPOINT_SOCKET", "unix:///run/agent.sock")];
    let out = invocation(plugin, &arguments, &socket, &[]).translate();
    assert_eq!(texts(&out.errors), [""; 0]);
    let socket = out.value("auth.spiffe_socket").map(|it| it.text.as_str());
    assert_eq!(socket, Some("unix:///run/agent.sock"));
    assert!(out.value("auth.jwt_file").is_none());
}

#[test]
fn vault_kms_provider_as_its_chart_sets_it() {
    let variables = [
        ("LOG_LEVEL", "info"),
        ("LOG_FORMAT", "json"),
        ("SOCKET_PATH", "/run/sockets/vault-kms-provider.sock"),
        ("SOCKET_PERMISSIONS", "any"),
        ("HTTP_ADDRESS", "0.0.0.0:8080"),
        (
            "VAULT_ADDRESS",
            "https://vault.vault.svc.cluster.local:8200",
        ),
        ("VAULT_TRANSIT_KEY", "vault-kms-provider"),
        ("VAULT_TRANSIT_PATH", "transit"),
        ("VAULT_CA_PATH", "/etc/ssl/certs"),
        (
            "VAULT_KUBERNETES_JWT_PATH",
            "/var/run/secrets/tokens/vault-jwt",
        ),
    ];
    let out = invocation(Plugin::VaultKmsProvider, &[], &variables, &[]).translate();
    assert_eq!(texts(&out.errors), [""; 0]);
    assert_eq!(
        values(&out),
        [
            "auth.jwt_file = /var/run/secrets/tokens/vault-jwt < VAULT_KUBERNETES_JWT_PATH",
            "auth.method = kubernetes < VAULT_KUBERNETES_JWT_PATH",
            "auth.role = vault-kms-provider < vault-kms-provider",
            "drop_in.health_listen = 0.0.0.0:8080 < HTTP_ADDRESS",
            "drop_in.plugin = vault-kms-provider < vault-kms-provider",
            "log.format = json < LOG_FORMAT",
            "log.level = info < LOG_LEVEL",
            "socket.path = /run/sockets/vault-kms-provider.sock < SOCKET_PATH",
            "transit.key = vault-kms-provider < VAULT_TRANSIT_KEY",
            "transit.mount = transit < vault-kms-provider",
            "vault.address = https://vault.vault.svc.cluster.local:8200 < VAULT_ADDRESS",
            "vault.ca_dir = /etc/ssl/certs < VAULT_CA_PATH",
        ]
    );
    let notes = texts(&out.notes);
    assert!(
        notes[0].starts_with("VAULT_TRANSIT_PATH: has no effect"),
        "{notes:#?}"
    );
    assert!(
        notes[1].starts_with("SOCKET_PERMISSIONS: 666 lets every local process"),
        "{notes:#?}"
    );
    assert!(
        notes[2].starts_with("VAULT_CA_PATH: these CAs alone"),
        "{notes:#?}"
    );
    assert_eq!(out.creates, Some(PathBuf::from("/run/sockets")));
}

#[test]
fn vault_kms_provider_takes_the_first_login_that_matches_and_a_value_over_its_path() {
    let login = |variables: &[(&str, &str)]| {
        let out = invocation(Plugin::VaultKmsProvider, &[], variables, &[]).translate();
        let method = out.value("auth.method").map(|it| it.text.clone());
        let notes = texts(&out.notes);
        (
            method.unwrap_or_default(),
            out.secrets.len(),
            notes,
            texts(&out.errors).len(),
        )
    };
    let jwt = ("VAULT_JWT", "e30.e30.e30");
    let token = ("VAULT_TOKEN", "hvs.s3cret");
    let (method, secrets, notes, _) = login(&[jwt, token, ("VAULT_TOKEN_PATH", "/t")]);
    assert_eq!((method.as_str(), secrets), ("token", 1));
    assert_eq!(
        notes[0],
        "VAULT_TOKEN_PATH: has no effect: VAULT_TOKEN is set, too"
    );
    assert_eq!(notes[1], "VAULT_JWT: has no effect: the login is by token");
    assert!(!format!("{notes:?}").contains("s3cret"));
    assert_eq!(login(&[jwt]).0, "jwt");
    assert_eq!(login(&[("VAULT_ROLE_ID", "r"), jwt]).0, "jwt");
    assert_eq!(
        login(&[("VAULT_ROLE_ID", "r"), ("VAULT_SECRET_ID_PATH", "/s"), jwt]).0,
        "approle"
    );
    assert_eq!(login(&[("VAULT_PASSWORD", "p")]).0, "userpass");
    assert_eq!(login(&[("VAULT_CERTIFICATE_NAME", "c")]).0, "cert");
    assert_eq!(login(&[]).3, 1);
}

#[test]
fn vault_kms_provider_has_no_flags_and_says_so() {
    let plugin = Plugin::VaultKmsProvider;
    let out = invocation(plugin, &["-x=s3cret"], &[("VAULT_TOKEN", "t")], &[]).translate();
    assert_eq!(texts(&out.errors), [""; 0]);
    let text = "-x: has no effect: this plugin has no flags, only variables";
    assert_eq!(texts(&out.not_understood), [text]);
}

#[test]
fn vault_kms_provider_keeps_a_safe_mode_and_a_relative_or_abstract_socket() {
    let token = ("VAULT_TOKEN", "t");
    let out = |variables: &[(&str, &str)]| {
        let all = [&[token], variables].concat();
        invocation(Plugin::VaultKmsProvider, &[], &all, &[]).translate()
    };
    let text = |out: &Translation, key: &str| out.value(key).map(|it| it.text.clone());
    let kept = out(&[("SOCKET_PERMISSIONS", "660")]);
    assert_eq!(text(&kept, "socket.mode").as_deref(), Some("0660"));
    assert_eq!(text(&kept, "socket.allow_gids").as_deref(), Some("1000"));
    assert_eq!(texts(&kept.notes), [""; 0]);
    let path = text(&kept, "socket.path");
    assert_eq!(
        path.as_deref(),
        Some("/srv/sockets/vault-kms-provider.sock")
    );
    let hidden = out(&[("SOCKET_PATH", "@kms")]);
    assert_eq!(text(&hidden, "socket.path").as_deref(), Some("@kms"));
    assert_eq!(
        text(&hidden, "state.dir").as_deref(),
        Some("/var/lib/vault-kms-plugin")
    );
    assert_eq!((texts(&hidden.notes), hidden.creates), (Vec::new(), None));
}

#[test]
fn vault_kube_kms_with_the_arguments_of_openshift() {
    let arguments = [
        "-listen-address=unix:///var/run/kmsplugin/kms-1.sock",
        "-vault-address=https://vault:8200",
        "-vault-key-path=team/transit/keys/kms",
        "-approle-role-id=role",
        "-approle-secret-id-path=/etc/kubernetes/static-pod-resources/secret-id",
        "-tls-ca-file=/etc/kubernetes/static-pod-resources/ca.crt",
        "-tls-sni=vault.example",
        "-vault-namespace=admin",
        "-vault-auth-namespace=admin/auth",
        "-metrics-port=0",
    ];
    let out = invocation(Plugin::VaultKubeKms, &arguments, &[], &[]).translate();
    assert_eq!(
        (texts(&out.errors), texts(&out.notes)),
        (Vec::new(), Vec::new())
    );
    assert_eq!(
        values(&out),
        [
            "admin.listen = unix:/var/run/kmsplugin/kms-1.sock.admin < -listen-address",
            "auth.method = approle < vault-kube-kms",
            "auth.mount = approle < vault-kube-kms",
            "auth.namespace = admin/auth < -vault-auth-namespace",
            "auth.role_id = role < -approle-role-id",
            "auth.secret_id_file = /etc/kubernetes/static-pod-resources/secret-id < -approle-secret-id-path",
            "drop_in.health_listen = 0.0.0.0:8081 < vault-kube-kms",
            "drop_in.metrics_listen =  < -metrics-port",
            "drop_in.plugin = vault-kube-kms < vault-kube-kms",
            "socket.path = /var/run/kmsplugin/kms-1.sock < -listen-address",
            "transit.key = kms < -vault-key-path",
            "transit.mount = team/transit < -vault-key-path",
            "vault.address = https://vault:8200 < -vault-address",
            "vault.ca_file = /etc/kubernetes/static-pod-resources/ca.crt < -tls-ca-file",
            "vault.namespace = admin < -vault-namespace",
            "vault.tls_server_name = vault.example < -tls-sni",
        ]
    );
}

#[test]
fn vault_kube_kms_has_older_flags_and_levels() {
    let common = [
        ("VAULT_KUBE_KMS_VAULT_ADDRESS", "https://v"),
        ("VAULT_KUBE_KMS_APPROLE_ROLE_ID", "r"),
        ("VAULT_KUBE_KMS_APPROLE_SECRET_ID_PATH", "/s"),
    ];
    let out =
        |arguments: &[&str]| invocation(Plugin::VaultKubeKms, arguments, &common, &[]).translate();
    let older = out(&[
        "--transit-key=kms",
        "--transit-mount=t",
        "--log-level=panic",
        "--auth-method=approle",
    ]);
    assert_eq!(texts(&older.errors), [""; 0]);
    assert!(values(&older).contains(&"transit.mount = t < -transit-mount".to_owned()));
    assert!(values(&older).contains(&"log.level = error < -log-level".to_owned()));
    let two = out(&[
        "-vault-key-path=/t/keys/kms",
        "-transit-key=old",
        "-zap-log-level=3",
        "-health-port=-1",
    ]);
    assert_eq!(
        texts(&two.notes),
        ["-transit-key: has no effect: -vault-key-path is set, too"]
    );
    assert!(values(&two).contains(&"log.level = debug < -zap-log-level".to_owned()));
    assert!(values(&two).contains(&"drop_in.health_listen =  < -health-port".to_owned()));
    for wrong in [
        &["-vault-key-path=kms"][..],
        &["-transit-mount=t"],
        &["-vault-key-path=t/keys/k", "-zap-log-level=0"],
        &["-vault-key-path=t/keys/k", "-auth-method=token"],
    ] {
        assert_eq!(out(wrong).errors.len(), 1, "{wrong:?}");
    }
    let skips = out(&["-vault-key-path=t/keys/k", "-tls-skip-verify"]);
    assert!(texts(&skips.notes)[0].contains("name the CA with -tls-ca-file"));
    assert!(skips.value("vault.ca_file").is_none());
}

#[test]
fn kleidi_with_its_json() {
    let fields = [
        ("namespace", ""),
        ("transitkey", "kleidi"),
        ("vaultrole", "kleidi"),
        ("address", "http://172.20.10.9:8200"),
        ("transitpath", "transit"),
        ("authmethod", "k8s"),
        ("authpath", "kubernetes"),
    ];
    let arguments = ["-provider=hvault", "-debugmode=true"];
    let out = invocation(Plugin::Kleidi, &arguments, &[], &fields).translate();
    assert_eq!(
        (texts(&out.errors), texts(&out.notes)),
        (Vec::new(), Vec::new())
    );
    assert_eq!(
        values(&out),
        [
            "auth.jwt_file = /var/run/secrets/kubernetes.io/serviceaccount/token < authmethod",
            "auth.method = kubernetes < authmethod",
            "auth.mount = kubernetes < authpath",
            "auth.role = kleidi < vaultrole",
            "drop_in.plugin = kleidi < kleidi",
            "log.level = debug < -debugmode",
            "socket.path = /tmp/kleidi/kleidi-kms-plugin.socket < kleidi",
            "transit.key = kleidi < transitkey",
            "transit.mount = transit < transitpath",
            "vault.address = http://172.20.10.9:8200 < address",
            "vault.allow_plaintext = true < address",
        ]
    );
    let out = invocation(Plugin::Kleidi, &["-provider=softhsm"], &[], &fields).translate();
    assert!(
        texts(&out.errors)[0].starts_with("-provider: what the provider \"softhsm\" encrypted")
    );
}

#[test]
fn bao_kms_provider_with_its_example_keeps_a_reader_of_its_data() {
    let fields = [
        ("configVersion", "v1alpha1"),
        ("server.socketPath", "/run/openbao-kms/kms.sock"),
        ("server.socketMode", "0660"),
        ("server.socketGroup", "1234"),
        ("server.metricsAddress", "127.0.0.1:8081"),
        ("openbao.address", "https://bao:8200"),
        ("openbao.caCertFile", "/etc/openbao-kms/tls/ca.crt"),
        ("openbao.tlsServerName", "bao"),
        ("openbao.timeout", "2s"),
        ("openbao.instanceId", "bao-prod-a"),
        ("auth.method", "jwt"),
        ("auth.jwt.source", "file"),
        ("auth.jwt.mountPath", "auth/k8s-jwt"),
        ("auth.jwt.role", "kms"),
        ("auth.jwt.jwtFile", "/var/lib/openbao-kms/identity.jwt"),
        ("auth.jwt.expectedIssuer", "https://issuer"),
        ("transit.mountPath", "transit"),
        ("transit.keyName", "etcd"),
        ("transit.keyIdScope.providerName", "kms-a"),
        ("transit.keyIdScope.clusterId", "a"),
        ("rotation.activationDelay", "5m"),
    ];
    let plugin = Plugin::BaoKmsProvider;
    let out = invocation(plugin, &[], &[], &fields).translate();
    assert_eq!(texts(&out.errors), [""; 0]);
    assert_eq!(
        values(&out),
        [
            "auth.jwt_file = /var/lib/openbao-kms/identity.jwt < auth.jwt.jwtFile",
            "auth.method = jwt < auth.method",
            "auth.mount = k8s-jwt < auth.jwt.mountPath",
            "auth.role = kms < auth.jwt.role",
            "log.format = json < bao-kms-provider",
            "log.level = info < bao-kms-provider",
            "socket.allow_gids = 1234 < server.socketGroup",
            "socket.group = 1234 < server.socketGroup",
            "socket.mode = 0660 < server.socketMode",
            "socket.path = /run/openbao-kms/kms.sock < server.socketPath",
            "transit.key = etcd < transit.keyName",
            "transit.mount = transit < transit.mountPath",
            "vault.address = https://bao:8200 < openbao.address",
            "vault.ca_file = /etc/openbao-kms/tls/ca.crt < openbao.caCertFile",
            "vault.tls_server_name = bao < openbao.tlsServerName",
        ]
    );
    let reader: Vec<_> = out
        .decrypt_also
        .iter()
        .map(|(key, text)| format!("{key}={text}"))
        .collect();
    assert_eq!(
        reader.join(" "),
        "mount=transit key=etcd provider_name=kms-a cluster_id=a instance_id=bao-prod-a associated_data=bao-kms-provider"
    );
    let notes = texts(&out.notes);
    for setting in [
        "server.metricsAddress",
        "auth.jwt.expectedIssuer",
        "rotation.activationDelay",
        "transit",
    ] {
        assert!(
            notes
                .iter()
                .any(|it| it.starts_with(&format!("{setting}: "))),
            "{notes:#?}"
        );
    }
    assert_eq!(notes.len(), 4, "{notes:#?}");
    let unknown = [&fields[..], &[("server.socketPaht", "/x")]].concat();
    let out = invocation(plugin, &[], &[], &unknown).translate();
    assert_eq!(
        texts(&out.not_understood),
        ["server.socketPaht: is no field of this plugin's file"]
    );
    let oauth2 = [&fields[..], &[("auth.jwt.oauth2.tokenUrl", "https://t")]].concat();
    assert_eq!(
        invocation(plugin, &[], &[], &oauth2)
            .translate()
            .errors
            .len(),
        1
    );
}

#[test]
fn no_debug_output_shows_a_secret() {
    let given = invocation(
        Plugin::VaultKubernetesKms,
        &[
            "-vault-address=https://v",
            "-auth-method=token",
            "-token=hvs.s3cret",
        ],
        &[("VAULT_KMS_USERPASS_PASSWORD", "pa55")],
        &[],
    );
    let shown = format!("{given:?} {:?}", given.translate());
    assert!(
        !shown.contains("s3cret") && !shown.contains("pa55"),
        "{shown}"
    );
}

#[test]
fn the_version_and_the_help_are_asked_for_as_in_go() {
    let request =
        |arguments: &[&str]| invocation(Plugin::VaultKubernetesKms, arguments, &[], &[]).request();
    for version in ["-version", "--version", "-version=true"] {
        assert_eq!(request(&[version]), Request::Version, "{version}");
    }
    for help in ["-h", "--help"] {
        assert_eq!(request(&[help]), Request::Help, "{help}");
    }
    for serve in [
        &["-version=false"][..],
        &["-nonsense", "-version"],
        &["x", "-version"],
        &[],
    ] {
        assert_eq!(request(serve), Request::Serve, "{serve:?}");
    }
}

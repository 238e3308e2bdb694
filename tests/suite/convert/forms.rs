//! Every form of every plugin.

use std::fs;

use super::{Site, has, is_only_in};

fn a_command_line_with_a_token_becomes_a_unit_and_the_token_a_file() {
    let site = Site::new();
    let socket = format!("-socket=unix://{}", site.text("run/kms.sock"));
    let (config, said) = site.converted(&[
        "--",
        "/vault-kubernetes-kms",
        "-vault-address=https://vault:8200",
        "--auth-method",
        "token",
        "-token=hvs.s3cret",
        "-disable-v1",
        &socket,
    ]);
    let token = format!("token_file = \"{}\" # -token", site.text("out/token"));
    has(
        &config,
        &[
            "converted from vault-kubernetes-kms",
            "# - -disable-v1: is not kept: KMS v1 and v2 are both served",
            "address = \"https://vault:8200\" # -vault-address",
            "key = \"kms\" # the default of vault-kubernetes-kms",
            &token,
            "plugin = \"vault-kubernetes-kms\"",
        ],
    );
    is_only_in(&site, "hvs.s3cret", "token", &said);
    has(
        &said,
        &[
            "warning: -disable-v1: is not kept",
            &format!("the endpoint unix://{}", site.text("run/kms.sock")),
        ],
    );
    has(
        &site.out("vault-kms-plugin.socket"),
        &[&format!("ListenStream={}", site.text("run/kms.sock"))],
    );
    let unit = site.out("vault-kms-plugin.service");
    has(
        &unit,
        &[&format!("--config {}", site.text("out/config.toml"))],
    );
}

fn a_command_line_in_a_file_and_the_name_of_the_plugin_by_an_option() {
    let site = Site::new();
    let file = site.write(
        "line",
        "# as in the script\nVAULT_CACERT='@/ca.pem' \\\n -vault-address=https://v -auth-method=approle \\\n \
         -approle-role-id=r-1 -approle-secret-id 's-1' -socket unix://@/run/kms.sock\n",
    );
    let ca = super::super::harness::certificates::Certificates::new();
    fs::write(site.path("ca.pem"), ca.ca_pem()).unwrap();
    let (config, said) = site.converted(&["--from", "vault-kubernetes-kms", "--input", &file]);
    has(
        &config,
        &["role_id_file = ", "secret_id_file = ", "ca_file = "],
    );
    is_only_in(&site, "s-1", "secret-id", &said);
    is_only_in(&site, "r-1", "role-id", &said);
}

fn an_environment_file_of_each_plugin_that_has_variables() {
    for (plugin, content) in [
        (
            "vault-kubernetes-kms",
            "VAULT_KMS_VAULT_ADDR=https://v\nVAULT_KMS_AUTH_METHOD=jwt\nVAULT_KMS_JWT_ROLE=kms\n\
             VAULT_KMS_JWT_TOKEN_PATH=@/jwt\nVAULT_KMS_SOCKET=\"unix://@/run/kms.sock\"\n",
        ),
        (
            "vault-kms-provider",
            "# the plugin\nVAULT_ADDRESS=https://v\nVAULT_JWT_PATH=@/jwt\nSOCKET_PATH=@/run/kms.sock\n\
             SOCKET_PERMISSIONS=660\n",
        ),
        (
            "vault-kube-kms",
            "VAULT_KUBE_KMS_VAULT_ADDRESS=https://v\nVAULT_KUBE_KMS_VAULT_KEY_PATH=transit/keys/kms\n\
             VAULT_KUBE_KMS_APPROLE_ROLE_ID=r\nVAULT_KUBE_KMS_APPROLE_SECRET_ID_PATH=@/secret-id\n\
             VAULT_KUBE_KMS_LISTEN_ADDRESS=unix://@/run/kms.sock\n",
        ),
    ] {
        let site = Site::new();
        let file = site.write("plugin.env", content);
        let (config, _) = site.converted(&["--input", &file]);
        has(
            &config,
            &[
                &format!("converted from {plugin}"),
                "address = \"https://v\"",
            ],
        );
        let endpoint = format!("path = \"{}\"", site.text("run/kms.sock"));
        has(&config, &[&endpoint]);
    }
}

fn proxies_and_our_own_variables_go_into_the_environment_of_the_unit_or_the_pod() {
    let site = Site::new();
    let file = site.write(
        "plugin.env",
        "HTTPS_PROXY=http://u:pa55@proxy:3128\nVAULT_KMS_PLUGIN_LOG_LEVEL=warn\nGOGC=50\nVAULT_KMS_AUTH_METHOD=token\n\
         VAULT_KMS_TOKEN=t\nVAULT_KMS_VAULT_ADDR=https://v\nVAULT_KMS_SOCKET=unix:///run/kms/kms.sock\n"
            ,
    );
    // The helper writes the directory for an at sign.
    let proxy = format!("http://u:pa55{}proxy:3128", site.dir.path().display());
    let (config, said) = site.converted(&["--input", &file]);
    has(
        &said,
        &["GOGC: is not carried over: it is no setting of vault-kubernetes-kms"],
    );
    let environment = site.out("environment");
    has(
        &environment,
        &[
            &format!("HTTPS_PROXY=\"{proxy}\""),
            "VAULT_KMS_PLUGIN_LOG_LEVEL=\"warn\"",
        ],
    );
    assert!(
        !config.contains("pa55") && !said.contains("pa55"),
        "{config}{said}"
    );
    fs::remove_dir_all(site.path("out")).unwrap();
    site.converted(&["--input", &file, "--runs", "static-pod"]);
    has(
        &site.out("vault-kms-plugin.yaml"),
        &["      env:\n        - name: \"HTTPS_PROXY\""],
    );
}

fn a_systemd_unit_with_its_environment_files() {
    let site = Site::new();
    site.write(
        "plugin.env",
        "VAULT_KMS_TOKEN=hvs.unit\nVAULT_KMS_AUTH_METHOD=token\n",
    );
    let unit = site.write(
        "vault-kubernetes-kms.service",
        "[Unit]\nDescription=old\n[Service]\nType=simple\nEnvironment=\"VAULT_KMS_TRANSIT_KEY=etcd\" ADDR=https://v\n\
         EnvironmentFile=@/plugin.env\nEnvironmentFile=-/nonexistent/x\n\
         ExecStartPre=/bin/mkdir -p @/run\nExecStart=/usr/local/bin/vault-kubernetes-kms \\\n    -vault-address=${ADDR} \
         \\\n    -socket=unix://@/run/kms.sock\nRestart=always\n",
    );
    let (config, said) = site.converted(&["--input", &unit]);
    has(
        &config,
        &[
            "key = \"etcd\" # VAULT_KMS_TRANSIT_KEY",
            "ExecStartPre: is not carried over",
        ],
    );
    is_only_in(&site, "hvs.unit", "token", &said);
    has(
        &site.out("vault-kms-plugin.service"),
        &["ExecStart=/usr/local/bin/vault-kms-plugin serve"],
    );
}

const POD: &str = "\
apiVersion: v1
kind: Pod
metadata:
  name: vault-kubernetes-kms
spec:
  hostNetwork: true
  containers:
    - name: vault-kubernetes-kms
      image: falcosuessgott/vault-kubernetes-kms:latest
      command:
        - /vault-kubernetes-kms
        - -vault-address=$(ADDRESS)
        - -auth-method=token
        - -token=hvs.pod
      env:
        - name: ADDRESS
          value: http://127.0.0.1:8200
        - name: VAULT_KMS_SOCKET
          value: unix:///opt/kms/vaultkms.socket
        - name: VAULT_CACERT
          value: /certs/ca.pem
      volumeMounts:
        - name: kms
          mountPath: /opt/kms
        - name: certs
          mountPath: /certs
  volumes:
    - name: kms
      hostPath:
        path: @/run
    - name: certs
      hostPath:
        path: @/certs
";

fn a_static_pod_becomes_one_with_the_paths_of_the_node() {
    let site = Site::new();
    let ca = super::super::harness::certificates::Certificates::new();
    fs::write(site.path("certs/ca.pem"), ca.ca_pem()).unwrap();
    let file = site.write("pod.yaml", POD);
    let (config, said) = site.converted(&["--input", &file, "--image", "registry.example/kms:1"]);
    let socket = site.text("run/vaultkms.socket");
    has(
        &config,
        &[
            &format!("path = \"{socket}\""),
            &format!("ca_file = \"{}\"", site.text("certs/ca.pem")),
            "allow_plaintext = true",
        ],
    );
    is_only_in(&site, "hvs.pod", "token", &said);
    let manifest = site.out("vault-kms-plugin.yaml");
    has(
        &manifest,
        &[
            "image: registry.example/kms:1",
            &format!("- --dir={}", site.text("run")),
            &format!("--socket={socket}"),
            &format!("path: \"{}\"", site.text("certs")),
            "- name: files-0",
        ],
    );
    assert!(!manifest.contains("/run/vault-kms-plugin"), "{manifest}");
    // The same as a unit.
    fs::remove_dir_all(site.path("out")).unwrap();
    site.converted(&["--input", &file, "--runs", "systemd"]);
    has(
        &site.out("vault-kms-plugin.socket"),
        &[&format!("ListenStream={socket}")],
    );
}

fn a_sidecar_of_openshift_among_other_containers() {
    let site = Site::new();
    let pod = "\
kind: Pod
spec:
  containers:
    - name: kube-apiserver
      image: registry/hyperkube
      command: [kube-apiserver]
  initContainers:
    - name: kms-plugin
      image: registry/vault-kube-kms@sha256:00
      restartPolicy: Always
      args:
        - -listen-address=unix:///var/run/kmsplugin/kms-1.sock
        - -vault-address=https://v
        - -vault-key-path=transit/keys/kms
        - -approle-role-id=r
        - -approle-secret-id-path=/secrets/secret-id
        - -metrics-port=0
      volumeMounts:
        - {name: socket, mountPath: /var/run/kmsplugin}
        - {name: secrets, mountPath: /secrets}
  volumes:
    - {name: socket, hostPath: {path: @/run}}
    - {name: secrets, hostPath: {path: @/state}}
";
    let file = site.write("pod.yaml", pod);
    let (config, _) = site.converted(&["--input", &file]);
    has(
        &config,
        &[
            "converted from vault-kube-kms",
            &site.text("state/secret-id"),
            &site.text("run/kms-1.sock"),
        ],
    );
    assert!(!config.contains("admin"), "{config}");
    assert!(!config.contains("metrics_listen"), "{config}");
}

fn the_values_of_a_helm_chart_with_its_defaults() {
    let site = Site::new();
    let values = site.write(
        "values.yaml",
        "vault:\n  address: https://v:8200\n  transit:\n    key: etcd\n    path: unused\n  ca:\n    directory: \"\"\n\
         logging:\n  level: debug\nsocketVolume:\n  hostPath: @/run\nreplicas: 1\nresources:\n  limits:\n    cpu: 1\n\
         env:\n  - name: VAULT_KUBERNETES_ROLE\n    value: kms\n",
    );
    let (config, said) = site.converted(&["--input", &values]);
    has(
        &config,
        &[
            "converted from vault-kms-provider",
            "key = \"etcd\" # VAULT_TRANSIT_KEY",
            "mount = \"transit\" # the default of vault-kms-provider",
            "role = \"kms\" # VAULT_KUBERNETES_ROLE",
            "level = \"debug\"",
            &format!("path = \"{}\"", site.text("run/vault-kms-provider.sock")),
            "health_listen = \"0.0.0.0:8080\"",
        ],
    );
    has(
        &said,
        &[
            "VAULT_TRANSIT_PATH: has no effect",
            "SOCKET_PERMISSIONS: 666 lets every local process decrypt",
            "is made by kubelet for a pod of the API",
        ],
    );
}

fn a_config_map_before_the_deployment_that_names_it() {
    let site = Site::new();
    let map = site.write(
        "map.yaml",
        "kind: ConfigMap\ndata:\n  VAULT_ADDRESS: https://v\n  SOCKET_PATH: /run/sockets/kms.sock\n  VAULT_TOKEN_PATH: \
         /secrets/token\n",
    );
    let deployment = site.write(
        "deployment.yaml",
        "kind: Deployment\nspec:\n  template:\n    spec:\n      containers:\n        - name: plugin\n          image: \
         ruddickmg/vault-kms-provider:1\n          envFrom:\n            - configMapRef: {name: map}\n          \
         volumeMounts:\n            - {name: s, mountPath: /run/sockets}\n            - {name: t, mountPath: /secrets}\n      \
         volumes:\n        - {name: s, hostPath: {path: @/run}}\n        - {name: t, secret: {secretName: x}}\n",
    );
    let (config, said) = site.converted(&["--input", &map, "--input", &deployment]);
    has(
        &config,
        &["token_file = \"/secrets/token\" # VAULT_TOKEN_PATH"],
    );
    has(
        &said,
        &["VAULT_TOKEN_PATH: /secrets/token is made by kubelet"],
    );
}

fn kleidis_json_beside_its_command_line() {
    let site = Site::new();
    let json = site.write(
        "config.json",
        r#"{"namespace": "", "transitkey": "kleidi", "vaultrole": "kleidi", "address": "http://127.0.0.1:8200",
            "transitpath": "transit", "authmethod": "k8s", "authpath": "kubernetes"}"#,
    );
    let listen = format!("-listen=unix://{}", site.text("run/kleidi.socket"));
    let arguments = ["--input", &json, "--", "-provider=hvault", &listen];
    let (config, said) = site.converted(&arguments);
    has(
        &config,
        &[
            "converted from kleidi",
            "method = \"kubernetes\"",
            "plugin = \"kleidi\"",
            "key = \"kleidi\" # transitkey",
        ],
    );
    has(
        &said,
        &["authmethod: /var/run/secrets/kubernetes.io/serviceaccount/token is made by kubelet"],
    );
}

const BAO: &str = "\
configVersion: v1alpha1
server:
  socketPath: @/run/kms.sock
  socketMode: \"0660\"
  socketGroup: \"0\"
  metricsAddress: \"127.0.0.1:8081\"
openbao:
  address: https://bao.example.internal:8200
  namespace: \"\"
  caCertFile: @/certs/ca.pem
  tlsServerName: bao.example.internal
  instanceId: bao-prod-a
auth:
  method: jwt
  jwt:
    source: file
    mountPath: auth/k8s-jwt
    role: openbao-kms-control-plane
    jwtFile: @/jwt
    expectedAudience:
      - bao-kms-provider
transit:
  mountPath: transit
  keyName: etcd
  keyIdScope:
    providerName: openbao-kms-workload-a
    clusterId: workload-a
    transitMountId: transit-prod-primary
    keyLineageId: \"01HX\"
rotation:
  activationDelay: 5m
logging:
  level: info
  logOpenBaoRequestIDs: true
";

fn the_yaml_of_bao_kms_provider_keeps_a_reader_of_what_it_wrote() {
    let site = Site::new();
    let ca = super::super::harness::certificates::Certificates::new();
    fs::write(site.path("certs/ca.pem"), ca.ca_pem()).unwrap();
    let yaml = site.write("config.yaml", BAO);
    let (config, said) = site.converted(&["--input", &yaml]);
    has(
        &config,
        &[
            "[[transit.decrypt_also]]",
            "associated_data = \"bao-kms-provider\"",
            "provider_name = \"openbao-kms-workload-a\"",
            "cluster_id = \"workload-a\"",
            "instance_id = \"bao-prod-a\"",
            "mount = \"k8s-jwt\" # auth.jwt.mountPath",
            "allow_gids = [0]",
        ],
    );
    has(
        &said,
        &[
            "stop it on every node",
            "rotation.activationDelay: is not kept",
        ],
    );
    has(
        &site.out("vault-kms-plugin.socket"),
        &["SocketMode=0660", "SocketGroup=0"],
    );
}

tests! {
    plain a_command_line_with_a_token_becomes_a_unit_and_the_token_a_file;
    plain a_command_line_in_a_file_and_the_name_of_the_plugin_by_an_option;
    plain an_environment_file_of_each_plugin_that_has_variables;
    plain proxies_and_our_own_variables_go_into_the_environment_of_the_unit_or_the_pod;
    plain a_systemd_unit_with_its_environment_files;
    plain a_static_pod_becomes_one_with_the_paths_of_the_node;
    plain a_sidecar_of_openshift_among_other_containers;
    plain the_values_of_a_helm_chart_with_its_defaults;
    plain a_config_map_before_the_deployment_that_names_it;
    plain kleidis_json_beside_its_command_line;
    plain the_yaml_of_bao_kms_provider_keeps_a_reader_of_what_it_wrote;
}

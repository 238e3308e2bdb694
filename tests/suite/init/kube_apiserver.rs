//! Both steps of the EncryptionConfiguration with real kube-apiservers, and the manifests as they see them.

use std::time::Duration;

use serde_json::{Value, json};

use super::{SOCKET, Site};
use crate::harness::kubernetes::{Etcd, KubeApiserver};
use crate::harness::vault::Vault;
use crate::harness::wait;

const NAMESPACE: &str = "default";
const PODS: &str = "/api/v1/namespaces/kube-system/pods";
/// kube-apiserver looks at the file once a minute.
const RELOAD_LIMIT: Duration = Duration::from_secs(100);

async fn create(kubernetes: &KubeApiserver, name: &str) {
    let (code, answer) = kubernetes.create_secret(NAMESPACE, name, name).await;
    assert_eq!(code, 201, "{answer}");
}

async fn reads(kubernetes: &KubeApiserver, names: &[&str]) {
    for name in names {
        let read = kubernetes.read_secret(NAMESPACE, name).await;
        assert_eq!(read.as_deref(), Ok(*name));
    }
}

async fn is_encrypted(etcd: &Etcd, name: &str) -> bool {
    let key = format!("/registry/secrets/{NAMESPACE}/{name}");
    etcd.range(&key).await[0]
        .1
        .starts_with(b"k8s:enc:kms:v2:vault:")
}

/// Two nodes over one etcd: each step on one after the other, and both read everything at each moment.
async fn readers_first_and_then_the_writer_lose_nothing_on_two_nodes() {
    let vault = Vault::start().await;
    let arguments = ["--platform", "kubeadm", "--auth", "token"];
    let site = Site::new(&vault.address(), &arguments);
    site.set_up(&vault, "").await;
    site.set_up(&vault, "node cp-1").await;
    let daemon = site.ready().await;
    let socket = daemon.socket().display().to_string();
    let step = |name: &str| site.file(name).replace(SOCKET, &socket);
    let (readers, writer) = (
        step("encryption-1-readers.yaml"),
        step("encryption-2-writer.yaml"),
    );
    let etcd = Etcd::start().await;
    let reload = || vec!["--encryption-provider-config-automatic-reload=true".to_owned()];
    let one = KubeApiserver::start(&etcd, None, None).await;
    create(&one, "before").await;
    drop(one);

    // Step 1 on both.
    let one = KubeApiserver::launch(&etcd, Some(&readers), reload());
    one.ready().await;
    let two = KubeApiserver::launch(&etcd, Some(&readers), reload());
    two.ready().await;
    let (_, health) = one.request_text("GET", "/readyz?verbose", None).await;
    assert!(health.contains("[+]kms-providers ok"), "{health}");
    create(&one, "step-1").await;
    assert!(!is_encrypted(&etcd, "step-1").await);

    // Step 2 on the first one, by replacing the file; the second one reads what it writes.
    one.write_encryption(&writer);
    wait::until_true("the first one encrypts", RELOAD_LIMIT, async || {
        let name = format!("try-{}", fastrand::u32(..));
        create(&one, &name).await;
        is_encrypted(&etcd, &name).await
    })
    .await;
    create(&one, "by-one").await;
    create(&two, "by-two").await;
    assert!(is_encrypted(&etcd, "by-one").await);
    assert!(!is_encrypted(&etcd, "by-two").await);
    for kubernetes in [&one, &two] {
        reads(kubernetes, &["before", "step-1", "by-one", "by-two"]).await;
    }
    two.write_encryption(&writer);
    two.restart().await;
    create(&two, "last").await;
    assert!(is_encrypted(&etcd, "last").await);
    for kubernetes in [&one, &two] {
        reads(
            kubernetes,
            &["before", "step-1", "by-one", "by-two", "last"],
        )
        .await;
    }
}

/// What kube-apiserver says of a pod: 201 if it would take it.
async fn dry_run(kubernetes: &KubeApiserver, yaml: &str) -> Value {
    let (code, answer) = kubernetes.dry_run(PODS, yaml).await;
    assert_eq!(code, 201, "{answer}\n{yaml}");
    answer
}

async fn kube_apiserver_accepts_every_manifest() {
    let etcd = Etcd::start().await;
    let kubernetes = KubeApiserver::start(&etcd, None, None).await;
    kubernetes
        .create_service_account("kube-system", "default")
        .await;
    let socket = "/run/vault-kms-plugin-blue/kms-1.sock";
    let other = [
        "--socket",
        socket,
        "--image",
        "registry.example:5000/kms@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    ];
    for platform in ["static-pod", "kubeadm"] {
        for more in [&[][..], &other] {
            let arguments = [&["--platform", platform, "--auth", "token"], more].concat();
            let site = Site::new("https://vault.example:8200", &arguments);
            let pod = dry_run(&kubernetes, &site.file("vault-kms-plugin.yaml")).await;
            let container = &pod["spec"]["containers"][0];
            if more.is_empty() {
                let shipped = super::root().join("deploy/static-pod/vault-kms-plugin.yaml");
                let shipped = std::fs::read_to_string(shipped).unwrap();
                assert_eq!(site.file("vault-kms-plugin.yaml"), shipped);
                continue;
            }
            assert_eq!(container["image"], other[3]);
            let command = container["command"].to_string();
            assert!(
                command.contains("\"--dir=/run/vault-kms-plugin-blue\""),
                "{command}"
            );
            let live = container["livenessProbe"]["exec"]["command"].to_string();
            assert!(live.contains(&format!("\"--socket={socket}\"")), "{live}");
            let mount = &container["volumeMounts"][0]["mountPath"];
            assert_eq!(mount, "/run/vault-kms-plugin-blue");
            let host = &pod["spec"]["volumes"][0]["hostPath"]["path"];
            assert_eq!(host, "/run/vault-kms-plugin-blue");
            let config: toml::Table = site.file("config.toml").parse().unwrap();
            assert_eq!(config["socket"]["path"].as_str(), Some(socket));
            for step in ["encryption-1-readers.yaml", "encryption-2-writer.yaml"] {
                let endpoint = format!("endpoint: \"unix://{socket}\"");
                assert!(site.file(step).contains(&endpoint), "{step}");
            }
            let part = if platform == "kubeadm" {
                "kubeadm-apiserver.yaml"
            } else {
                "kube-apiserver.yaml"
            };
            assert!(
                site.file(part).contains("/run/vault-kms-plugin-blue\n")
                    || site.file(part).contains("/run/vault-kms-plugin-blue,"),
                "{part}"
            );
        }
    }
    the_part_for_kube_apiserver_fits_into_a_pod(&kubernetes).await;
    let page = std::fs::read_to_string(super::root().join("docs/install/hosted-control-planes.md"));
    the_sidecar_fits_into_a_pod(&kubernetes, &page.unwrap()).await;
}

/// `kube-apiserver.yaml` is no manifest by itself: with a name and an image it is one.
async fn the_part_for_kube_apiserver_fits_into_a_pod(kubernetes: &KubeApiserver) {
    let arguments = ["--platform", "static-pod", "--auth", "token"];
    let site = Site::new("https://vault.example:8200", &arguments);
    let part = site.file("kube-apiserver.yaml");
    let named = part.replace(
        "spec:\n",
        "apiVersion: v1\nkind: Pod\nmetadata: { name: kube-apiserver }\nspec:\n",
    );
    let whole = named.replace(
        "    - name: kube-apiserver\n",
        "    - name: kube-apiserver\n      image: kube-apiserver\n",
    );
    let pod = dry_run(kubernetes, &whole).await;
    let container = &pod["spec"]["containers"][0];
    let expected = json!([
        "--encryption-provider-config=/etc/kubernetes/enc/encryption.yaml",
        "--encryption-provider-config-automatic-reload=true"
    ]);
    assert_eq!(container["command"], expected);
}

async fn the_sidecar_fits_into_a_pod(kubernetes: &KubeApiserver, page: &str) {
    let block = page.split("```yaml\n").nth(1).unwrap();
    let block = block.split("```").next().unwrap();
    let named = format!("apiVersion: v1\nkind: Pod\nmetadata: {{ name: kube-apiserver }}\n{block}");
    let whole = named.replace(
        "    - name: kube-apiserver\n",
        "    - name: kube-apiserver\n      image: kube-apiserver\n",
    );
    let pod = dry_run(kubernetes, &whole).await;
    assert_eq!(pod["spec"]["initContainers"][0]["restartPolicy"], "Always");
    // And the plugin takes its configuration.
    let config = page.split("```toml\n").nth(1).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config.split("```").next().unwrap()).unwrap();
    let mut command = std::process::Command::new(super::PROGRAM);
    crate::harness::child::clean_environment(&mut command);
    let ended = command
        .args(["check", "--fingerprint", "--config"])
        .arg(file.path())
        .output()
        .unwrap();
    assert!(ended.status.success(), "{}", super::text(&ended.stderr));
}

tests! {
    multi readers_first_and_then_the_writer_lose_nothing_on_two_nodes [Vault, Kubernetes];
    multi kube_apiserver_accepts_every_manifest [Vault, Kubernetes];
}

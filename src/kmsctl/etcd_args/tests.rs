use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    etcd: EtcdArgs,
}

const MANIFEST: &str = "
apiVersion: v1
kind: Pod
metadata: {name: kube-apiserver, namespace: kube-system}
spec:
  containers:
  - command:
    - kube-apiserver
    - --etcd-servers=https://127.0.0.1:2379,https://10.0.0.2:2379
    - --etcd-cafile=/etc/kubernetes/pki/etcd/ca.crt
    - --etcd-certfile=/etc/kubernetes/pki/apiserver-etcd-client.crt
    - --etcd-keyfile=/etc/kubernetes/pki/apiserver-etcd-client.key
    - --etcd-prefix=/kubernetes
    - --encryption-provider-config=/etc/kubernetes/enc.yaml
    name: kube-apiserver
";

fn resolve(
    line: &[&str],
    variables: &[(&str, &str)],
    manifest: Option<&str>,
) -> Result<EtcdTarget, Diagnosis> {
    let root = tempfile::tempdir().expect("valid");
    let dir = root.path().join("etc/kubernetes/manifests");
    std::fs::create_dir_all(&dir).expect("valid");
    if let Some(text) = manifest {
        std::fs::write(dir.join("kube-apiserver.yaml"), text).expect("valid");
    }
    let args = Line::try_parse_from([&["audit"], line].concat()).expect("valid");
    let variable = |name: &str| {
        let mut found = variables.iter().filter(|(key, _)| *key == name);
        found.next().map(|(_, value)| (*value).to_owned())
    };
    let mut target = args.etcd.resolve_with(&variable, root.path())?;
    let strip = |path: &mut PathBuf| {
        if let Ok(rest) = path.strip_prefix(root.path()) {
            *path = Path::new("/").join(rest);
        }
    };
    let Options {
        cacert, identity, ..
    } = &mut target.options;
    cacert.iter_mut().for_each(|file| strip(&mut file.path));
    if let Some((cert, key)) = identity {
        strip(&mut cert.path);
        strip(&mut key.path);
    }
    target.encryption_config.iter_mut().for_each(strip);
    Ok(target)
}

fn paths(target: &EtcdTarget) -> Vec<String> {
    let Options {
        cacert, identity, ..
    } = &target.options;
    let pair = identity.iter().flat_map(|(cert, key)| [cert, key]);
    cacert
        .iter()
        .chain(pair)
        .map(|file| file.path.display().to_string())
        .collect()
}

#[test]
fn what_nothing_says_is_etcd_on_this_host() {
    let target = resolve(&[], &[], None).expect("valid");
    assert_eq!(target.options.endpoints, ["http://127.0.0.1:2379"]);
    assert_eq!(
        (target.prefix.as_str(), paths(&target).len()),
        ("/registry", 0)
    );
}

#[test]
fn the_manifest_of_kubeadm_says_all() {
    let target = resolve(&[], &[("ETCDCTL_ENDPOINTS", "")], Some(MANIFEST)).expect("valid");
    let endpoints = ["https://127.0.0.1:2379", "https://10.0.0.2:2379"];
    assert_eq!(target.options.endpoints, endpoints);
    assert_eq!(
        paths(&target),
        [
            "/etc/kubernetes/pki/etcd/ca.crt",
            "/etc/kubernetes/pki/apiserver-etcd-client.crt",
            "/etc/kubernetes/pki/apiserver-etcd-client.key"
        ]
    );
    assert_eq!(target.prefix, "/kubernetes");
    assert_eq!(
        target.encryption_config.as_deref(),
        Some(Path::new("/etc/kubernetes/enc.yaml"))
    );
    let named_by = target.options.cacert.expect("valid").named_by;
    assert_eq!(
        named_by,
        "--etcd-cafile in /etc/kubernetes/manifests/kube-apiserver.yaml"
    );
}

#[test]
fn the_command_line_precedes_the_variables_and_both_the_manifest() {
    let variables = [
        ("ETCDCTL_ENDPOINTS", "https://b:1, https://c:1"),
        ("ETCDCTL_CACERT", "/b.crt"),
        ("ETCDCTL_CERT", "/b.pem"),
        ("ETCDCTL_KEY", "/b.key"),
    ];
    let target = resolve(&[], &variables, Some(MANIFEST)).expect("valid");
    assert_eq!(target.options.endpoints, ["https://b:1", "https://c:1"]);
    assert_eq!(paths(&target), ["/b.crt", "/b.pem", "/b.key"]);
    let line = [
        "--endpoints",
        "https://a:1",
        "--cacert=/a.crt",
        "--cert=/a.pem",
        "--key=/a.key",
        "--prefix=/x",
    ];
    let target = resolve(&line, &variables, Some(MANIFEST)).expect("valid");
    assert_eq!(target.options.endpoints, ["https://a:1"]);
    assert_eq!(paths(&target), ["/a.crt", "/a.pem", "/a.key"]);
    assert_eq!(target.prefix, "/x");
    // Another member of the same etcd, with the files of the manifest; without TLS they are of no use.
    let target =
        resolve(&["--endpoints=https://10.0.0.3:2379"], &[], Some(MANIFEST)).expect("valid");
    assert_eq!(paths(&target).len(), 3);
    let target =
        resolve(&["--endpoints=http://10.0.0.3:2379"], &[], Some(MANIFEST)).expect("valid");
    assert_eq!(paths(&target).len(), 0);
}

#[test]
fn what_is_wrong_has_a_remedy() {
    let error = resolve(&["--cert=/a.pem"], &[], None).expect_err("an error");
    assert_eq!(
        error.to_string(),
        "/a.pem (--cert) is given without its key; give both, --cert and --key"
    );
    let error = resolve(&[], &[], Some("kind: [")).expect_err("an error");
    assert!(
        error.cause.contains("kube-apiserver.yaml: line "),
        "{error}"
    );
    assert!(resolve(&["--endpoints=http://a:1"], &[], Some("kind: [")).is_ok());
}

/// Its EncryptionConfiguration would contradict everything in the etcd of another cluster.
#[test]
fn the_manifest_says_nothing_of_another_etcd() {
    let variables = [("ETCDCTL_ENDPOINTS", "https://10.9.9.9:2379")];
    let target = resolve(&[], &variables, Some(MANIFEST)).expect("valid");
    assert_eq!(target.prefix, "/registry");
    assert_eq!(target.encryption_config, None);
    let variables = [("ETCDCTL_ENDPOINTS", "https://127.0.0.1:2379")];
    let target = resolve(&[], &variables, Some(MANIFEST)).expect("valid");
    assert_eq!(target.prefix, "/kubernetes");
    assert!(target.encryption_config.is_some());
}

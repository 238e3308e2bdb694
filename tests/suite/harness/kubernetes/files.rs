//! What a kube-apiserver is started with: its arguments, and the files they name.

use std::fs;

use tempfile::TempDir;

use super::super::child::{self, Child};
use super::super::servers::{Server, binary};
use super::{Etcd, ISSUER, TOKEN};

pub(super) const ENCRYPTION: &str = "encryption.yaml";
pub(super) const CERTIFICATE: &str = "certs/apiserver.crt";

pub(super) fn spawn(dir: &TempDir, arguments: &[String]) -> Child {
    let program = binary(Server::KubeApiserver);
    Child::spawn(
        &program,
        arguments,
        &dir.path().join("log"),
        child::clean_environment,
    )
}

pub(super) fn arguments(dir: &TempDir, port: u16, etcd: &Etcd) -> Vec<String> {
    vec![
        format!("--etcd-servers={}", etcd.address()),
        format!("--service-account-issuer={ISSUER}"),
        format!(
            "--service-account-key-file={}",
            in_dir(dir, "service-account.pub")
        ),
        format!(
            "--service-account-signing-key-file={}",
            in_dir(dir, "service-account.key")
        ),
        format!("--token-auth-file={}", in_dir(dir, "tokens.csv")),
        "--authorization-mode=RBAC".to_owned(),
        format!("--secure-port={port}"),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--cert-dir={}", in_dir(dir, "certs")),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
    ]
}

pub(super) fn write_credentials(dir: &TempDir) {
    let key = rcgen::KeyPair::generate().expect("a key pair can be made");
    write(dir, "service-account.key", &key.serialize_pem());
    write(dir, "service-account.pub", &key.public_key_pem());
    write(
        dir,
        "tokens.csv",
        &format!("{TOKEN},admin,admin,system:masters\n"),
    );
}

pub(super) fn write(dir: &TempDir, name: &str, content: &str) {
    fs::write(dir.path().join(name), content).expect("a file can be written");
}

pub(super) fn in_dir(dir: &TempDir, name: &str) -> String {
    dir.path().join(name).to_string_lossy().into_owned()
}

//! On a terminal it asks.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tempfile::TempDir;

use super::{PROGRAM, text};
use crate::harness::child::clean_environment;

/// `init` on a terminal with these answers typed. Its exit code, what it asked, and its directory.
fn typed(arguments: &[&str], answers: &str) -> (i32, String, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = File::options()
        .read(true)
        .write(true)
        .open(name.to_str().unwrap())
        .unwrap();
    let mut command = Command::new(PROGRAM);
    clean_environment(&mut command);
    command.arg("init").args(arguments).current_dir(dir.path());
    command
        .stdin(Stdio::from(slave))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut master = File::from(master);
    master.write_all(answers.as_bytes()).unwrap();
    let mut asked = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut asked)
        .unwrap();
    let ended = child.wait_with_output().unwrap();
    let shown = text(&ended.stdout);
    (ended.status.code().unwrap(), format!("{asked}{shown}"), dir)
}

fn what_is_open_is_asked_until_the_answer_is_right() {
    let answers = "windows\nkubeadm\n\nhttp://vault.example\nhttps://vault.example:8200\nca.pem\n/etc/vault-kms-plugin/ca.pem\n\na b\nblue\napprole\n";
    let (code, said, dir) = typed(&["--out", "files"], answers);
    assert_eq!(code, 0, "{said}");
    for part in [
        "Platform (systemd, static-pod, kubeadm, k3s, rke2, k0s): ",
        "\"windows\" is not one of ",
        "would send the token and every seed unencrypted",
        "\"ca.pem\" is not an absolute path",
        "Mount of the Transit engine [transit]: ",
        "Name of the key, which no other cluster uses [kms]: ",
        "Login (token, approle, userpass, jwt, kubernetes, cert) [token]: ",
        "Next, in this order",
    ] {
        assert!(said.contains(part), "no {part:?} in:\n{said}");
    }
    let config = fs::read_to_string(dir.path().join("files/config.toml")).unwrap();
    let config: toml::Table = config.parse().unwrap();
    assert_eq!(
        config["vault"]["address"].as_str(),
        Some("https://vault.example:8200")
    );
    assert_eq!(
        config["vault"]["ca_file"].as_str(),
        Some("/etc/vault-kms-plugin/ca.pem")
    );
    assert_eq!(config["transit"]["key"].as_str(), Some("blue"));
    assert_eq!(config["auth"]["method"].as_str(), Some("approle"));
    assert!(dir.path().join("files/kubeadm-apiserver.yaml").exists());
}

fn what_was_given_is_not_asked() {
    let given = [
        "--platform",
        "k3s",
        "--address",
        "https://vault.example:8200",
        "--auth",
        "token",
    ];
    let (code, said, _) = typed(&given, "");
    assert!(code == 0 && !said.contains("Platform ("), "{said}");
    let (code, said, _) = typed(&given[..4], "\n\n\n\n");
    assert!(
        code == 0 && !said.contains("Platform (") && said.contains("Login ("),
        "{said}"
    );
}

/// A comma separates only the values of what may be given several times.
fn a_comma_is_a_part_of_a_path() {
    let answers =
        "https://a:8200, https://b:8200\n/etc/vault-kms-plugin/a,b.pem\n\n\na b\ncp-1, cp-2\n";
    let (code, said, dir) = typed(&["--platform", "k3s", "--auth", "cert"], answers);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("\"a b\" must consist of"), "{said}");
    let out = dir.path().join("vault-kms-plugin-files");
    let config = fs::read_to_string(out.join("config.toml")).unwrap();
    assert!(
        config.contains("[\"https://a:8200\", \"https://b:8200\"]"),
        "{config}"
    );
    assert!(config.contains("/etc/vault-kms-plugin/a,b.pem"), "{config}");
    let script = fs::read_to_string(out.join("vault-setup.sh")).unwrap();
    assert!(script.contains("\nnode_names='cp-1,cp-2'\n"), "{script}");
}

fn a_terminal_that_ends_writes_nothing() {
    // Control-D at the start of a line.
    let (code, said, dir) = typed(&[], "k3s\n\u{4}");
    assert_eq!(code, 64, "{said}");
    assert!(said.contains("no answer: stdin ended"), "{said}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

tests! {
    plain what_is_open_is_asked_until_the_answer_is_right;
    plain what_was_given_is_not_asked;
    plain a_comma_is_a_part_of_a_path;
    plain a_terminal_that_ends_writes_nothing;
}

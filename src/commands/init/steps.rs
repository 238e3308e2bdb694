//! What to do with the files, in an order in which no object becomes unreadable.

use std::path::Path;

use super::answers::Answers;
use super::auth::{DIR, Method};
use super::encryption::{READERS, WRITER};
use super::text::shell;

/// The steps, numbered.
pub(super) fn of(answers: &Answers, dir: &Path, fingerprint: &str) -> String {
    let script = dir.join("vault-setup.sh").display().to_string();
    // Not an option of `sh`.
    let dot = if script.starts_with('-') { "./" } else { "" };
    let script = shell(&format!("{dot}{script}"));
    let file = answers.platform.encryption_config();
    let mut steps = vec![format!(
        "as an operator of Vault, with VAULT_ADDR and VAULT_TOKEN set:\n     sh {script}"
    )];
    steps.push(credential(answers, &script));
    let check = if answers.platform.is_pod() {
        "crictl exec \"$(crictl ps --name vault-kms-plugin -q)\" /usr/local/bin/vault-kms-plugin check"
    } else {
        "vault-kms-plugin check --unit vault-kms-plugin"
    };
    let secrets: Vec<_> = answers.auth.files().iter().map(|(_, name)| *name).collect();
    steps.push(format!(
        "on each control-plane node, install the plugin with config.toml and {} in {DIR}, and start it;\n     \
         these have to succeed, the second one with {fingerprint} on every node:\n     \
         {check}\n     {check} --fingerprint",
        secrets.join(" and ")
    ));
    steps.push(format!(
        "on each node {READERS} as {file}, and then kube-apiserver with its flags, one node after the other;\n     \
         where kube-apiserver has such a file already, add the provider to that one instead of replacing it"
    ));
    steps.push(format!(
        "only when /readyz?verbose of every kube-apiserver shows kms-providers: on each node {WRITER} as {file}.\n     \
         Never {READERS} again from here on, with which new objects are written unencrypted: a node that joins\n     \
         later gets the file of another node"
    ));
    steps.push(
        "write all objects again, and prove it in etcd: docs/operations/re-encryption.md and verify.md;\n     \
         only then remove `identity` from that file"
            .to_owned(),
    );
    let mut text = format!(
        "Next, in this order ({} has each command):\n",
        answers.platform.page()
    );
    for (index, step) in steps.iter().enumerate() {
        text.push_str(&format!("  {}. {step}\n", index + 1));
    }
    text.push_str(
        "Later, never remove the plugin, the key or that file while etcd holds what was encrypted: \
         docs/operations/disable.md\n",
    );
    text
}

/// How a node gets its credential.
fn credential(answers: &Answers, script: &str) -> String {
    if answers.auth.is_made_by_vault() {
        return format!("there, for each control-plane node:\n     sh {script} node NODE");
    }
    match answers.auth {
        Method::Cert => {
            format!(
                "for each control-plane node a certificate for the CA of client-ca.pem, as {DIR}/client.pem and client.key"
            )
        }
        _ => {
            "the token of the service account kube-system/vault-kms-plugin: docs/authentication.md"
                .to_owned()
        }
    }
}

//! `policy.hcl` and `vault-setup.sh`: the files of `deploy/` with the names of this installation.

use super::answers::Answers;
use super::output::OutputFile;
use super::text::shell;

const POLICY: &str = include_str!("../../../deploy/policy.hcl");
const SETUP: &str = include_str!("../../../deploy/vault-setup.sh");

pub(super) fn files(answers: &Answers) -> [OutputFile; 2] {
    [
        OutputFile::new(
            "policy.hcl",
            "all that the plugin may do in Vault",
            policy(answers),
        ),
        OutputFile::new(
            "vault-setup.sh",
            "makes engine, key, policy and login in Vault, where missing",
            setup(answers),
        ),
    ]
}

/// The names have no character that means something in a policy: see [`super::text::words`].
fn policy(answers: &Answers) -> String {
    let Answers { mount, key, .. } = answers;
    let mut policy = POLICY.replace(
        "`transit` is the mount and `kms` the key",
        &format!("`{mount}` is the mount and `{key}` the key"),
    );
    for operation in ["encrypt", "decrypt", "keys"] {
        policy = policy.replace(
            &format!("\"transit/{operation}/kms\""),
            &format!("\"{mount}/{operation}/{key}\""),
        );
    }
    policy
}

fn setup(answers: &Answers) -> String {
    let values = [
        ("namespace", answers.namespace.clone().unwrap_or_default()),
        ("mount", answers.mount.clone()),
        ("key", answers.key.clone()),
        ("policy", answers.policy.clone()),
        ("method", answers.auth.name().to_owned()),
        ("auth_mount", answers.auth_mount.clone()),
        ("role", answers.role.clone()),
        ("username", answers.username.clone()),
        ("issuer", answers.issuer.clone()),
        ("kubernetes_host", answers.kubernetes_host.clone()),
        ("node_names", common_names(answers)),
    ];
    let line = |line: &str| {
        let value = values.iter().find(|(name, _)| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with("='"))
        });
        match value {
            Some((name, value)) => format!("{name}={}\n", shell(value)),
            None => format!("{line}\n"),
        }
    };
    SETUP.lines().map(line).collect()
}

/// The names in the certificates of the nodes.
fn common_names(answers: &Answers) -> String {
    answers.node_names.join(",")
}

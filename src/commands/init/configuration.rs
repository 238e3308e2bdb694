//! `config.toml`: what differs from the defaults, checked by the parser of the daemon.

use super::answers::{Answers, SOCKET};
use super::auth::{DIR, Method};
use super::text::toml;
use crate::config::{Config, ConfigErrors};
use crate::system::user_namespace::{self, NOBODY};

/// Which option a key of the configuration comes from.
const OPTIONS: [(&str, &str); 11] = [
    ("vault.address", "address"),
    ("vault.namespace", "namespace"),
    ("vault.ca_file", "ca-file"),
    ("vault.tls_server_name", "tls-server-name"),
    ("transit.mount", "mount"),
    ("transit.key", "key"),
    ("transit.key_id_suffix", "key-id-suffix"),
    ("auth.mount", "auth-mount"),
    ("auth.role", "role"),
    ("auth.username", "username"),
    ("socket.path", "socket"),
];

/// The file, and what the daemon would make of it.
///
/// # Errors
/// With each error that the daemon would have, and its option.
pub(super) fn of(answers: &Answers) -> Result<(String, Config), String> {
    let text = text_of(answers, true);
    // Whether 65534 is a user depends on the host, and this need not be the node.
    let is_elsewhere = answers.allow_uids.contains(&NOBODY) && !user_namespace::maps_every_user();
    let checked = text_of(answers, !is_elsewhere);
    let config = Config::parse(&checked).map_err(|errors| describe(&errors))?;
    Ok((text, config))
}

fn describe(errors: &ConfigErrors) -> String {
    let lines = errors.iter().map(|error| {
        let option = OPTIONS.iter().find(|(key, _)| *key == error.key);
        match option {
            Some((_, option)) => format!("--{option}: {error}"),
            None => error.to_string(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn text_of(answers: &Answers, with_users: bool) -> String {
    let mut lines = vec![
        format!(
            "# {DIR}/config.toml of every control-plane node, written by `vault-kms-plugin init`."
        ),
        "# What is not here has its default: see vault-kms-plugin.toml(5).".to_owned(),
    ];
    let mut socket = Vec::new();
    if answers.socket != SOCKET {
        socket.push(format!("path = {}", toml(&answers.socket)));
    }
    if with_users && !answers.allow_uids.is_empty() {
        socket.push(
            "# The users that kube-apiserver may run as, instead of root and the plugin's own."
                .to_owned(),
        );
        socket.push(format!("allow_uids = {:?}", answers.allow_uids));
    }
    table(&mut lines, "socket", socket);
    table(&mut lines, "vault", vault(answers));
    table(&mut lines, "transit", transit(answers));
    table(&mut lines, "auth", auth(answers));
    lines.push(String::new());
    lines.join("\n")
}

fn table(lines: &mut Vec<String>, name: &str, keys: Vec<String>) {
    if !keys.is_empty() {
        lines.extend([String::new(), format!("[{name}]")]);
        lines.extend(keys);
    }
}

fn vault(answers: &Answers) -> Vec<String> {
    let addresses: Vec<_> = answers.addresses.iter().map(|it| toml(it)).collect();
    let mut keys = vec![match addresses.as_slice() {
        [one] => format!("address = {one}"),
        several => format!("address = [{}]", several.join(", ")),
    }];
    if let Some(namespace) = &answers.namespace {
        keys.push(format!("namespace = {}", toml(namespace)));
    }
    if let Some(file) = &answers.ca_file {
        keys.push(
            "# The certificate of Vault's CA; the CA certificates of the system are not used."
                .to_owned(),
        );
        keys.push(format!("ca_file = {}", toml(file)));
    }
    if let Some(name) = &answers.tls_server_name {
        keys.push(format!("tls_server_name = {}", toml(name)));
    }
    keys
}

fn transit(answers: &Answers) -> Vec<String> {
    let mut keys =
        vec!["# The key_id is made of these: they are the same on every node.".to_owned()];
    if answers.mount != "transit" {
        keys.push(format!("mount = {}", toml(&answers.mount)));
    }
    keys.push(format!("key = {}", toml(&answers.key)));
    if let Some(suffix) = &answers.key_id_suffix {
        keys.push(format!("key_id_suffix = {}", toml(suffix)));
    }
    keys
}

fn auth(answers: &Answers) -> Vec<String> {
    let method = answers.auth;
    let mut keys = vec![format!("method = {}", toml(method.name()))];
    if method != Method::Token && answers.auth_mount != method.name() {
        keys.push(format!("mount = {}", toml(&answers.auth_mount)));
    }
    if method.names_role() {
        keys.push(format!("role = {}", toml(&answers.role)));
    }
    if method == Method::Userpass {
        keys.push(format!("username = {}", toml(&answers.username)));
    }
    let files = method.files().iter();
    keys.extend(files.map(|(key, name)| format!("{key} = {}", toml(&format!("{DIR}/{name}")))));
    keys
}

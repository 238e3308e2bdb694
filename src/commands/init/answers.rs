//! The answers: checked for what the files can hold. What a setting means is left to the parser of the
//! configuration.

use super::auth::{DIR, Method};
use super::platform::{KubeadmApi, Platform};
use super::text;
use crate::cli;

/// The node's directory of the socket, which all shipped files name.
pub(super) const SOCKET_DIR: &str = "/run/vault-kms-plugin";
/// The socket, likewise.
pub(super) const SOCKET: &str = "/run/vault-kms-plugin/kms.sock";

/// What the files are made of.
#[derive(Debug, Clone)]
pub(super) struct Answers {
    pub(super) platform: Platform,
    pub(super) addresses: Vec<String>,
    pub(super) ca_file: Option<String>,
    pub(super) tls_server_name: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) mount: String,
    pub(super) key: String,
    pub(super) key_id_suffix: Option<String>,
    pub(super) policy: String,
    pub(super) auth: Method,
    pub(super) auth_mount: String,
    pub(super) role: String,
    pub(super) username: String,
    pub(super) issuer: String,
    pub(super) kubernetes_host: String,
    pub(super) node_names: Vec<String>,
    pub(super) socket: String,
    pub(super) allow_uids: Vec<u32>,
    pub(super) provider: String,
    pub(super) resources: Vec<String>,
    pub(super) timeout: String,
    pub(super) image: String,
    pub(super) program: String,
    pub(super) kubeadm_api: KubeadmApi,
}

/// Checks answers, each with its option, and keeps every error.
#[derive(Debug, Default)]
struct Checks(Vec<String>);

impl Checks {
    fn of(&mut self, option: &str, text: &str, check: impl Fn(&str) -> Result<(), String>) {
        if let Err(error) = check(text) {
            self.refuse(option, &error);
        }
    }

    fn each(
        &mut self,
        option: &str,
        texts: &[String],
        check: impl Fn(&str) -> Result<(), String> + Copy,
    ) {
        for text in texts {
            self.of(option, text, check);
        }
    }

    fn refuse(&mut self, option: &str, error: &str) {
        self.0.push(format!("--{option}: {error}"));
    }
}

/// Mounts and namespaces without the slashes that users write at their ends.
fn trimmed(path: &str) -> String {
    path.trim_matches('/').to_owned()
}

impl Answers {
    /// The answers, with a default for each that was not given.
    ///
    /// # Errors
    /// With every error, each with its option.
    pub(super) fn try_new(options: &cli::Init) -> Result<Self, Vec<String>> {
        let (Some(platform), Some(auth)) = (options.platform, options.auth) else {
            return Err(vec!["--platform and --auth are required".to_owned()]);
        };
        let given = options.clone();
        let answers = Self {
            platform,
            addresses: given.address,
            ca_file: given.ca_file,
            tls_server_name: given.tls_server_name,
            namespace: given.namespace.as_deref().map(trimmed),
            mount: trimmed(given.mount.as_deref().unwrap_or(cli::DEFAULT_MOUNT)),
            key: given.key.unwrap_or_else(|| cli::DEFAULT_KEY.to_owned()),
            key_id_suffix: given.key_id_suffix,
            policy: given.policy,
            auth,
            auth_mount: given
                .auth_mount
                .map_or_else(|| auth.name().to_owned(), |mount| trimmed(&mount)),
            role: given.role,
            username: given.username,
            issuer: given.issuer,
            kubernetes_host: given.kubernetes_host.unwrap_or_default(),
            node_names: given.node_name,
            socket: given.socket,
            allow_uids: given.allow_uid,
            provider: given.provider,
            resources: given.resource,
            timeout: given.timeout,
            image: given.image,
            program: given.program,
            kubeadm_api: given.kubeadm_api,
        };
        let errors = answers.errors();
        if errors.is_empty() {
            Ok(answers)
        } else {
            Err(errors)
        }
    }

    fn errors(&self) -> Vec<String> {
        let mut checks = Checks::default();
        checks.each("address", &self.addresses, text::line);
        if let Some(file) = &self.ca_file {
            checks.of("ca-file", file, text::line);
            if self.platform.is_pod() && !file.starts_with(&format!("{DIR}/")) {
                let error =
                    format!("{file:?} is not below {DIR}, of which alone the pod sees files");
                checks.refuse("ca-file", &error);
            }
        }
        if let Some(name) = &self.tls_server_name {
            checks.of("tls-server-name", name, text::line);
        }
        if let Some(namespace) = &self.namespace {
            checks.of("namespace", namespace, text::words);
        }
        checks.of("mount", &self.mount, text::words);
        checks.of("key", &self.key, text::word);
        checks.of("policy", &self.policy, text::word);
        checks.of("auth-mount", &self.auth_mount, text::words);
        checks.of("role", &self.role, text::word);
        checks.of("username", &self.username, text::word);
        checks.of("issuer", &self.issuer, text::line);
        if self.auth == Method::Kubernetes {
            checks.of("kubernetes-host", &self.kubernetes_host, text::line);
        }
        checks.each("node-name", &self.node_names, text::word);
        checks.of("socket", &self.socket, text::plain_path);
        if !self.has_own_socket_dir() {
            let error = format!(
                "{:?} is not in a directory of its own, as in {SOCKET_DIR}-blue/kms.sock: it is given to the plugin",
                self.socket
            );
            checks.refuse("socket", &error);
        } else if self.platform.has_unit() && self.socket_dir() != SOCKET_DIR {
            let error = format!(
                "{:?} is not in {SOCKET_DIR}, the directory of the unit",
                self.socket
            );
            checks.refuse("socket", &error);
        }
        checks.of("provider", &self.provider, text::word);
        checks.each("resource", &self.resources, |resource| {
            let is_allowed = |c: char| text::is_word(c) || c == '*';
            text::only(
                resource,
                is_allowed,
                "letters, digits, dots, hyphens and `*`",
            )
        });
        checks.of("timeout", &self.timeout, |timeout| {
            let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '.';
            text::only(timeout, is_allowed, "a number and its unit, such as 3s")
        });
        checks.of("image", &self.image, |image| {
            let is_allowed = |c: char| text::is_word(c) || "/:@".contains(c);
            text::only(image, is_allowed, "the characters of an image's name")
        });
        checks.of("program", &self.program, text::plain_path);
        checks.0
    }

    /// Whether the directory can be given to the plugin, and mounted into the pod of kube-apiserver.
    fn has_own_socket_dir(&self) -> bool {
        let name = self.socket_dir().strip_prefix(SOCKET_DIR);
        name.is_some_and(|rest| rest.is_empty() || rest.starts_with('-') && !rest.contains('/'))
    }

    /// The directory of the socket.
    pub(super) fn socket_dir(&self) -> &str {
        self.socket.rsplit_once('/').map_or("", |(dir, _)| dir)
    }
}

//! The answers: checked for what the files can hold. What a setting means is left to the parser of the
//! configuration.

use std::path::{Component, Path};

use super::auth::{DIR, Method};
use super::platform::{KubeadmApi, Platform};
use super::text;
use crate::cli;

/// The node's directory of the socket, which all shipped files name.
pub(super) const SOCKET_DIR: &str = "/run/vault-kms-plugin";
/// The socket, likewise.
pub(super) const SOCKET: &str = "/run/vault-kms-plugin/kms.sock";

/// The mount of the Transit engine, unless another one is named.
pub(super) const DEFAULT_MOUNT: &str = "transit";
/// The key, likewise.
pub(super) const DEFAULT_KEY: &str = "kms";

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
        let platform = options.one("platform").and_then(Platform::named);
        let auth = options.one("auth").and_then(Method::named);
        let (Some(platform), Some(auth)) = (platform, auth) else {
            return Err(vec!["--platform and --auth are required".to_owned()]);
        };
        let given = |name: &str| options.one(name).map(str::to_owned);
        let or_default = |name: &str| given(name).unwrap_or_default();
        let mut uids = Vec::new();
        for uid in options.all("allow-uid") {
            let error = || vec![format!("--allow-uid: {uid:?} is not the number of a user")];
            uids.push(uid.parse().map_err(|_| error())?);
        }
        let answers = Self {
            platform,
            addresses: options.all("address").to_vec(),
            ca_file: given("ca-file"),
            tls_server_name: given("tls-server-name"),
            namespace: options.one("namespace").map(trimmed),
            mount: trimmed(options.one("mount").unwrap_or(DEFAULT_MOUNT)),
            key: given("key").unwrap_or_else(|| DEFAULT_KEY.to_owned()),
            key_id_suffix: given("key-id-suffix"),
            policy: or_default("policy"),
            auth,
            auth_mount: trimmed(options.one("auth-mount").unwrap_or(auth.name())),
            role: or_default("role"),
            username: or_default("username"),
            issuer: or_default("issuer"),
            kubernetes_host: or_default("kubernetes-host"),
            node_names: options.all("node-name").to_vec(),
            socket: or_default("socket"),
            allow_uids: uids,
            provider: or_default("provider"),
            resources: options.all("resource").to_vec(),
            timeout: or_default("timeout"),
            image: or_default("image"),
            program: or_default("program"),
            kubeadm_api: KubeadmApi::named(&or_default("kubeadm-api")),
        };
        let mut errors = answers.errors();
        if let Some(Err(error)) = options.one("out").map(text::line) {
            errors.insert(0, format!("--out: {error}"));
        }
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
            let below = Path::new(file).strip_prefix(DIR).map(Path::components);
            let is_below = below.is_ok_and(|mut names| {
                file.starts_with('/') && names.all(|name| matches!(name, Component::Normal(_)))
            });
            if self.platform.is_pod() && !is_below {
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

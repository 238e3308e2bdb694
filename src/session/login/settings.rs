//! How to log in: the method, and what it needs.

use super::spiffe::Workload;
use super::wrapped::Wrapped;
use crate::session::credentials::Credential;
use crate::vault::{MountPath, Namespace};

/// How to log in, and in which namespace.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The namespace of the auth mount.
    pub namespace: Namespace,
    /// The method.
    pub method: Method,
}

/// A method to log in by.
#[derive(Debug, Clone)]
pub enum Method {
    /// A token that an operator or an agent provides.
    Token(Credential),
    /// A service account's token, reviewed by kube-apiserver for Vault.
    Kubernetes(Jwt),
    /// A JWT that Vault checks itself.
    Jwt(Jwt),
    /// A role_id, and a secret_id if the role requires one.
    AppRole(AppRole),
    /// A user and a password.
    Userpass(Userpass),
    /// The client certificate of the connection itself.
    Cert(Cert),
}

/// What a login with a JWT needs.
#[derive(Debug, Clone)]
pub struct Jwt {
    /// Where the auth method is mounted.
    pub mount: MountPath,
    /// The role; `None` for the default role of the mount.
    pub role: Option<String>,
    /// Where the JWT comes from.
    pub source: JwtSource,
}

/// Where a JWT comes from.
#[derive(Debug, Clone)]
pub enum JwtSource {
    /// A file that is kept up to date by something else.
    File(Credential),
    /// The SPIFFE agent issues one for each login.
    Spiffe(Workload),
}

/// What a login with an AppRole needs.
#[derive(Debug, Clone)]
pub struct AppRole {
    /// Where the auth method is mounted.
    pub mount: MountPath,
    /// Identifies the role.
    pub role_id: Credential,
    /// Authenticates it.
    pub secret_id: SecretId,
}

/// Where the secret_id of an AppRole comes from.
#[derive(Debug, Clone)]
pub enum SecretId {
    /// The role has `bind_secret_id=false`.
    None,
    /// In plain text.
    Plain(Credential),
    /// Response-wrapped.
    Wrapped(Wrapped),
}

/// What a login with a password needs.
#[derive(Debug, Clone)]
pub struct Userpass {
    /// Where the auth method is mounted.
    pub mount: MountPath,
    /// The user.
    pub username: String,
    /// The password.
    pub password: Credential,
}

/// What a login with the client certificate needs besides the certificate.
#[derive(Debug, Clone)]
pub struct Cert {
    /// Where the auth method is mounted.
    pub mount: MountPath,
    /// The role; `None` for every role that matches.
    pub role: Option<String>,
    /// The file of the certificate that the connections present: named in errors, and watched.
    pub certificate: Credential,
}

impl Settings {
    /// The files and values that a login would read now. Without a certificate, which is read with
    /// the connection, and without a wrapping token, which may have been spent long ago.
    #[must_use]
    pub fn credentials(&self) -> Vec<Credential> {
        if matches!(self.method, Method::Cert(_)) || self.method.wrapped().is_some() {
            return Vec::new();
        }
        self.method.credentials()
    }
}

impl Method {
    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::Kubernetes(_) => "kubernetes",
            Self::Jwt(_) => "jwt",
            Self::AppRole(_) => "approle",
            Self::Userpass(_) => "userpass",
            Self::Cert(_) => "cert",
        }
    }

    /// Whether Vault locks a role or user out, for every node that shares it, after a few
    /// rejections (5 in 15 minutes; OpenBao `configutil/userlockout.go`).
    pub(in crate::session) fn locks_out(&self) -> bool {
        match self {
            Self::AppRole(_) | Self::Userpass(_) => true,
            Self::Token(_) | Self::Kubernetes(_) | Self::Jwt(_) | Self::Cert(_) => false,
        }
    }

    /// Whether the token comes from a login of the plugin's own.
    pub(in crate::session) fn owns_token(&self) -> bool {
        !matches!(self, Self::Token(_))
    }

    /// The wrapped secret_id, if it is delivered wrapped.
    pub(in crate::session) fn wrapped(&self) -> Option<&Wrapped> {
        match self {
            Self::AppRole(AppRole {
                secret_id: SecretId::Wrapped(wrapped),
                ..
            }) => Some(wrapped),
            _ => None,
        }
    }

    /// Whether a wrapping token is being spent, and its secret_id is not stored yet.
    pub(in crate::session) fn is_unwrapping(&self) -> bool {
        self.wrapped().is_some_and(Wrapped::is_unwrapping)
    }

    /// All credentials that it uses.
    pub(in crate::session) fn credentials(&self) -> Vec<Credential> {
        match self {
            Self::Token(token) => vec![token.clone()],
            Self::Kubernetes(jwt) | Self::Jwt(jwt) => match &jwt.source {
                JwtSource::File(file) => vec![file.clone()],
                JwtSource::Spiffe(_) => Vec::new(),
            },
            Self::AppRole(approle) => {
                let secret_id = match &approle.secret_id {
                    SecretId::None => None,
                    SecretId::Plain(secret_id) => Some(secret_id),
                    SecretId::Wrapped(wrapped) => Some(wrapped.file()),
                };
                let all = secret_id.into_iter().chain([&approle.role_id]);
                all.cloned().collect()
            }
            Self::Userpass(userpass) => vec![userpass.password.clone()],
            Self::Cert(cert) => vec![cert.certificate.clone()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn file(key: &'static str) -> Credential {
        Credential::file(key, Path::new("/run").join(key))
    }

    fn mount(name: &str) -> MountPath {
        MountPath::try_new(name).expect("a mount")
    }

    fn approle(secret_id: SecretId) -> Method {
        Method::AppRole(AppRole {
            mount: mount("approle"),
            role_id: file("role_id"),
            secret_id,
        })
    }

    fn wrapped() -> Wrapped {
        let role = "plugin".to_owned();
        Wrapped::new(
            file("wrapping_token"),
            &mount("approle"),
            role,
            "/run/store".into(),
        )
    }

    /// Each method: its name, whether Vault locks its users out, and the keys of its credentials.
    fn table() -> Vec<(Method, &'static str, bool, &'static [&'static str])> {
        let userpass = Method::Userpass(Userpass {
            mount: mount("userpass"),
            username: "u".to_owned(),
            password: file("password"),
        });
        let cert = Method::Cert(Cert {
            mount: mount("cert"),
            role: None,
            certificate: file("certificate"),
        });
        vec![
            (Method::Token(file("token")), "token", false, &["token"]),
            (approle(SecretId::None), "approle", true, &["role_id"]),
            (
                approle(SecretId::Plain(file("secret_id"))),
                "approle",
                true,
                &["secret_id", "role_id"],
            ),
            (
                approle(SecretId::Wrapped(wrapped())),
                "approle",
                true,
                &["wrapping_token", "role_id"],
            ),
            (userpass, "userpass", true, &["password"]),
            (cert, "cert", false, &["certificate"]),
        ]
    }

    #[test]
    fn a_method_has_its_name_its_credentials_and_its_lockout() {
        for (method, name, locks_out, keys) in table() {
            assert_eq!(method.name(), name);
            assert_eq!(method.locks_out(), locks_out, "{name}");
            assert_eq!(method.owns_token(), name != "token", "{name}");
            let credentials = method.credentials();
            let found: Vec<_> = credentials.iter().map(Credential::key).collect();
            assert_eq!(found, keys, "{name}");
        }
    }

    #[test]
    fn a_login_reads_no_certificate_and_no_wrapping_token_that_may_be_spent() {
        for (method, name, _, keys) in table() {
            let is_left_out = name == "cert" || method.wrapped().is_some();
            let settings = Settings {
                namespace: Namespace::default(),
                method,
            };
            let count = settings.credentials().len();
            assert_eq!(count, if is_left_out { 0 } else { keys.len() }, "{keys:?}");
        }
    }

    #[test]
    fn only_a_wrapped_secret_id_is_unwrapped() {
        for (method, name, _, keys) in table() {
            let is_wrapped = keys.contains(&"wrapping_token");
            assert_eq!(method.wrapped().is_some(), is_wrapped, "{name} {keys:?}");
            assert!(!method.is_unwrapping());
            if let Some(wrapped) = method.wrapped() {
                wrapped.set_unwrapping(true);
                assert!(method.is_unwrapping());
            }
        }
    }
}

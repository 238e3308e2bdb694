//! `[auth]`.

mod approle;
mod spiffe;

use std::path::Path;

use toml::Value;

use crate::config::Environment;
use crate::config::raw::{self, Leaf};
use crate::config::reader::{Reader, absolute};
use crate::session::{Cert, Credential, Jwt, JwtSource, Method, Settings, Userpass};
use crate::vault::{ClientCertificate, MountPath, Namespace, Token};

/// The methods, and the keys that belong to each.
const METHODS: [(&str, &[&str]); 6] = [
    ("token", &["token_file"]),
    ("kubernetes", &["mount", "role", "jwt_file"]),
    (
        "jwt",
        &[
            "mount",
            "role",
            "jwt_file",
            "spiffe_socket",
            "spiffe_audience",
            "spiffe_id",
            "spiffe_trust_domain",
        ],
    ),
    (
        "approle",
        &[
            "mount",
            "role",
            "role_id",
            "role_id_file",
            "secret_id",
            "secret_id_file",
            "wrapped_secret_id_file",
        ],
    ),
    ("userpass", &["mount", "username", "password_file"]),
    ("cert", &["mount", "role", "cert_file", "key_file"]),
];

/// What a method needs that stands elsewhere.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    pub(super) environment: &'a Environment,
    pub(super) certificate: Option<&'a ClientCertificate>,
    pub(super) state_file: Option<&'a Path>,
}

/// How to log in; in `namespace`, unless another one is named.
pub(super) fn auth(
    reader: &mut Reader,
    mut raw: raw::Auth,
    namespace: Namespace,
    around: Around<'_>,
    warnings: &mut Vec<String>,
) -> Option<Settings> {
    let own = reader.parsed("auth.namespace", raw.namespace.take(), Namespace::try_new);
    Some(Settings {
        method: method(reader, raw, around, warnings)?,
        namespace: own.unwrap_or(namespace),
    })
}

fn method(
    reader: &mut Reader,
    mut raw: raw::Auth,
    around: Around<'_>,
    warnings: &mut Vec<String>,
) -> Option<Method> {
    let token = around.environment.vault("TOKEN");
    let name = match (reader.text("auth.method", raw.method.take()), token) {
        (Some(name), _) => name,
        (None, Some(_)) => "token".to_owned(),
        (None, None) => {
            let problem = format!("is missing: {}; or set VAULT_TOKEN to try it out", names());
            reader.refuse("auth.method", problem);
            return None;
        }
    };
    let Some((_, own)) = METHODS.iter().find(|(method, _)| *method == name) else {
        let problem = format!("{name:?} is not supported: {}", names());
        reader.refuse("auth.method", problem);
        return None;
    };
    refuse_foreign(reader, &raw, own);
    match name.as_str() {
        "token" => token_source(reader, raw.token_file, token, warnings).map(Method::Token),
        "kubernetes" => {
            let role = required_text(reader, "auth.role", raw.role.take(), "the role in vault");
            let jwt = jwt(reader, &name, raw, role, around.environment)?;
            jwt.role.is_some().then_some(Method::Kubernetes(jwt))
        }
        "jwt" => {
            let role = reader.text("auth.role", raw.role.take());
            jwt(reader, &name, raw, role, around.environment).map(Method::Jwt)
        }
        "cert" => cert(reader, raw, around.certificate).map(Method::Cert),
        "approle" => {
            approle::approle(reader, raw, around.state_file, warnings).map(Method::AppRole)
        }
        _ => userpass(reader, raw).map(Method::Userpass),
    }
}

/// `token, kubernetes or …`
fn names() -> String {
    let names: Vec<_> = METHODS.iter().map(|(name, _)| *name).collect();
    let (last, others) = names.split_last().unwrap_or((&"", &[]));
    format!("{} or {last}", others.join(", "))
}

/// Refuses every key that is set and belongs to other methods only.
fn refuse_foreign(reader: &mut Reader, raw: &raw::Auth, own: &[&str]) {
    for (key, leaf) in raw.of_methods() {
        if leaf.is_none() || own.contains(&key) {
            continue;
        }
        let owners = METHODS.iter().filter(|(_, keys)| keys.contains(&key));
        let owners: Vec<_> = owners.map(|(name, _)| format!("{name:?}")).collect();
        let problem = format!("belongs to auth.method {}: remove it", owners.join(" or "));
        reader.refuse(&format!("auth.{key}"), problem);
    }
}

fn token_source(
    reader: &mut Reader,
    file: Leaf,
    token: Option<&str>,
    warnings: &mut Vec<String>,
) -> Option<Credential> {
    if let Some(file) = reader.path("auth.token_file", file) {
        return Some(Credential::file("auth.token_file", file));
    }
    match token.map(Token::try_new) {
        Some(Ok(token)) => {
            warnings.push(
                "VAULT_TOKEN: a token in the environment is for trying out: use auth.token_file"
                    .to_owned(),
            );
            Some(Credential::value("VAULT_TOKEN", token.expose_secret()))
        }
        Some(Err(error)) => {
            reader.refuse("VAULT_TOKEN", error);
            None
        }
        None => {
            reader.refuse(
                "auth.token_file",
                "is missing: the file that holds the token; or set VAULT_TOKEN to try it out",
            );
            None
        }
    }
}

fn jwt(
    reader: &mut Reader,
    method: &str,
    mut raw: raw::Auth,
    role: Option<String>,
    environment: &Environment,
) -> Option<Jwt> {
    let mount = mount(reader, raw.mount.take(), method);
    let source = if method == "jwt" && spiffe::is_wanted(&raw) {
        spiffe::workload(reader, raw, environment).map(JwtSource::Spiffe)
    } else {
        let why = match method {
            "kubernetes" => "the file with the service account's token",
            _ => {
                "the file with the JWT; or set auth.spiffe_audience, for a JWT of the SPIFFE agent"
            }
        };
        let file = required_file(reader, "auth.jwt_file", raw.jwt_file, why);
        file.map(JwtSource::File)
    };
    Some(Jwt {
        mount: mount?,
        role,
        source: source?,
    })
}

fn userpass(reader: &mut Reader, raw: raw::Auth) -> Option<Userpass> {
    let mount = mount(reader, raw.mount, "userpass");
    let why = "the user in vault";
    let username = reader.required("auth.username", raw.username, why, path_part);
    let why = "the file with the user's password";
    let password = required_file(reader, "auth.password_file", raw.password_file, why);
    Some(Userpass {
        mount: mount?,
        username: username?,
        password: password?,
    })
}

/// The certificate was read with `[vault]`: it is a matter of the connections.
fn cert(
    reader: &mut Reader,
    raw: raw::Auth,
    certificate: Option<&ClientCertificate>,
) -> Option<Cert> {
    let mount = mount(reader, raw.mount, "cert");
    let role = reader.text("auth.role", raw.role);
    let certificate = certificate?;
    Some(Cert {
        mount: mount?,
        role,
        certificate: Credential::file(certificate.key, certificate.cert_file.clone()),
    })
}

/// A name that becomes part of a path.
fn path_part(text: &str) -> Result<String, String> {
    match text.contains(['/', '?', '#', '%']) {
        true => Err(format!("{text:?} holds a character that no path may hold")),
        false => Ok(text.to_owned()),
    }
}

/// The mount, by default where `vault auth enable METHOD` puts it.
fn mount(reader: &mut Reader, leaf: Leaf, method: &str) -> Option<MountPath> {
    let leaf = leaf.or_else(|| Some(Value::String(method.to_owned())));
    let why = "where is the auth method mounted?";
    reader.required("auth.mount", leaf, why, MountPath::try_new)
}

fn required_text(reader: &mut Reader, key: &str, leaf: Leaf, why: &str) -> Option<String> {
    reader.required(key, leaf, why, |text| Ok::<_, String>(text.to_owned()))
}

fn required_file(
    reader: &mut Reader,
    key: &'static str,
    leaf: Leaf,
    why: &str,
) -> Option<Credential> {
    let path = reader.required(key, leaf, why, absolute);
    path.map(|path| Credential::file(key, path))
}

/// A credential from the one key or the other, not from both.
fn one_of(
    reader: &mut Reader,
    value: (&'static str, Leaf),
    file: (&'static str, Leaf),
) -> Option<Credential> {
    let text = reader.text(value.0, value.1);
    let path = reader.path(file.0, file.1);
    match (text, path) {
        (Some(_), Some(_)) => {
            reader.refuse(value.0, format!("stands beside {}: remove one", file.0));
            None
        }
        (Some(text), None) => Some(Credential::value(value.0, text.trim())),
        (None, Some(path)) => Some(Credential::file(file.0, path)),
        (None, None) => None,
    }
}

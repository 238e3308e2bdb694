//! `[auth]`.

mod approle;
mod spiffe;

use std::path::Path;

use crate::config::Environment;
use crate::config::raw::{self, AUTH_KEYS, METHODS, RawValue};
use crate::config::reader::{Reader, absolute, or_default};
use crate::drop_in::Secret;
use crate::session::{Cert, Credential, Jwt, JwtSource, Method, Settings, Userpass};
use crate::vault::{ClientCertificate, MountPath, Namespace, Token};

/// The remedy for keys that exclude each other.
const ONLY_ONE: &str = "set only one of them";

/// What a method needs from elsewhere in the configuration.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) environment: &'a Environment,
    pub(super) certificate: Option<&'a ClientCertificate>,
    pub(super) state_file: Option<&'a Path>,
    /// What the arguments and the environment of another plugin hold themselves.
    pub(super) secrets: &'a [Secret],
}

impl Context<'_> {
    /// The secret in place of the file that this key names.
    fn secret(&self, key: &str) -> Option<Credential> {
        let found = self.secrets.iter().find(|it| it.key == key)?;
        Some(Credential::value(found.origin, &found.secret))
    }
}

/// How to log in; in `namespace` unless `[auth]` names another one.
pub(super) fn auth(
    reader: &mut Reader,
    mut raw: raw::Auth,
    namespace: Namespace,
    context: Context<'_>,
) -> Option<Settings> {
    let own = reader.parsed("auth.namespace", raw.namespace.take(), Namespace::try_new);
    Some(Settings {
        method: method(reader, raw, context)?,
        namespace: own.unwrap_or(namespace),
    })
}

fn method(reader: &mut Reader, mut raw: raw::Auth, context: Context<'_>) -> Option<Method> {
    let token = context.environment.vault("TOKEN");
    let name = match (reader.text("auth.method", raw.method.take()), &token) {
        (Some(name), _) => name,
        (None, Some(_)) => "token".to_owned(),
        (None, None) => {
            let remedy = format!("use {}; or set VAULT_TOKEN for a test", methods());
            reader.missing("auth.method", &remedy);
            return None;
        }
    };
    if !METHODS.contains(&name.as_str()) {
        let remedy = format!("use {}", methods());
        reader.error_with("auth.method", format!("{name:?} is not supported"), &remedy);
        return None;
    }
    reject_keys_of_other_methods(reader, &raw, &name);
    match name.as_str() {
        "token" => token_source(reader, raw.token_file, token, context).map(Method::Token),
        "kubernetes" => {
            let role = required_text(
                reader,
                "auth.role",
                raw.role.take(),
                "set it to the role in Vault",
            );
            let jwt = jwt(reader, &name, raw, role, context)?;
            jwt.role.is_some().then_some(Method::Kubernetes(jwt))
        }
        "jwt" => {
            let role = reader.text("auth.role", raw.role.take());
            jwt(reader, &name, raw, role, context).map(Method::Jwt)
        }
        "cert" => cert(reader, raw, context.certificate).map(Method::Cert),
        "approle" => approle::approle(reader, raw, context).map(Method::AppRole),
        _ => userpass(reader, raw, context).map(Method::Userpass),
    }
}

/// `token, kubernetes or …`
fn methods() -> String {
    let [others @ .., last] = METHODS;
    format!("{} or {last}", others.join(", "))
}

/// Rejects every key that is set but valid with other methods only.
fn reject_keys_of_other_methods(reader: &mut Reader, raw: &raw::Auth, method: &str) {
    let keys_set = raw.keys_set();
    for (key, methods) in AUTH_KEYS {
        if !keys_set.contains(key) || methods.is_empty() || methods.contains(&method) {
            continue;
        }
        let methods: Vec<_> = methods.iter().map(|name| format!("{name:?}")).collect();
        let cause = format!("only valid with auth.method = {}", methods.join(" or "));
        reader.error_with(&format!("auth.{key}"), cause, "remove it");
    }
}

fn token_source(
    reader: &mut Reader,
    file: RawValue,
    token: Option<(String, &str)>,
    context: Context<'_>,
) -> Option<Credential> {
    const FILE: &str = "auth.token_file";
    if let Some(file) = reader.path(FILE, file) {
        return Some(Credential::file(FILE, file));
    }
    if let Some(given) = context.secrets.iter().find(|it| it.key == FILE) {
        if let Err(error) = Token::try_new(&given.secret) {
            reader.error(FILE, error.to_string());
            return None;
        }
        return context.secret(FILE);
    }
    let read = |(name, text): (String, &str)| {
        reader.uses("token", &name, None);
        Token::try_new(text)
    };
    match token.map(read) {
        Some(Ok(token)) => {
            reader.warnings.push(
                "VAULT_TOKEN: a token in the environment is meant for testing only: use \
                 auth.token_file"
                    .to_owned(),
            );
            Some(Credential::value("VAULT_TOKEN", token.expose_secret()))
        }
        Some(Err(error)) => {
            reader.error("VAULT_TOKEN", error.to_string());
            None
        }
        None => {
            reader.missing(
                "auth.token_file",
                "name the file with the token; or set VAULT_TOKEN for a test",
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
    context: Context<'_>,
) -> Option<Jwt> {
    let mount = mount(reader, raw.mount.take(), method);
    let source = if method == "jwt" && spiffe::is_configured(&raw) {
        spiffe::workload(reader, raw, context.environment).map(JwtSource::Spiffe)
    } else {
        let remedy = if method == "kubernetes" {
            "name the file with the service account's token"
        } else {
            "name the file with the JWT; or set auth.spiffe_audience for a JWT of the SPIFFE agent"
        };
        let file = required_file(reader, "auth.jwt_file", raw.jwt_file, remedy, context);
        file.map(JwtSource::File)
    };
    Some(Jwt {
        mount: mount?,
        role,
        source: source?,
    })
}

fn userpass(reader: &mut Reader, raw: raw::Auth, context: Context<'_>) -> Option<Userpass> {
    let mount = mount(reader, raw.mount, "userpass");
    let remedy = "set it to the user in Vault";
    let username = reader.required("auth.username", raw.username, remedy, path_part);
    let remedy = "name the file with the user's password";
    let file = raw.password_file;
    let password = required_file(reader, "auth.password_file", file, remedy, context);
    Some(Userpass {
        mount: mount?,
        username: username?,
        password: password?,
    })
}

/// The certificate was read with `[vault]`, because the connections present it.
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
    if text.contains(['/', '?', '#', '%']) {
        return Err(format!(
            "{text:?} contains a character that is not allowed in a path"
        ));
    }
    Ok(text.to_owned())
}

/// The mount; by default the one of `vault auth enable METHOD`.
fn mount(reader: &mut Reader, value: RawValue, method: &str) -> Option<MountPath> {
    let value = or_default(value, method);
    let remedy = "set it to the mount of the auth method";
    reader.required("auth.mount", value, remedy, MountPath::try_new)
}

fn required_text(reader: &mut Reader, key: &str, value: RawValue, remedy: &str) -> Option<String> {
    reader.required(key, value, remedy, |text| Ok::<_, String>(text.to_owned()))
}

fn required_file(
    reader: &mut Reader,
    key: &'static str,
    value: RawValue,
    remedy: &str,
    context: Context<'_>,
) -> Option<Credential> {
    // A variable of ours takes precedence over another plugin's setting.
    if value.is_none()
        && let Some(secret) = context.secret(key)
    {
        return Some(secret);
    }
    let path = reader.required(key, value, remedy, absolute);
    path.map(|path| Credential::file(key, path))
}

/// A credential from one of two keys, but not from both.
fn one_of(
    reader: &mut Reader,
    value: (&'static str, RawValue),
    file: (&'static str, RawValue),
) -> Option<Credential> {
    let text = reader.text(value.0, value.1);
    let path = reader.path(file.0, file.1);
    match (text, path) {
        (Some(_), Some(_)) => {
            let cause = format!("conflicts with {}", file.0);
            reader.error_with(value.0, cause, ONLY_ONE);
            None
        }
        (Some(text), None) => Some(Credential::value(value.0, text.trim())),
        (None, Some(path)) => Some(Credential::file(file.0, path)),
        (None, None) => None,
    }
}

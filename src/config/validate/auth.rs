//! `[auth]`.

use toml::Value;

use crate::config::Environment;
use crate::config::raw::{self, Leaf};
use crate::config::reader::{Reader, absolute};
use crate::session::{AppRole, Cert, Credential, Jwt, Method, Settings, Userpass};
use crate::vault::{ClientCertificate, MountPath, Namespace, Token};

/// The methods, and the keys that belong to each.
const METHODS: [(&str, &[&str]); 6] = [
    ("token", &["token_file"]),
    ("kubernetes", &["mount", "role", "jwt_file"]),
    ("jwt", &["mount", "role", "jwt_file"]),
    (
        "approle",
        &[
            "mount",
            "role_id",
            "role_id_file",
            "secret_id",
            "secret_id_file",
        ],
    ),
    ("userpass", &["mount", "username", "password_file"]),
    ("cert", &["mount", "role", "cert_file", "key_file"]),
];

/// How to log in; in `namespace`, unless another one is named.
pub(super) fn auth(
    reader: &mut Reader,
    mut raw: raw::Auth,
    certificate: Option<&ClientCertificate>,
    namespace: Namespace,
    environment: &Environment,
    warnings: &mut Vec<String>,
) -> Option<Settings> {
    let own = reader.parsed("auth.namespace", raw.namespace.take(), Namespace::try_new);
    Some(Settings {
        method: method(reader, raw, certificate, environment, warnings)?,
        namespace: own.unwrap_or(namespace),
    })
}

fn method(
    reader: &mut Reader,
    mut raw: raw::Auth,
    certificate: Option<&ClientCertificate>,
    environment: &Environment,
    warnings: &mut Vec<String>,
) -> Option<Method> {
    let token = environment.vault("TOKEN");
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
            let jwt = jwt(reader, &name, raw, role)?;
            jwt.role.is_some().then_some(Method::Kubernetes(jwt))
        }
        "jwt" => {
            let role = reader.text("auth.role", raw.role.take());
            jwt(reader, &name, raw, role).map(Method::Jwt)
        }
        "cert" => cert(reader, raw, certificate).map(Method::Cert),
        "approle" => approle(reader, raw, warnings).map(Method::AppRole),
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

fn jwt(reader: &mut Reader, method: &str, raw: raw::Auth, role: Option<String>) -> Option<Jwt> {
    let mount = mount(reader, raw.mount, method);
    let why = match method {
        "kubernetes" => "the file with the service account's token",
        _ => "the file with the JWT",
    };
    let jwt = required_file(reader, "auth.jwt_file", raw.jwt_file, why);
    Some(Jwt {
        mount: mount?,
        role,
        jwt: jwt?,
    })
}

fn approle(reader: &mut Reader, raw: raw::Auth, warnings: &mut Vec<String>) -> Option<AppRole> {
    let mount = mount(reader, raw.mount, "approle");
    let before = reader.errors.len();
    let role_id = one_of(
        reader,
        ("auth.role_id", raw.role_id),
        ("auth.role_id_file", raw.role_id_file),
    );
    if role_id.is_none() && reader.errors.len() == before {
        reader.refuse(
            "auth.role_id",
            "is missing: vault read auth/approle/role/NAME/role-id shows it; or name auth.role_id_file",
        );
    }
    if raw.secret_id.is_some() {
        warnings.push(
            "auth.secret_id: a secret in the configuration or the environment is for trying out: \
             use auth.secret_id_file"
                .to_owned(),
        );
    }
    let secret_id = one_of(
        reader,
        ("auth.secret_id", raw.secret_id),
        ("auth.secret_id_file", raw.secret_id_file),
    );
    Some(AppRole {
        mount: mount?,
        role_id: role_id?,
        secret_id,
    })
}

fn userpass(reader: &mut Reader, raw: raw::Auth) -> Option<Userpass> {
    let mount = mount(reader, raw.mount, "userpass");
    let username =
        reader.required(
            "auth.username",
            raw.username,
            "the user in vault",
            |text| match text.contains(['/', '?', '#', '%']) {
                true => Err(format!("{text:?} holds a character that no path may hold")),
                false => Ok(text.to_owned()),
            },
        );
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

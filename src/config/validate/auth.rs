//! `[auth]`.

use std::path::PathBuf;
use std::sync::Arc;

use toml::Value;

use crate::config::Environment;
use crate::config::raw::{self, Leaf};
use crate::config::reader::Reader;
use crate::session::{Method, TokenSource};
use crate::vault::{MountPath, Token};

/// What `vault auth enable kubernetes` gives.
const KUBERNETES_MOUNT: &str = "kubernetes";

pub(super) fn auth(
    reader: &mut Reader,
    mut raw: raw::Auth,
    environment: &Environment,
    warnings: &mut Vec<String>,
) -> Option<Method> {
    let token = environment.vault("TOKEN");
    let method = match (reader.text("auth.method", raw.method.take()), token) {
        (Some(method), _) => method,
        (None, Some(_)) => "token".to_owned(),
        (None, None) => {
            reader.refuse(
                "auth.method",
                "is missing: token or kubernetes; or set VAULT_TOKEN to try it out",
            );
            return None;
        }
    };
    match method.as_str() {
        "token" => {
            for (key, leaf) in [
                ("mount", &raw.mount),
                ("role", &raw.role),
                ("jwt_file", &raw.jwt_file),
            ] {
                refuse_foreign(reader, key, leaf, "kubernetes");
            }
            let file = reader.path("auth.token_file", raw.token_file);
            token_source(reader, file, token, warnings).map(Method::Token)
        }
        "kubernetes" => {
            refuse_foreign(reader, "token_file", &raw.token_file, "token");
            kubernetes(reader, raw)
        }
        other => {
            reader.refuse(
                "auth.method",
                format!("{other:?} is not supported: token or kubernetes"),
            );
            None
        }
    }
}

fn refuse_foreign(reader: &mut Reader, key: &str, leaf: &Leaf, method: &str) {
    if leaf.is_some() {
        reader.refuse(
            &format!("auth.{key}"),
            format!("belongs to auth.method {method:?}: remove it"),
        );
    }
}

fn token_source(
    reader: &mut Reader,
    file: Option<PathBuf>,
    token: Option<&str>,
    warnings: &mut Vec<String>,
) -> Option<TokenSource> {
    if let Some(file) = file {
        return Some(TokenSource::File(file));
    }
    match token.map(Token::try_new) {
        Some(Ok(token)) => {
            warnings.push(
                "VAULT_TOKEN: a token in the environment is for trying out: use auth.token_file"
                    .to_owned(),
            );
            Some(TokenSource::Environment(Arc::new(token)))
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

fn kubernetes(reader: &mut Reader, raw: raw::Auth) -> Option<Method> {
    let mount = raw
        .mount
        .or_else(|| Some(Value::String(KUBERNETES_MOUNT.to_owned())));
    let mount = reader.required(
        "auth.mount",
        mount,
        "where is the auth method mounted?",
        MountPath::try_new,
    );
    let role = reader.required("auth.role", raw.role, "the role in vault", |text| {
        Ok::<_, String>(text.to_owned())
    });
    let before = reader.errors.len();
    let jwt_file = reader.path("auth.jwt_file", raw.jwt_file);
    if jwt_file.is_none() && reader.errors.len() == before {
        reader.refuse(
            "auth.jwt_file",
            "is missing: the file with the service account's token",
        );
    }
    Some(Method::Kubernetes {
        mount: mount?,
        role: role?,
        jwt_file: jwt_file?,
    })
}

//! Secrets of the input: each goes into a file beside the configuration, for its owner alone.

use std::path::Path;

use crate::commands::init::output::OutputFile;
use crate::drop_in::{Translation, Value};

/// The key that names a file with it, the name of that file, and what it is.
const FILES: [(&str, &str, &str); 4] = [
    ("auth.token_file", "token", "the token, a secret"),
    ("auth.jwt_file", "jwt", "the JWT, a secret"),
    (
        "auth.secret_id_file",
        "secret-id",
        "the secret_id, a secret",
    ),
    ("auth.password_file", "password", "the password, a secret"),
];
const ROLE_ID: &str = "auth.role_id";

/// Moves the secrets out of the translation into files, and names those in it.
pub(super) fn move_out(translation: &mut Translation, install_dir: &Path) -> Vec<OutputFile> {
    let mut files = Vec::new();
    let path = |name: &str| install_dir.join(name).display().to_string();
    for secret in std::mem::take(&mut translation.secrets) {
        let Some((key, name, about)) = FILES.into_iter().find(|(key, ..)| *key == secret.key)
        else {
            continue;
        };
        files.push(OutputFile::new(
            name,
            about,
            format!("{}\n", *secret.secret),
        ));
        translation.values.push(Value {
            key,
            text: path(name),
            origin: secret.origin,
        });
    }
    for value in &mut translation.values {
        if value.key == ROLE_ID {
            let content = std::mem::replace(&mut value.text, path("role-id"));
            value.key = "auth.role_id_file";
            files.push(OutputFile::new(
                "role-id",
                "the role_id",
                format!("{content}\n"),
            ));
        }
    }
    files
}

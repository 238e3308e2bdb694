//! `auth.method = "approle"`.

use std::path::{Path, PathBuf};

use super::{Context, ONLY_ONE, mount, one_of, path_part};
use crate::config::raw::{self, RawValue};
use crate::config::reader::Reader;
use crate::session::{AppRole, Credential, SecretId, Wrapped};
use crate::vault::MountPath;

pub(super) fn approle(
    reader: &mut Reader,
    raw: raw::Auth,
    context: Context<'_>,
) -> Option<AppRole> {
    let state_file = context.state_file;
    let mount = mount(reader, raw.mount, "approle");
    let before = reader.errors.len();
    let role_id = one_of(
        reader,
        ("auth.role_id", raw.role_id),
        ("auth.role_id_file", raw.role_id_file),
    );
    if role_id.is_none() && reader.errors.len() == before {
        reader.missing(
            "auth.role_id",
            "set it to the output of vault read auth/approle/role/NAME/role-id, or name auth.role_id_file",
        );
    }
    if raw.secret_id.is_some() {
        reader.warnings.push(
            "auth.secret_id: a secret in the configuration or the environment is meant for testing \
             only: use auth.secret_id_file"
                .to_owned(),
        );
    }
    let plain = one_of(
        reader,
        ("auth.secret_id", raw.secret_id),
        ("auth.secret_id_file", raw.secret_id_file),
    );
    let wrapped = reader.path("auth.wrapped_secret_id_file", raw.wrapped_secret_id_file);
    let given = context.secret("auth.secret_id_file");
    // A variable of ours takes precedence over another plugin's setting.
    let plain = plain.or(given.filter(|_| wrapped.is_none()));
    let secret_id = match (plain, wrapped) {
        (Some(_), Some(_)) => {
            let cause = "conflicts with another secret_id";
            reader.error_with("auth.wrapped_secret_id_file", cause, ONLY_ONE);
            return None;
        }
        (None, Some(file)) => {
            reader.warnings.extend(state_file.filter(|path| is_volatile(path)).map(|path| {
                format!(
                    "state.dir: {} does not survive a reboot, and the wrapping token is spent by then: \
                     use a directory such as /var/lib/vault-kms-plugin",
                    path.parent().unwrap_or(path).display()
                )
            }));
            wrapped_in(reader, file, mount.as_ref(), raw.role, state_file)?
        }
        (plain, None) => {
            if raw.role.is_some() {
                reader.error_with(
                    "auth.role",
                    "only valid with auth.wrapped_secret_id_file",
                    "remove it: auth.role_id identifies the role",
                );
            }
            plain.map_or(SecretId::None, SecretId::Plain)
        }
    };
    Some(AppRole {
        mount: mount?,
        role_id: role_id?,
        secret_id,
    })
}

fn wrapped_in(
    reader: &mut Reader,
    file: PathBuf,
    mount: Option<&MountPath>,
    role: RawValue,
    state_file: Option<&Path>,
) -> Option<SecretId> {
    let remedy = "name the role, which the wrapping token is checked against";
    let role = reader.required("auth.role", role, remedy, path_part)?;
    let file = Credential::file("auth.wrapped_secret_id_file", file);
    let wrapped = Wrapped::new(file, mount?, role, secret_id_file(state_file?));
    Some(SecretId::Wrapped(wrapped))
}

/// Whether a reboot empties the directory.
fn is_volatile(path: &Path) -> bool {
    let volatile = ["/run", "/var/run", "/dev/shm"];
    volatile.into_iter().any(|dir| path.starts_with(dir))
}

/// The file of the unwrapped secret_id, next to `NAME.state.json`.
fn secret_id_file(state_file: &Path) -> PathBuf {
    let name = state_file.with_extension("");
    name.with_extension("secret-id.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_secret_id_is_next_to_the_state_file() {
        let path = secret_id_file(Path::new("/var/lib/plugin/kms.v2.state.json"));
        assert_eq!(path, Path::new("/var/lib/plugin/kms.v2.secret-id.json"));
    }

    #[test]
    fn directories_that_a_reboot_empties_are_known() {
        assert!(is_volatile(Path::new(
            "/run/vault-kms-plugin/kms.state.json"
        )));
        assert!(!is_volatile(Path::new(
            "/var/lib/vault-kms-plugin/kms.state.json"
        )));
    }
}

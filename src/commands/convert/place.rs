//! Where the converted plugin runs: a unit of systemd or a static pod, its directories and its image.

use std::path::{Path, PathBuf};

use super::input::Input;
use crate::cli::{self, Runs};
use crate::commands::init::text;
use crate::drop_in::{Note, Translation, Value};

/// Where the unit keeps its state.
const STATE_DIR: &str = "/var/lib/vault-kms-plugin";
/// The directory of the shipped manifest.
const SOCKET_DIR: &str = "/run/vault-kms-plugin";
/// Directories that belong to everybody.
const SHARED: [&str; 8] = [
    "/", "/tmp", "/run", "/var/run", "/var/tmp", "/dev/shm", "/mnt", "/var/lib",
];
/// What a unit with `PrivateTmp=` and `ProtectHome=` does not see.
const HIDDEN: [&str; 4] = ["/tmp", "/var/tmp", "/home", "/root"];

/// Where it runs.
pub(super) struct Place {
    pub(super) runs: Runs,
    pub(super) install_dir: PathBuf,
    pub(super) image: String,
    pub(super) program: String,
}

impl Place {
    /// What the options say, else what the input is.
    pub(super) fn of(options: &cli::Convert, input: &Input) -> Self {
        let default = if input.is_pod {
            Runs::StaticPod
        } else {
            Runs::Systemd
        };
        Self {
            runs: options.runs.unwrap_or(default),
            install_dir: options.install_dir.clone(),
            image: options.image.clone(),
            program: options.program.clone(),
        }
    }

    /// Sets what depends on the place. A default of the other plugin's that fits nowhere is an error.
    ///
    /// # Errors
    /// If the socket cannot be served there.
    pub(super) fn adjust(&self, translation: &mut Translation) -> Result<(), String> {
        let Some(socket) = translation.value("socket.path").cloned() else {
            return Err("socket.path: is not known".to_owned());
        };
        self.is_plain(&socket)?;
        translation.values.retain(|value| value.key != "state.dir");
        let dir = Path::new(&socket.text).parent().unwrap_or(Path::new("/"));
        match self.runs {
            Runs::Systemd => {
                self.note_hidden(translation);
                set(translation, "state.dir", STATE_DIR, socket.origin);
            }
            Runs::StaticPod if socket.text.starts_with('@') => {
                set(translation, "state.dir", SOCKET_DIR, socket.origin);
            }
            Runs::StaticPod if SHARED.iter().any(|shared| dir == Path::new(shared)) => {
                return Err(format!(
                    "{}: the directory {} of the socket would be given to the plugin's user, and others use it, too: \
                     use --runs systemd, where systemd makes the socket",
                    socket.origin,
                    dir.display()
                ));
            }
            Runs::StaticPod => {}
        }
        Ok(())
    }

    /// What goes into a unit or a manifest needs no quoting there.
    fn is_plain(&self, socket: &Value) -> Result<(), String> {
        let named = |name: &str, checked: Result<(), String>| {
            checked.map_err(|error| format!("{name}: {error}"))
        };
        match socket.text.strip_prefix('@') {
            Some(name) => named(socket.origin, text::words(name))?,
            None => named(socket.origin, text::plain_path(&socket.text))?,
        }
        let install_dir = self.install_dir.display().to_string();
        named("--install-dir", text::plain_path(&install_dir))?;
        named("--program", text::plain_path(&self.program))?;
        let is_allowed = |c: char| text::is_word(c) || "/:@".contains(c);
        let image = text::only(&self.image, is_allowed, "the characters of an image's name");
        named("--image", image)
    }

    fn note_hidden(&self, translation: &mut Translation) {
        let hidden = |value: &&Value| {
            value.key.ends_with("_file")
                && HIDDEN
                    .iter()
                    .any(|dir| Path::new(&value.text).starts_with(dir))
        };
        let notes: Vec<_> = translation
            .values
            .iter()
            .filter(hidden)
            .map(|value| Note {
                setting: value.origin.to_owned(),
                text: format!(
                    "{} is hidden from the unit (PrivateTmp=, ProtectHome=): move the file",
                    value.text
                ),
            })
            .collect();
        translation.notes.extend(notes);
    }

    /// What is left to do.
    pub(super) fn next_steps(&self, out: &Path) -> String {
        let (out, dir) = (out.display(), self.install_dir.display());
        let end = match self.runs {
            Runs::Systemd => {
                "systemd-sysusers and systemd-tmpfiles --create, then stop the old plugin and \
                 systemctl enable --now vault-kms-plugin.socket vault-kms-plugin.service"
            }
            Runs::StaticPod => {
                "move the manifest of the old plugin out of /etc/kubernetes/manifests and vault-kms-plugin.yaml into it"
            }
        };
        format!(
            "Next, on one node after the other: copy the files to {dir} (those of secrets for root:vault-kms-plugin or \
             root:60790, mode 0640), run `vault-kms-plugin check --login --config {dir}/config.toml`, {end}.\n\
             The files are in {out}.\n"
        )
    }
}

fn set(translation: &mut Translation, key: &'static str, text: &str, origin: &'static str) {
    let text = text.to_owned();
    translation.values.push(Value { key, text, origin });
}

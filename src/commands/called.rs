//! This program under the name of another plugin: that one's arguments and environment are the configuration.
//! The names of our own commands still are those, as first argument; what follows `--` is that plugin's.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::process::getegid;

use super::{print_error, serve};
use crate::cli;
use crate::config::Source;
use crate::drop_in::{Host, Invocation, Plugin, Request};
use crate::system::{Exit, Hardened};

/// More links than a name has on its way to the program.
const MAX_LINKS: usize = 8;
/// There while the kernel has IPv6.
const IPV6: &str = "/proc/net/if_inet6";
/// The end of our own arguments.
const END: &str = "--";
/// What every plugin ends with if it cannot start, whatever the reason.
const FAILED: u8 = 1;

/// How this program was called.
#[derive(Debug)]
pub enum Called {
    /// By its own name, with these arguments.
    Ourselves(Vec<OsString>),
    /// By the name of another plugin, with a command of ours, its arguments and those of the plugin.
    Command(Vec<OsString>, Invocation),
    /// As another plugin.
    Plugin(Invocation),
}

impl Called {
    /// Reads the arguments of this process, the first of which is its name.
    #[must_use]
    pub fn of_process() -> Self {
        let arguments: Vec<_> = std::env::args_os().collect();
        let plugin = arguments
            .first()
            .and_then(|name| plugin_of(Path::new(name)));
        match plugin {
            None => Self::Ourselves(arguments),
            Some(plugin) => Self::by_name(plugin, arguments),
        }
    }

    fn by_name(plugin: Plugin, mut arguments: Vec<OsString>) -> Self {
        let is_ours = |name: &OsString| {
            let mut commands = cli::definition()
                .get_subcommands()
                .map(|it| it.get_name().to_owned())
                .collect::<Vec<_>>();
            commands.push("help".to_owned());
            name.to_str()
                .is_some_and(|name| commands.iter().any(|it| it == name))
        };
        if !arguments.get(1).is_some_and(is_ours) {
            return Self::Plugin(invocation(plugin, arguments.get(1..).unwrap_or_default()));
        }
        let end = arguments.iter().position(|it| it == END);
        // `convert` has the same word for the same purpose.
        let theirs = match end.filter(|_| arguments.get(1).is_none_or(|it| it != "convert")) {
            Some(end) => {
                let theirs = arguments.split_off(end);
                theirs.get(1..).unwrap_or_default().to_vec()
            }
            None => Vec::new(),
        };
        Self::Command(arguments, invocation(plugin, &theirs))
    }
}

/// The plugin that a program is called as, or that the name is a link to: an image of `vault-kms-provider` has
/// it as `./app`.
fn plugin_of(program: &Path) -> Option<Plugin> {
    let mut program = program.to_owned();
    for _ in 0..MAX_LINKS {
        if let Some(plugin) = Plugin::called(program.as_os_str()) {
            return Some(plugin);
        }
        // A name without a directory was found in $PATH.
        let dir = program.parent().filter(|dir| !dir.as_os_str().is_empty())?;
        program = dir.join(std::fs::read_link(&program).ok()?);
    }
    None
}

fn invocation(plugin: Plugin, arguments: &[OsString]) -> Invocation {
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        let text = |it: OsString| it.into_string().ok();
        Some((text(name)?, text(value)?))
    });
    Invocation {
        plugin,
        arguments: arguments
            .iter()
            .map(|it| it.to_string_lossy().into_owned())
            .collect(),
        variables: variables.collect::<BTreeMap<_, _>>(),
        fields: Vec::new(),
        host: Host {
            working_directory: std::env::current_dir().ok(),
            gid: Some(getegid().as_raw()),
            has_ipv6: Path::new(IPV6).exists(),
        },
    }
}

/// The named file, else what the name of another plugin means, else our own sources.
#[must_use]
pub fn source(file: Option<PathBuf>, called: Option<&Invocation>) -> Source {
    match (file, called) {
        (None, Some(invocation)) => Source::of_plugin(invocation.clone()),
        (file, _) => Source::of_process(file),
    }
}

/// Behaves as that plugin; returns its exit code.
#[must_use]
pub fn run(invocation: Invocation, hardened: Hardened) -> u8 {
    let plugin = invocation.plugin;
    match invocation.request() {
        Request::Version => {
            let version = format!("{plugin} v{}\n", env!("CARGO_PKG_VERSION"));
            match io::stdout().lock().write_all(version.as_bytes()) {
                Ok(()) => 0,
                Err(error) => {
                    print_error(&error, Exit::Internal);
                    FAILED
                }
            }
        }
        Request::Help => {
            // Nobody is left to read that stderr is closed.
            let _ = io::stderr().lock().write_all(help(plugin).as_bytes());
            FAILED
        }
        Request::Serve => {
            let options = cli::Serve::default();
            match serve::run(&options, Source::of_plugin(invocation), hardened) {
                Exit::Ok => 0,
                _ => FAILED,
            }
        }
    }
}

/// The flags, as Go's package `flag` lists them.
fn help(plugin: Plugin) -> String {
    let mut text = format!(
        "vault-kms-plugin {}, called {plugin}: its flags and variables are understood\n",
        env!("CARGO_PKG_VERSION")
    );
    for setting in plugin.settings() {
        let default = setting
            .default
            .map_or_else(String::new, |it| format!(", by default {it}"));
        text.push_str(&format!("  {}{default}\n", setting.names()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(arguments: &[&str]) -> Called {
        let arguments = arguments.iter().map(OsString::from).collect();
        Called::by_name(Plugin::VaultKubernetesKms, arguments)
    }

    #[test]
    fn a_command_of_ours_as_first_argument_is_ours_and_what_follows_two_dashes_is_not() {
        let Called::Command(ours, theirs) = called(&["x", "check", "--offline", "--", "-debug"])
        else {
            panic!("no command");
        };
        assert_eq!(ours, ["x", "check", "--offline"]);
        assert_eq!(theirs.arguments, ["-debug"]);
        let Called::Command(ours, theirs) = called(&["x", "convert", "--", "-debug"]) else {
            panic!("no command");
        };
        assert_eq!(ours, ["x", "convert", "--", "-debug"]);
        assert!(theirs.arguments.is_empty());
    }

    #[test]
    fn a_link_to_the_name_of_a_plugin_is_that_plugin() {
        let dir = tempfile::tempdir().expect("a directory");
        let link = |target: &str, name: &str| {
            std::os::unix::fs::symlink(target, dir.path().join(name)).expect("linked");
        };
        link("/usr/local/bin/vault-kms-plugin", "vault-kms-provider");
        link("vault-kms-provider", "app");
        link("/usr/local/bin/vault-kms-plugin", "other");
        link("round", "round");
        let found = |name: &str| plugin_of(&dir.path().join(name));
        assert_eq!(found("app"), Some(Plugin::VaultKmsProvider));
        assert_eq!(found("vault-kms-provider"), Some(Plugin::VaultKmsProvider));
        for other in ["other", "round", "missing"] {
            assert_eq!(found(other), None, "{other}");
        }
        assert_eq!(
            plugin_of(Path::new("vault-kube-kms")),
            Some(Plugin::VaultKubeKms)
        );
    }

    #[test]
    fn everything_else_is_the_plugins() {
        for arguments in [
            &["x"][..],
            &["x", "-debug"],
            &["x", "anything"],
            &["x", "--", "check"],
        ] {
            let Called::Plugin(invocation) = called(arguments) else {
                panic!("{arguments:?}");
            };
            assert_eq!(invocation.arguments, &arguments[1..]);
        }
    }
}

//! Writes the man pages and the shells' completions, from the command line's own definition:
//! `cargo run --example assets`. A test compares what is there with what this would write.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use clap::Command;
use clap_complete::Shell;
use vault_kms_plugin::cli;

const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

/// A file below the directory, and what it holds.
pub(crate) type Asset = (PathBuf, Vec<u8>);

fn main() -> io::Result<()> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let dir = env::args_os().nth(1).map_or(default, PathBuf::from);
    for (name, content) in assets()? {
        let path = dir.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, content)?;
    }
    Ok(())
}

/// All of them.
///
/// # Errors
/// None that memory knows.
pub(crate) fn assets() -> io::Result<Vec<Asset>> {
    let mut command = cli::definition();
    command.build();
    let name = command.get_name().to_owned();
    let mut assets = Vec::new();
    for shell in SHELLS {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut command.clone(), &name, &mut text);
        if shell == Shell::Bash {
            text = with_one_name(&name, text);
        }
        let file = match shell {
            Shell::Zsh => format!("_{name}"),
            Shell::Fish => format!("{name}.fish"),
            _ => name.clone(),
        };
        assets.push((Path::new("completions").join(file), text));
    }
    let mut pages = vec![command.clone()];
    let parts = command
        .get_subcommands()
        .filter(|it| it.get_name() != "help");
    pages.extend(parts.cloned());
    for page in pages {
        assets.push(man_page(page)?);
    }
    Ok(assets)
}

/// clap_complete names a command with hyphens in two ways, so that nothing matches after a subcommand
/// (clap-rs/clap#6421).
fn with_one_name(name: &str, script: Vec<u8>) -> Vec<u8> {
    let parts: Vec<_> = name.split('-').collect();
    let text = String::from_utf8_lossy(&script);
    let text = text.replace(&parts.join("__subcmd__"), &parts.join("__"));
    text.replace("__vault__subcmd__", "__vault__").into_bytes()
}

fn man_page(command: Command) -> io::Result<Asset> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let file = format!("{name}.8");
    let mut text = Vec::new();
    // Without a date: the same definition makes the same page.
    let man = clap_mangen::Man::new(command).section("8").date("");
    man.render(&mut text)?;
    Ok((Path::new("man").join(file), text))
}

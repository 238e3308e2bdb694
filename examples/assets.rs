//! Writes the man pages, the shells' completions and the JSON schema of the configuration, from the
//! command line's own definition and from docs/: `cargo run --example assets`. A test compares what is
//! there with what this would write.

#[path = "assets/keys.rs"]
pub(crate) mod keys;
#[path = "assets/markdown.rs"]
pub(crate) mod markdown;
#[path = "assets/pages.rs"]
mod pages;
#[path = "assets/roff.rs"]
mod roff;
#[path = "assets/schema.rs"]
mod schema;

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use clap::Command;
use clap_complete::Shell;
use markdown::{Block, Section, sections};
use vault_kms_plugin::{cli, kmsctl};

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
/// If a page of docs/ cannot be read.
pub(crate) fn assets() -> io::Result<Vec<Asset>> {
    let mut assets = Vec::new();
    for (command, reference, main) in programs() {
        assets.extend(completions(command.clone()));
        let reference = page(reference)?;
        // The command `help` has no page.
        let mut command = command.disable_help_subcommand(true);
        command.build();
        let below: Vec<_> = command.get_subcommands().cloned().collect();
        for command in [vec![command], below].concat() {
            let name = command.get_display_name().unwrap_or(command.get_name());
            let file = Path::new("man").join(format!("{name}.8"));
            assets.push((file, pages::of_command(&command, &reference, main)?));
        }
    }
    let configuration = page("docs/configuration.md")?;
    let example = shortest_configuration()?;
    assets.push((
        Path::new("man").join("vault-kms-plugin.toml.5"),
        pages::of_configuration(&configuration, &example),
    ));
    let mut schema = serde_json::to_vec_pretty(&schema::schema(&configuration))?;
    schema.push(b'\n');
    assets.push((
        Path::new("schema").join("vault-kms-plugin.schema.json"),
        schema,
    ));
    Ok(assets)
}

/// Each program, its page of the documentation, and the section of that about it as a whole.
fn programs() -> [(Command, &'static str, &'static str); 2] {
    [
        (cli::definition(), "docs/reference/commands.md", "serve"),
        (
            kmsctl::cli::definition(),
            "docs/reference/kmsctl.md",
            "vault-kmsctl",
        ),
    ]
}

fn completions(mut command: Command) -> Vec<Asset> {
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
    assets
}

/// clap_complete names a command with hyphens in two ways, so that nothing matches after a subcommand
/// (clap-rs/clap#6421).
fn with_one_name(name: &str, script: Vec<u8>) -> Vec<u8> {
    let parts: Vec<_> = name.split('-').collect();
    let text = String::from_utf8_lossy(&script);
    let text = text.replace(&parts.join("__subcmd__"), &parts.join("__"));
    text.replace("__vault__subcmd__", "__vault__").into_bytes()
}

/// A page of the documentation.
fn page(path: &str) -> io::Result<Vec<Section>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    Ok(sections(&fs::read_to_string(path)?))
}

/// The configuration of docs/install/vault.md.
fn shortest_configuration() -> io::Result<String> {
    let page = page("docs/install/vault.md")?;
    let mut blocks = page.into_iter().flat_map(|section| section.blocks);
    let found = blocks.find_map(|block| match block {
        Block::Code(language, text) if language == "toml" => Some(text),
        _ => None,
    });
    found.ok_or_else(|| io::Error::other("docs/install/vault.md has no configuration"))
}

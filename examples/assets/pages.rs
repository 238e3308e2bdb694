//! The man pages: a page for each command, and vault-kms-plugin.toml(5).
//!
//! Options come from the command line's definition, the rest from docs/reference/commands.md and
//! docs/configuration.md.

use std::io;

use clap::{Arg, Command};
use clap_mangen::Man;

use super::keys::Key;
use super::markdown::{Block, Section, plain, spans};
use super::roff::{Roff, escaped};

/// The level of the sections of docs/configuration.md below the title.
const BELOW_TITLE: usize = 2;
/// What a table names instead of every command.
const ALL: &str = "all";

/// The page of a command. `reference` is the page of its program below docs/reference/, whose section `main` is about the
/// program as a whole.
pub(crate) fn of_command(
    command: &Command,
    reference: &[Section],
    main: &str,
) -> io::Result<Vec<u8>> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let own = command.get_name();
    let is_whole = name == own;
    let mut page = Roff::page(name, "8");
    page.section("NAME");
    let about = command.get_about().map(ToString::to_string);
    let about = plain(&about.unwrap_or_default()).replace('`', "");
    page.text(&format!("{name} - {}", about.trim_end_matches('.')));
    page.section("SYNOPSIS");
    page.raw(&synopsis(command, name));
    page.section("DESCRIPTION");
    let title = if is_whole { main } else { own };
    // The synopsis of a whole page is in the page already.
    let is_text = |block: &&Block| !is_whole || !matches!(block, Block::Code(..));
    let blocks = section(reference, title).blocks.iter().filter(is_text);
    page.blocks(&blocks.cloned().collect::<Vec<_>>());
    let man = Man::new(command.clone()).section("8");
    let mut options = Vec::new();
    man.render_options_section(&mut options)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut options)?;
    }
    for line in with_code_spans(&String::from_utf8_lossy(&options)).lines() {
        page.raw(line);
    }
    for (title, source, column) in [
        ("EXIT STATUS", "Exit codes", 1),
        ("FILES", "Files", 1),
        ("ENVIRONMENT", "Environment", 1),
    ] {
        let rows = table(reference, source).iter().filter(|row| {
            let commands = spans(&row[column]);
            is_whole || row[column] == ALL || commands.iter().any(|it| it == own)
        });
        let rows: Vec<_> = rows.collect();
        if rows.is_empty() {
            continue;
        }
        page.section(title);
        for row in rows {
            page.term(&row[0]);
            let of = if is_whole && row[column] != ALL {
                format!("{}: ", row[column])
            } else {
                String::new()
            };
            page.text(&format!("{of}{}", row[2]));
        }
    }
    let has_signals = reference.iter().any(|section| section.title == "Signals");
    if has_signals && (is_whole || own == "serve") {
        page.section("SIGNALS");
        page.blocks(&section(reference, "Signals").blocks);
    }
    page.section("EXAMPLES");
    for row in table(reference, "Examples") {
        let line = row[0].trim_matches('`');
        if is_whole || line.split(' ').nth(1) == Some(own) {
            page.term(&row[0]);
            page.text(&row[1]);
        }
    }
    page.section("SEE ALSO");
    page.raw(&see_also(command, name));
    Ok(page.into_bytes())
}

/// vault-kms-plugin.toml(5). `example` is the shortest configuration.
pub(crate) fn of_configuration(page: &[Section], example: &str) -> Vec<u8> {
    let mut roff = Roff::page("vault-kms-plugin.toml", "5");
    roff.section("NAME");
    roff.text("vault-kms-plugin.toml - configuration file of vault-kms-plugin");
    roff.section("SYNOPSIS");
    roff.raw("/etc/vault\\-kms\\-plugin/config.toml");
    roff.section("DESCRIPTION");
    roff.blocks(&section(page, "Configuration").blocks);
    roff.section("KEYS");
    for section in page {
        if let Some(key) = Key::of(section) {
            key_of(&mut roff, &key);
        } else if section.level == BELOW_TITLE && is_of_keys(&section.title) {
            roff.subsection(&section.title);
            roff.blocks(&section.blocks);
        } else if section.level == BELOW_TITLE {
            roff.section(&section.title.to_uppercase());
            roff.blocks(&section.blocks);
        }
    }
    roff.section("EXAMPLE");
    roff.code(example);
    roff.section("SEE ALSO");
    roff.raw("\\fBvault\\-kms\\-plugin\\fR(8), \\fBvault\\-kms\\-plugin\\-check\\fR(8)");
    roff.into_bytes()
}

fn is_of_keys(title: &str) -> bool {
    title.starts_with('[') || title == "Top level"
}

fn key_of(roff: &mut Roff, key: &Key<'_>) {
    roff.term(&format!("`{}`", key.name));
    for (index, block) in key.meaning.iter().enumerate() {
        match block {
            Block::Paragraph(text) if index == 0 => roff.text(text),
            Block::Paragraph(text) => roff.indented(text),
            other => panic!("{}: no man page for {other:?}", key.name),
        }
    }
    roff.indented(&format!("Type: {}", key.kind));
    roff.raw(".br");
    if !key.methods.is_empty() {
        roff.text(&format!("Methods: {}", key.methods.join(", ")));
        roff.raw(".br");
    }
    roff.text(&format!("Default: {}", key.default));
    roff.raw(".br");
    roff.text(&format!("Environment: {}", key.environment));
}

/// The section of this title.
fn section<'a>(page: &'a [Section], title: &str) -> &'a Section {
    let found = page.iter().find(|section| section.title == title);
    found.unwrap_or_else(|| panic!("the page has no section {title:?}"))
}

/// The rows of the section's only table.
fn table<'a>(page: &'a [Section], title: &str) -> &'a [Vec<String>] {
    let blocks = section(page, title).blocks.iter();
    let mut tables = blocks.filter_map(|block| match block {
        Block::Table(rows) => Some(rows.as_slice()),
        _ => None,
    });
    tables
        .next()
        .unwrap_or_else(|| panic!("the section {title:?} has no table"))
}

/// The command with its options and their values.
fn synopsis(command: &Command, name: &str) -> String {
    // The words that are typed: `vault-kms-plugin check`.
    let typed = match name.strip_suffix(&format!("-{}", command.get_name())) {
        Some(program) => format!("{program} {}", command.get_name()),
        None => name.to_owned(),
    };
    let mut words = vec![format!("\\fB{}\\fR", escaped(&typed))];
    words.extend(command.get_arguments().filter_map(argument));
    if command.has_subcommands() {
        words.push("[\\fICOMMAND\\fR]".to_owned());
    }
    words.join(" ")
}

fn argument(argument: &Arg) -> Option<String> {
    let value = argument.get_value_names().filter(|_| {
        let action = argument.get_action();
        action.takes_values()
    });
    let value = value.map(|names| format!("\\fI{}\\fR", escaped(names.first()?)).into());
    let value: Option<String> = value.flatten();
    let word = match (argument.get_long(), value) {
        (None, value) => value?,
        (Some("help" | "version"), _) => return None,
        (Some(long), None) => format!("\\fB\\-\\-{}\\fR", escaped(long)),
        (Some(long), Some(value)) => format!("\\fB\\-\\-{}\\fR {value}", escaped(long)),
    };
    Some(if argument.is_required_set() {
        word
    } else {
        format!("[{word}]")
    })
}

/// What clap_mangen leaves as Markdown: code spans are bold.
fn with_code_spans(roff: &str) -> String {
    let mut parts = roff.split('`');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for (index, part) in parts.enumerate() {
        text.push_str(if index % 2 == 0 { "\\fB" } else { "\\fR" });
        text.push_str(part);
    }
    text
}

/// The other pages.
fn see_also(command: &Command, name: &str) -> String {
    let below = command.get_subcommands().map(|it| it.get_display_name());
    let mut pages: Vec<_> = below.flatten().map(|name| (name.to_owned(), 8)).collect();
    if let Some(program) = name.strip_suffix(&format!("-{}", command.get_name())) {
        pages.push((program.to_owned(), 8));
    }
    pages.push(("vault-kms-plugin.toml".to_owned(), 5));
    let pages = pages
        .iter()
        .map(|(name, section)| format!("\\fB{}\\fR({section})", escaped(name)));
    pages.collect::<Vec<_>>().join(", ")
}

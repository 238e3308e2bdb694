//! The output: numbered steps, answers and reasons in at most 80 columns.

use std::fmt::Display;
use std::io::{Write, stdout};
use std::sync::atomic::{AtomicU32, Ordering};

use super::plugin::Plugin;
use super::server::Server;

const COLUMNS: usize = 80;
/// What is shown as it is.
const LONGEST: usize = 50;
/// What a shortened text keeps of its beginning ...
const HEAD: usize = 20;
/// ... and of its end.
const TAIL: usize = 14;

/// One line as it is.
pub(super) fn line(text: impl Display) {
    // A reader that left (`| head`) is no reason to fail.
    let _ = writeln!(stdout().lock(), "{text}");
}

/// The processes that take part.
pub(super) fn title(server: &mut Server, plugin: &Plugin) {
    line("vault-kms-plugin quickstart\n");
    line(format_args!("  Transit         {server}"));
    line(format_args!(
        "  plugin          process {} on {}",
        plugin.pid(),
        plugin.socket().display()
    ));
    line("  kube-apiserver  played by this program");
    if server.memory().is_some() {
        line("\nWith --vault, VAULT_ADDR and VAULT_TOKEN it uses a Vault or OpenBao of yours.");
    }
}

/// The heading of the next step.
pub(super) fn step(text: &str) {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    line("");
    wrapped(&format!("{number}. "), text);
}

/// What came back.
pub(super) fn answer(text: &str) {
    wrapped("   -> ", text);
}

/// Why it matters.
pub(super) fn why(text: &str) {
    wrapped("   ", text);
}

/// Both ends of a long text: a key_id's end has its version.
pub(super) fn short(text: &str) -> String {
    if !text.is_ascii() || text.len() <= LONGEST {
        return text.to_owned();
    }
    format!("{}...{}", &text[..HEAD], &text[text.len() - TAIL..])
}

/// `text` behind `prefix`, its further lines as far to the right.
fn wrapped(prefix: &str, text: &str) {
    let mut current = prefix.to_owned();
    for word in text.split_whitespace() {
        let begun = current.len() > prefix.len();
        if begun && current.len() + 1 + word.len() > COLUMNS {
            line(&current);
            current = " ".repeat(prefix.len());
        } else if begun {
            current.push(' ');
        }
        current.push_str(word);
    }
    line(current);
}

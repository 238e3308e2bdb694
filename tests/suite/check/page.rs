//! docs/troubleshooting.md shows the real output of the command: the block of each section is
//! compared with the output for a setup with that mistake.

use std::path::Path;
use std::sync::Mutex;

use super::super::documents::markdown::Page;
use super::super::harness::vault::Fixture;
use super::{DEFAULTS, Said};

/// Set for a run that puts the output into the page instead of comparing them.
const REWRITE: &str = "REWRITE_EXPECTED";

/// Each has a test in `broken.rs` or `reported.rs`.
const SECTIONS: [&str; 20] = [
    "The CA is not Vault's",
    "The certificate is for another name",
    "The certificate has expired",
    "Vault is sealed",
    "The role does not exist",
    "The policy does not grant decrypt",
    "The key does not exist",
    "The key is derived",
    "The socket's directory is missing",
    "kube-apiserver's endpoint is another socket",
    "kube-apiserver writes plaintext",
    "The provider has no apiVersion",
    "The endpoint has two slashes",
    "The role is for other addresses",
    "The certificate is self-signed",
    "The JWT has expired",
    "The policy grants too much",
    "The token is not valid any more",
    "min_decryption_version is above what was written",
    "The plugin refuses kube-apiserver",
];

fn page() -> Page {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    Page::read(&root.join("docs/troubleshooting.md"))
}

/// Asserts that the page shows this output, with fixed names for what differs between runs: `names`
/// and those of every run.
pub(super) fn shows(
    section: &str,
    more: &str,
    said: &Said,
    fixture: &Fixture,
    names: &[(&str, &str)],
) {
    assert!(SECTIONS.contains(&section), "{section} is not listed");
    let said = general(said, fixture, names);
    let printed = format!("$ vault-kms-plugin check{more}\n{said}");
    if std::env::var_os(REWRITE).is_some() {
        return rewrite(section, &printed);
    }
    let blocks = page().blocks(section, "console");
    assert_eq!(blocks, [printed.as_str()], "printed was:\n{printed}");
}

/// Puts the output into the page.
fn rewrite(section: &str, printed: &str) {
    static PAGE: Mutex<()> = Mutex::new(());
    let _one_at_a_time = PAGE.lock();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/troubleshooting.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let begin = text.find(&format!("\n## {section}\n")).unwrap();
    let fence = "```console\n";
    let begin = begin + text[begin..].find(fence).unwrap() + fence.len();
    let end = begin + text[begin..].find("```").unwrap();
    let text = format!("{}{printed}{}", &text[..begin], &text[end..]);
    std::fs::write(&path, text).unwrap();
}

fn every_section_with_output_has_a_test() {
    let page = page();
    let mut shown = page.sections_with("console");
    let mut named = SECTIONS.to_vec();
    shown.sort_unstable();
    named.sort_unstable();
    assert_eq!(shown, named);
}

/// The output as on an operator's host, without the defaults.
fn general(said: &Said, fixture: &Fixture, names: &[(&str, &str)]) -> String {
    let lines = said.text.lines().filter(|line| !line.starts_with(DEFAULTS));
    let mut text: String = lines.map(|line| format!("{line}\n")).collect();
    for (real, name) in names {
        text = text.replace(real, name);
    }
    let dir = &said.dir;
    for file in [
        "config.toml",
        "token",
        "jwt",
        "secret-id",
        "encryption.yaml",
    ] {
        let real = format!("{dir}/{file}");
        text = text.replace(&real, &format!("/etc/vault-kms-plugin/{file}"));
    }
    // The end of it, where two slashes took the beginning away.
    let end = dir.rsplit('/').next().unwrap();
    text = text
        .replace(dir, "/run/vault-kms-plugin")
        .replace(&format!("tmp/{end}"), "run/vault-kms-plugin")
        .replace(&format!("/{end}"), "/vault-kms-plugin")
        .replace(&format!("{}/", fixture.mount), "transit/")
        .replace(&fixture.policy, "vault-kms-plugin");
    let digit = |c: char| c.is_ascii_digit();
    text = replaced(&text, "127.0.0.1:", digit, "8200");
    // Plain HTTP is only allowed to a Vault on the host itself.
    if text.contains("https://") {
        text = text.replace("127.0.0.1", "10.0.0.5");
    }
    text = replaced(&text, "answered in ", digit, "1");
    text = replaced(&text, "decrypted in ", digit, "4");
    text = replaced(&text, "test CA ", digit, "1").replace("test CA 1", "ACME CA");
    text = replaced(&text, "its directory has mode ", digit, "0755");
    text = replaced(&text, "has version ", |c| c != ',', "1.21.1");
    text = replaced(&text, "uid ", digit, "60790");
    text = replaced(&text, "(pid ", digit, "1412");
    if said.text.contains("as kube-apiserver") {
        return text;
    }
    replaced(&text, "for users ", |c| c != ';', "0, 60790")
}

/// Replaces the characters of this kind after `marker` by `by`.
fn replaced(text: &str, marker: &str, kind: impl Fn(char) -> bool, by: &str) -> String {
    let mut parts = text.split(marker);
    let mut made = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(&kind);
        let by = if rest.len() == part.len() { "" } else { by };
        made.push_str(&format!("{marker}{by}{rest}"));
    }
    made
}

tests! {
    plain every_section_with_output_has_a_test;
}

//! A systemd unit: its command line and its environment (systemd.syntax(7), systemd.service(5)).

use std::path::Path;

use super::{Input, command_line};
use crate::commands::environment_file;

/// Settings of a service that say what the plugin is to do, or prepare something for it.
const OTHERS: [&str; 7] = [
    "ExecStartPre",
    "ExecStartPost",
    "ExecStop",
    "ExecReload",
    "LoadCredential",
    "SetCredential",
    "PassEnvironment",
];

/// Adds what a unit says.
pub(super) fn add(text: &str, input: &mut Input) -> Result<(), String> {
    let settings = service(text);
    let mut variables = Vec::new();
    for (name, value) in &settings {
        match name.as_str() {
            // An empty assignment resets the list.
            "Environment" if value.is_empty() => variables.clear(),
            "Environment" => {
                let words = words(value)?.into_iter();
                variables.extend(words.filter_map(|word| {
                    let (name, value) = word.split_once('=')?;
                    Some((name.to_owned(), value.to_owned()))
                }));
            }
            "EnvironmentFile" if value.is_empty() => {}
            "EnvironmentFile" => variables.extend(file(value)?),
            "WorkingDirectory" => {
                input.working_directory = Some(value.trim_start_matches('-').into())
            }
            name if OTHERS.contains(&name) && !value.is_empty() => {
                input.note(
                    name,
                    "is not carried over: the new unit has its own; compare them",
                );
            }
            _ => {}
        }
    }
    if input.working_directory.is_none() {
        input.working_directory = Some("/".into());
    }
    let commands: Vec<_> = settings
        .iter()
        .filter(|(name, value)| name == "ExecStart" && !value.is_empty())
        .collect();
    let [(_, command)] = commands.as_slice() else {
        return Err("has not one ExecStart=".to_owned());
    };
    // The prefixes of systemd.service(5).
    let command = command.trim_start_matches(['@', '-', ':', '+', '!', '|']);
    let words = words(command)?.into_iter();
    let words: Result<Vec<_>, _> = words.map(|word| replaced(word, &variables)).collect();
    command_line::add(words?.concat(), input);
    input.variables.extend(variables);
    Ok(())
}

/// The assignments of the section `[Service]`, with continued lines joined.
fn service(text: &str) -> Vec<(String, String)> {
    let mut lines = Vec::<String>::new();
    let mut continues = false;
    for line in text.lines() {
        if line.trim_start().starts_with(['#', ';']) {
            continue;
        }
        let (line, next) = match line.strip_suffix('\\') {
            Some(line) => (line, true),
            None => (line, false),
        };
        match lines.last_mut().filter(|_| continues) {
            Some(last) => {
                last.push(' ');
                last.push_str(line);
            }
            None => lines.push(line.to_owned()),
        }
        continues = next;
    }
    let mut is_service = false;
    let mut settings = Vec::new();
    for line in lines {
        let line = line.trim();
        if line.starts_with('[') {
            is_service = line == "[Service]";
        } else if let Some((name, value)) = line.split_once('=').filter(|_| is_service) {
            settings.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    settings
}

/// The words of a line: quotes around them, escapes as in C.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            (c, Some(end)) if c == end => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            ('\\', _) => {
                let c = match chars.next() {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some('s') => ' ',
                    Some(c @ ('\\' | '"' | '\'')) => c,
                    _ => return Err("has an escape that is not known here".to_owned()),
                };
                word.get_or_insert_default().push(c);
            }
            ('%', _) => match chars.next() {
                Some('%') => word.get_or_insert_default().push('%'),
                specifier => {
                    let specifier = specifier.map_or_else(String::new, |it| it.to_string());
                    return Err(format!(
                        "%{specifier} is replaced by systemd: write the value itself"
                    ));
                }
            },
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// `$NAME` as a word is split at spaces, `${NAME}` in a word is not.
fn replaced(word: String, variables: &[(String, String)]) -> Result<Vec<String>, String> {
    let value = |name: &str| {
        let found = variables.iter().rev().find(|(it, _)| it == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let is_name = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if let Some(name) = word
        .strip_prefix('$')
        .filter(|it| !it.is_empty() && is_name(it))
    {
        return Ok(value(name).split_whitespace().map(str::to_owned).collect());
    }
    let mut text = String::new();
    let mut rest = word.as_str();
    while let Some((before, after)) = rest.split_once('$') {
        text.push_str(before);
        let braced = after
            .strip_prefix('{')
            .and_then(|after| after.split_once('}'));
        match (after.strip_prefix('$'), braced) {
            (Some(after), _) => {
                text.push('$');
                rest = after;
            }
            (None, Some((name, after))) if is_name(name) => {
                text.push_str(&value(name));
                rest = after;
            }
            _ => {
                return Err(
                    "ExecStart= has a $ that is not understood: write the value itself".to_owned(),
                );
            }
        }
    }
    text.push_str(rest);
    Ok(vec![text])
}

/// The variables of an `EnvironmentFile=` on this host.
fn file(value: &str) -> Result<Vec<(String, String)>, String> {
    let (path, is_optional) = match value.strip_prefix('-') {
        Some(path) => (path, true),
        None => (value, false),
    };
    match std::fs::read_to_string(Path::new(path)) {
        Ok(text) => Ok(environment_file::parse(&text)),
        Err(error) if is_optional && error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(format!(
            "EnvironmentFile={path}: cannot be read: {error}; run this on the node, as root"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_read_as_systemd_reads_it() {
        let unit = "[Unit]\nExecStart=/bin/no\n[Service]\nType=simple\n# no\nEnvironment=A=1 \"B=two words\"\n\
                    Environment='C=3'\nExecStartPre=/bin/mkdir x\nExecStart=\n\
                    ExecStart=-/usr/bin/vault-kubernetes-kms -x=${B} \\\n  --y $A \"-z=100%%\" $$A\n[Install]\nA=b\n";
        let mut input = Input::default();
        add(unit, &mut input).expect("a unit");
        assert_eq!(
            input.arguments,
            ["-x=two words", "--y", "1", "-z=100%", "$A"]
        );
        let names: Vec<_> = input
            .variables
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["A", "B", "C"]);
        assert_eq!(
            input.program.as_deref(),
            Some("/usr/bin/vault-kubernetes-kms")
        );
        assert_eq!(input.notes.len(), 1);
    }

    #[test]
    fn what_only_systemd_knows_is_an_error() {
        let error = |line: &str| {
            let unit = format!("[Service]\n{line}\n");
            add(&unit, &mut Input::default()).expect_err("an error")
        };
        assert!(error("ExecStart=/bin/a -n=%H").contains("%H is replaced by systemd"));
        assert!(error("ExecStart=/bin/a\nExecStart=/bin/b").contains("not one ExecStart="));
        assert!(
            error("EnvironmentFile=/nonexistent/x\nExecStart=/bin/a").contains("cannot be read")
        );
        assert!(error("Type=simple").contains("not one ExecStart="));
    }
}

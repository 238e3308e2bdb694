//! Each shell completes with the shipped script: after a command, and after an option before it.

use std::path::Path;
use std::process::Command;

use super::deployed;

/// A line that is being typed, and what its last word becomes.
const LINES: [(&str, &str); 7] = [
    ("vault-kms-plugin re", "reload"),
    ("vault-kms-plugin check --enc", "--encryption-config"),
    ("vault-kms-plugin status --w", "--watch"),
    ("vault-kms-plugin prepare-dir --o", "--owner"),
    ("vault-kms-plugin --config /a check --st", "--strict"),
    ("vault-kmsctl au", "audit"),
    ("vault-kmsctl audit --verif", "--verify"),
];
const COMMANDS: [&str; 5] = ["serve", "check", "status", "reload", "prepare-dir"];

/// zsh completes on a terminal alone: another zsh is its user. What was completed is in `<>`, and is
/// the whole line.
const ZSH: &str = r#"
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1=; fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -D; \
    bindkey '^I' complete-word; shown() { print -r -- \"<\$BUFFER>\" }; \
    zle -N shown; bindkey '^X' shown; print -r ready\$((1 + 1))"
zpty -r shell seen '*ready2*'
zpty -w -n shell "$2"$'\t\x18'
zpty -r shell seen '*<vault*>*'
print -r -- "${${seen#*<}%%>*}"
zpty -d shell
"#;

/// What a command writes to stdout; nothing to stderr.
fn output(command: &mut Command) -> String {
    let output = command.env("TERM", "xterm").output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && error.is_empty(), "{error}");
    String::from_utf8(output.stdout).unwrap()
}

/// The program of a line.
fn program(line: &str) -> &str {
    line.split(' ').next().unwrap()
}

/// What bash completes after this line, whose last word is being typed.
fn bash(line: &str) -> String {
    let program = program(line);
    let script = deployed(&format!("completions/{program}"));
    let function = program.replace('-', "__");
    let words: Vec<_> = line.split(' ').collect();
    let (last, before) = (words[words.len() - 1], words[words.len() - 2]);
    let text = format!(
        "source {}\nCOMP_WORDS=({line})\n[ -n '{last}' ] || COMP_WORDS+=('')\nCOMP_CWORD={}\n\
         _{function} {program} '{last}' '{before}'\necho \"${{COMPREPLY[@]}}\"",
        script.display(),
        words.len() - 1,
    );
    output(Command::new("bash").args(["--norc", "-c", &text]))
}

/// The line after zsh has completed it.
fn zsh(line: &str) -> String {
    let dir = deployed("completions");
    let mut command = Command::new("timeout");
    command.args(["60", "zsh", "-f", "-c", ZSH, "zsh"]);
    output(command.arg(dir).arg(line))
}

/// What fish completes after this line: a word on each line, without its description.
fn fish(line: &str) -> Vec<String> {
    let script = deployed(&format!("completions/{}.fish", program(line)));
    let text = format!("source {}; complete -C '{line}'", script.display());
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new("fish");
    command.args(["--no-config", "-c", &text]);
    let text = output(command.env("HOME", Path::new(home.path())));
    let words = text.lines().filter_map(|line| line.split('\t').next());
    words.map(str::to_owned).collect()
}

fn bash_completes_commands_and_their_options() {
    for (line, expected) in LINES {
        assert_eq!(bash(line).trim(), expected, "{line:?}");
    }
    let all = bash("vault-kms-plugin ");
    for command in COMMANDS {
        assert!(all.contains(command), "{all}");
    }
}

fn zsh_completes_commands_and_their_options() {
    for (line, expected) in LINES {
        let completed = zsh(line);
        // An option with a value is followed by an equals sign.
        let last = completed.trim().rsplit(' ').next().unwrap();
        assert_eq!(last.trim_end_matches('='), expected, "{completed:?}");
        let before = line.rsplit_once(' ').unwrap().0;
        assert!(completed.starts_with(before), "{completed:?}");
    }
}

fn fish_completes_commands_and_their_options() {
    for (line, expected) in LINES {
        assert_eq!(fish(line), [expected], "{line:?}");
    }
    let all = fish("vault-kms-plugin ");
    for command in COMMANDS {
        assert!(all.iter().any(|it| it == command), "{all:?}");
    }
}

tests! {
    plain bash_completes_commands_and_their_options;
    plain zsh_completes_commands_and_their_options [Zsh];
    plain fish_completes_commands_and_their_options [Fish];
}

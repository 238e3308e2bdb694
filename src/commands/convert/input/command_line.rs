//! A command line: variables, the program, its arguments.

use super::Input;
use crate::drop_in::Plugin;

/// The words of a command line in a file, with the quotes of a shell; what a shell would replace is an error.
pub(super) fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                let inner: String = chars.by_ref().take_while(|c| *c != '\'').collect();
                word.get_or_insert_default().push_str(&inner);
            }
            '"' => {
                let word = word.get_or_insert_default();
                while let Some(c) = chars.next().filter(|c| *c != '"') {
                    match c {
                        '\\' => word.extend(chars.next()),
                        '$' | '`' => return Err(replaced()),
                        c => word.push(c),
                    }
                }
            }
            // At the end of a line it joins the next one.
            '\\' => match chars.next() {
                Some('\n') | None => {}
                Some(c) => word.get_or_insert_default().push(c),
            },
            '$' | '`' => return Err(replaced()),
            '#' if word.is_none() => {
                let _ = chars.by_ref().take_while(|c| *c != '\n').count();
            }
            c if c.is_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn replaced() -> String {
    "a shell would replace what begins with $ or `: write the value itself".to_owned()
}

/// Adds the words of a command line.
pub(super) fn add(words: Vec<String>, input: &mut Input) {
    let mut words = words.into_iter().peekable();
    while let Some((name, value)) = words.peek().and_then(|word| assignment(word)) {
        input.variables.push((name, value));
        words.next();
    }
    if let Some(program) = words.next_if(|word| !word.starts_with('-')) {
        // A program may have any name, as in `./app`, but an argument that comes first has no directory.
        if program.contains('/') || program_name(&program).is_some() {
            input.program = Some(program);
        } else {
            // `serve`, or the argument of a container that names no program.
            input.arguments.push(program);
        }
    }
    input.arguments.extend(words);
}

fn assignment(word: &str) -> Option<(String, String)> {
    let (name, value) = word.split_once('=')?;
    let is_name = !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    is_name.then(|| (name.to_owned(), value.to_owned()))
}

/// The plugin that a program is, by its file name.
pub(super) fn program_name(program: &str) -> Option<Plugin> {
    Plugin::named(program.rsplit('/').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_a_shell() {
        let text =
            "# the plugin\nA=b /vault-kubernetes-kms \\\n  -token='a b' \"-x=c\\\"d\" e\\ f\n";
        let expected = [
            "A=b",
            "/vault-kubernetes-kms",
            "-token=a b",
            "-x=c\"d",
            "e f",
        ];
        assert_eq!(words(text).expect("words"), expected);
        for text in ["-token=$TOKEN", "-token=\"$(cat x)\"", "`id`"] {
            assert!(words(text).is_err(), "{text}");
        }
        assert_eq!(words("-token='$x'").expect("words"), ["-token=$x"]);
    }

    #[test]
    fn a_command_line_is_variables_program_and_arguments() {
        let mut input = Input::default();
        let line = ["A_B=c", "/usr/bin/vault-kube-kms", "-x=y", "z"].map(str::to_owned);
        add(line.to_vec(), &mut input);
        assert_eq!(input.variables, [("A_B".to_owned(), "c".to_owned())]);
        assert_eq!(input.program.as_deref(), Some("/usr/bin/vault-kube-kms"));
        assert_eq!(input.arguments, ["-x=y", "z"]);
    }

    #[test]
    fn a_program_may_have_any_name_and_an_argument_has_no_directory() {
        for (first, program) in [
            ("./kleidi-kms-plugin", Some("./kleidi-kms-plugin")),
            ("vault-kube-kms", Some("vault-kube-kms")),
            ("serve", None),
        ] {
            let mut input = Input::default();
            add(vec![first.to_owned(), "-x=y".to_owned()], &mut input);
            assert_eq!(input.program.as_deref(), program, "{first}");
        }
    }
}

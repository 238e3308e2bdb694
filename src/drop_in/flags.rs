//! Flags as Go's package `flag` reads them: one dash or two, `-x=v` or `-x v`, a boolean only as `-x` or
//! `-x=v`; what follows the first word that is no flag, or `--`, is no flag either.

use super::setting::{Kind, Setting};
use super::translation::Problem;
use crate::diagnosis::Diagnosis;

/// What the arguments say.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    /// The flags and their values, in order.
    pub(super) values: Vec<(&'static Setting, String)>,
    /// What is no flag.
    pub(super) rest: Vec<String>,
    /// The first error: Go reads no further.
    pub(super) error: Option<Problem>,
    /// Whether `-h` or `-help` asks for help.
    pub(super) wants_help: bool,
}

/// Reads the arguments.
pub(super) fn parse(arguments: &[String], settings: &'static [Setting]) -> Parsed {
    let mut parsed = Parsed::default();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let name = argument.strip_prefix("--").or(argument.strip_prefix('-'));
        let Some(name) = name.filter(|_| argument != "-") else {
            parsed.rest = [argument.clone()]
                .into_iter()
                .chain(arguments.cloned())
                .collect();
            break;
        };
        if name.is_empty() {
            parsed.rest = arguments.cloned().collect();
            break;
        }
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (name, None),
        };
        let flag = |it: &&Setting| it.flag.and_then(|flag| flag.strip_prefix('-')) == Some(name);
        let value = match settings.iter().find(flag) {
            None if name == "h" || name == "help" => {
                parsed.wants_help = true;
                break;
            }
            None => Err(unknown(name)),
            Some(setting) => match (value, setting.kind) {
                (Some(value), _) => Ok((setting, value)),
                (None, Kind::Bool) => Ok((setting, "true".to_owned())),
                (None, _) => match arguments.next() {
                    Some(value) => Ok((setting, value.clone())),
                    None => Err(problem(name, "needs a value", "write -NAME=VALUE")),
                },
            },
        };
        match value {
            Ok(value) => parsed.values.push(value),
            Err(error) => {
                parsed.error = Some(error);
                break;
            }
        }
    }
    parsed
}

fn unknown(name: &str) -> Problem {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    // What follows a dash by mistake may be a secret.
    let shown: String = name.chars().take_while(|c| is_name(*c)).take(40).collect();
    problem(&shown, "is no flag of this plugin", "correct or remove it")
}

fn problem(name: &str, cause: &str, remedy: &str) -> Problem {
    Problem {
        setting: format!("-{name}"),
        diagnosis: Diagnosis::new(cause).with_remedy(remedy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: &[Setting] = &[
        Setting::flag("-socket", &[]),
        Setting::flag("-debug", &[]).kind(Kind::Bool),
    ];

    fn read(arguments: &[&str]) -> (Vec<String>, Vec<String>, Option<String>) {
        let arguments: Vec<_> = arguments.iter().map(|it| (*it).to_owned()).collect();
        let parsed = parse(&arguments, SETTINGS);
        let values = parsed.values.iter();
        let values = values.map(|(setting, value)| format!("{}={value}", setting.name()));
        let error = parsed.error.map(|error| error.to_string());
        (values.collect(), parsed.rest, error)
    }

    #[test]
    fn one_dash_or_two_and_both_forms_of_a_value() {
        for arguments in [
            &["-socket=a", "-debug"][..],
            &["--socket", "a", "--debug=true"],
            &["-socket", "a", "-debug=true"],
        ] {
            let values = vec!["-socket=a".to_owned(), "-debug=true".to_owned()];
            assert_eq!(read(arguments), (values, Vec::new(), None), "{arguments:?}");
        }
        assert_eq!(read(&["-socket="]).0, ["-socket="]);
        assert_eq!(read(&["-socket=a=b"]).0, ["-socket=a=b"]);
        assert_eq!(read(&["-socket", "-debug"]).0, ["-socket=-debug"]);
    }

    #[test]
    fn what_follows_the_first_word_is_no_flag() {
        let (values, rest, _) = read(&["-debug", "true", "-socket=a"]);
        assert_eq!(values, ["-debug=true"]);
        assert_eq!(rest, ["true", "-socket=a"]);
        assert_eq!(read(&["--", "-debug"]).1, ["-debug"]);
        assert_eq!(read(&["-", "-debug"]).1, ["-", "-debug"]);
    }

    #[test]
    fn an_unknown_flag_and_a_missing_value_are_errors_without_the_value() {
        let (_, _, error) = read(&["-sokcet=hvs.s3cret"]);
        let error = error.expect("an error");
        assert_eq!(
            error,
            "-sokcet: is no flag of this plugin; correct or remove it"
        );
        let (_, _, error) = read(&["-socket"]);
        assert!(
            error
                .expect("an error")
                .starts_with("-socket: needs a value")
        );
        assert!(parse(&["-h".to_owned()], SETTINGS).wants_help);
    }
}

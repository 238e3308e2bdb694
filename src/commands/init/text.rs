//! What may be in an answer, and how it is written into the files. An answer that would mean something
//! else in one of them is refused, whatever the quoting could do.

/// The characters of a name that goes into paths, policies and shell commands.
pub(in crate::commands) fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._-".contains(c)
}

/// A name. Vault takes more characters, but `*`, `+` and `{{` mean something in a policy.
pub(in crate::commands) fn word(text: &str) -> Result<(), String> {
    only(
        text,
        is_word,
        "letters, digits, dots, underscores and hyphens",
    )
}

/// A path of such names, such as a mount or a namespace.
pub(in crate::commands) fn words(text: &str) -> Result<(), String> {
    let allowed = "letters, digits, dots, underscores, hyphens and slashes";
    only(text, |c| is_word(c) || c == '/', allowed)
}

/// An absolute path that needs no quoting anywhere, and leads nowhere else.
pub(in crate::commands) fn plain_path(text: &str) -> Result<(), String> {
    words(text)?;
    let is_clean = text
        .strip_prefix('/')
        .is_some_and(|path| path.split('/').all(|part| !matches!(part, "" | "." | "..")));
    if is_clean {
        return Ok(());
    }
    Err(format!(
        "{text:?} is not an absolute path without `.`, `..` and double slashes"
    ))
}

/// A text of one line.
pub(in crate::commands) fn line(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if text.contains(char::is_control) {
        return Err(format!(
            "{text:?} contains a control character, such as a newline"
        ));
    }
    Ok(())
}

/// A text of these characters alone.
pub(in crate::commands) fn only(
    text: &str,
    is_allowed: impl Fn(char) -> bool,
    allowed: &str,
) -> Result<(), String> {
    if !text.is_empty() && text.chars().all(is_allowed) {
        return Ok(());
    }
    Err(format!("{text:?} must consist of {allowed}"))
}

/// A text as one word of a POSIX shell.
pub(in crate::commands) fn shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A text as a TOML string.
pub(in crate::commands) fn toml(text: &str) -> String {
    ::toml::Value::from(text).to_string()
}

/// A text as a YAML string: one of JSON is one.
pub(in crate::commands) fn yaml(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: [&str; 9] = [
        "", "a b", "a\"b", "a'b", "a\nb", "$(id)", "a`id`", "a;b", "a*",
    ];

    #[test]
    fn a_name_is_nothing_but_a_name() {
        assert_eq!(word("kms-1.prod_x"), Ok(()));
        assert_eq!(words("team/transit"), Ok(()));
        for text in HOSTILE {
            assert!(word(text).is_err() && words(text).is_err(), "{text:?}");
            assert!(plain_path(&format!("/run/{text}")).is_err(), "{text:?}");
        }
        assert!(word("a/b").is_err());
    }

    #[test]
    fn a_path_is_absolute_and_clean() {
        assert_eq!(plain_path("/run/vault-kms-plugin/kms.sock"), Ok(()));
        for text in [
            "run/kms.sock",
            "/run/../etc",
            "/run//kms",
            "/run/./kms",
            "/run/",
            "@kms",
        ] {
            assert!(plain_path(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_quoted_is_read_back() {
        for text in HOSTILE
            .into_iter()
            .chain(["\\", "é", "\u{7f}", "#", "a: b", "%"])
        {
            let back: ::toml::Table = format!("k = {}", toml(text)).parse().expect("TOML");
            assert_eq!(back["k"].as_str(), Some(text));
            let back: String = serde_json::from_str(&yaml(text)).expect("JSON");
            assert_eq!(back, text);
            let command = format!("printf %s {}", shell(text));
            let said = std::process::Command::new("sh")
                .args(["-c", &command])
                .output();
            assert_eq!(said.expect("sh runs").stdout, text.as_bytes());
        }
    }

    #[test]
    fn a_line_is_one() {
        assert_eq!(line("/etc/my ca/\"x\".pem"), Ok(()));
        for text in ["", "a\nb", "a\0b", "a\tb", "a\u{7f}"] {
            assert!(line(text).is_err(), "{text:?}");
        }
    }
}

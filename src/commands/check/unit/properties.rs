//! What `systemctl show` and `systemctl show-environment` write.

use std::iter::Peekable;
use std::str::Chars;

/// The properties of a unit: a name and its value on each line.
#[derive(Debug)]
pub(super) struct Properties(Vec<(String, String)>);

/// A file of `EnvironmentFile=`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EnvironmentFile {
    pub(super) path: String,
    /// Whether the service starts without it.
    pub(super) is_optional: bool,
}

impl Properties {
    pub(super) fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(assignment).collect())
    }

    /// The value of a property that is written once.
    pub(super) fn one(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The words of a property that is a list.
    pub(super) fn words(&self, name: &str) -> Vec<String> {
        self.all(name).flat_map(words).collect()
    }

    /// The same for a list of variables.
    pub(super) fn assignments(&self, name: &str) -> Vec<(String, String)> {
        let words = self.words(name);
        words.iter().filter_map(|word| assignment(word)).collect()
    }

    /// The files of `EnvironmentFile=`: each has a line of its own.
    pub(super) fn environment_files(&self) -> impl Iterator<Item = EnvironmentFile> {
        self.all("EnvironmentFiles").filter_map(|line| {
            let (path, flags) = line.rsplit_once(" (ignore_errors=")?;
            Some(EnvironmentFile {
                path: path.to_owned(),
                is_optional: flags == "yes)",
            })
        })
    }

    /// The file that `--config` names in the command line of `ExecStart=`.
    pub(super) fn config_argument(&self) -> Option<&str> {
        let (_, rest) = self.one("ExecStart")?.split_once("argv[]=")?;
        let (line, _) = rest.split_once(" ; ")?;
        let mut words = line.split(' ');
        let file = words.find_map(|word| match word.strip_prefix("--config") {
            Some("") => Some(None),
            Some(value) => value.strip_prefix('=').map(Some),
            None => None,
        })?;
        let file = file.or_else(|| words.next());
        // A variable that systemd replaces at the start is not known here.
        file.filter(|file| !file.contains('$'))
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let properties = self.0.iter().filter(move |(key, _)| key == name);
        properties.map(|(_, value)| value.as_str())
    }
}

/// `NAME=VALUE`.
pub(super) fn assignment(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    Some((name.to_owned(), value.to_owned()))
}

/// The words of a line, in which systemd quotes what a shell would not read as it is
/// (`shell_maybe_quote` of `src/basic/escape.c`): `"…"`, or `$'…'` after a name.
pub(super) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut chars = line.chars().peekable();
    while chars.peek().is_some() {
        let mut word = Vec::new();
        let mut is_word = false;
        while let Some(c) = chars.next_if(|c| *c != ' ') {
            is_word = true;
            match c {
                '"' => unquoted(&mut chars, '"', &mut word),
                '\'' => unquoted(&mut chars, '\'', &mut word),
                '$' if chars.next_if_eq(&'\'').is_some() => unquoted(&mut chars, '\'', &mut word),
                c => push(&mut word, c),
            }
        }
        if is_word {
            words.push(String::from_utf8_lossy(&word).into_owned());
        }
        chars.next_if_eq(&' ');
    }
    words
}

/// Reads up to the closing quote.
fn unquoted(chars: &mut Peekable<Chars<'_>>, end: char, word: &mut Vec<u8>) {
    while let Some(c) = chars.next() {
        match c {
            c if c == end => return,
            '\\' => unescaped(chars, word),
            c => push(word, c),
        }
    }
}

/// Reads what follows a backslash, as in C.
fn unescaped(chars: &mut Peekable<Chars<'_>>, word: &mut Vec<u8>) {
    let Some(c) = chars.next() else {
        return;
    };
    let number = |digits: String, radix| u8::from_str_radix(&digits, radix).unwrap_or(b'?');
    match c {
        'a' => word.push(7),
        'b' => word.push(8),
        'f' => word.push(12),
        'n' => word.push(b'\n'),
        'r' => word.push(b'\r'),
        't' => word.push(b'\t'),
        'v' => word.push(11),
        's' => word.push(b' '),
        'x' => word.push(number(chars.by_ref().take(2).collect(), 16)),
        '0'..='3' => {
            let rest: String = chars.by_ref().take(2).collect();
            word.push(number(format!("{c}{rest}"), 8));
        }
        c => push(word, c),
    }
}

fn push(word: &mut Vec<u8>, c: char) {
    word.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As systemd 252 writes it.
    const SHOWN: &str = "\
Environment=VAULT_KMS_PLUGIN_BOOT_ID=0123 \"A=b c\" \"B=\\\"q\\\" \\$x \\\\ \\t\" C= D=é
EnvironmentFiles=/etc/vault-kms-plugin/environment (ignore_errors=yes)
EnvironmentFiles=/etc/more files (ignore_errors=no)
PassEnvironment=HTTPS_PROXY NO_PROXY
UnsetEnvironment=
ExecStart={ path=/usr/local/bin/vault-kms-plugin ; argv[]=/usr/local/bin/vault-kms-plugin serve --config /etc/vault-kms-plugin/config.toml ; ignore_errors=no ; pid=0 }
LoadState=loaded
";

    #[test]
    fn what_systemctl_shows_is_read() {
        let properties = Properties::parse(SHOWN);
        assert_eq!(properties.one("LoadState"), Some("loaded"));
        let variables: Vec<_> = properties.assignments("Environment");
        let expected = [
            ("VAULT_KMS_PLUGIN_BOOT_ID", "0123"),
            ("A", "b c"),
            ("B", "\"q\" $x \\ \t"),
            ("C", ""),
            ("D", "é"),
        ];
        assert_eq!(
            variables,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        let files: Vec<_> = properties.environment_files().collect();
        let file = |path: &str, is_optional| EnvironmentFile {
            path: path.to_owned(),
            is_optional,
        };
        assert_eq!(
            files,
            [
                file("/etc/vault-kms-plugin/environment", true),
                file("/etc/more files", false)
            ]
        );
        assert_eq!(
            properties.words("PassEnvironment"),
            ["HTTPS_PROXY", "NO_PROXY"]
        );
        assert_eq!(properties.words("UnsetEnvironment"), [""; 0]);
        assert_eq!(
            properties.config_argument(),
            Some("/etc/vault-kms-plugin/config.toml")
        );
    }

    #[test]
    fn the_file_of_a_command_line_is_found_in_both_forms() {
        let argument = |line: &str| {
            let text = format!("ExecStart={{ path=/a ; argv[]=/a {line} ; ignore_errors=no }}");
            Properties::parse(&text)
                .config_argument()
                .map(str::to_owned)
        };
        assert_eq!(argument("--config=/b serve").as_deref(), Some("/b"));
        assert_eq!(argument("--config /b serve").as_deref(), Some("/b"));
        assert_eq!(argument("serve"), None);
        assert_eq!(argument("--config"), None);
        assert_eq!(argument("--config ${FILE}"), None);
    }

    #[test]
    fn words_are_unquoted_as_systemd_quoted_them() {
        assert_eq!(words("A=$'a\\'b\\nc' B=1"), ["A=a'b\nc", "B=1"]);
        assert_eq!(words("\"A=\\303\\251 \\x41\""), ["A=é A"]);
        assert_eq!(words("\"\"  x"), ["", "x"]);
        assert_eq!(words("\"open"), ["open"]);
        assert_eq!(words(""), [""; 0]);
    }
}

//! The files of `EnvironmentFile=`, as systemd reads them (`src/basic/env-file.c`).

const NEWLINE: [char; 2] = ['\n', '\r'];
const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];
/// What a backslash escapes between double quotes; before others it means itself.
const ESCAPED: [char; 4] = ['"', '\\', '`', '$'];

/// Where in a line the reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    BeforeKey,
    Key,
    BeforeValue,
    Value,
    ValueEscape,
    SingleQuotes,
    DoubleQuotes,
    DoubleQuotesEscape,
    Comment,
    CommentEscape,
}

/// The assignment that is being read, and those that were read.
#[derive(Debug, Default)]
struct Reader {
    key: String,
    value: String,
    /// The length of the value without the spaces at its end; `None` if it ends with none.
    trimmed: Option<usize>,
    read: Vec<(String, String)>,
}

/// The variables of the file, in order.
pub(super) fn parse(text: &str) -> Vec<(String, String)> {
    let mut reader = Reader::default();
    let mut place = Place::BeforeKey;
    for c in text.chars() {
        place = reader.next(place, c);
    }
    let is_assigned = !matches!(
        place,
        Place::BeforeKey | Place::Key | Place::Comment | Place::CommentEscape
    );
    if is_assigned {
        reader.assign();
    }
    reader.read
}

impl Reader {
    fn next(&mut self, place: Place, c: char) -> Place {
        match place {
            Place::BeforeKey if c == '#' || c == ';' => Place::Comment,
            Place::BeforeKey if SPACE.contains(&c) => Place::BeforeKey,
            Place::BeforeKey => {
                self.key.push(c);
                Place::Key
            }
            // A line without an equals sign means nothing.
            Place::Key if NEWLINE.contains(&c) => {
                self.key.clear();
                Place::BeforeKey
            }
            Place::Key if c == '=' => Place::BeforeValue,
            Place::Key => {
                self.key.push(c);
                Place::Key
            }
            Place::BeforeValue | Place::Value if NEWLINE.contains(&c) => {
                self.assign();
                Place::BeforeKey
            }
            Place::BeforeValue => match c {
                '\'' => Place::SingleQuotes,
                '"' => Place::DoubleQuotes,
                '\\' => Place::ValueEscape,
                c if SPACE.contains(&c) => Place::BeforeValue,
                c => self.push_value(c),
            },
            Place::Value if c == '\\' => {
                self.trimmed = None;
                Place::ValueEscape
            }
            Place::Value => self.push_value(c),
            Place::ValueEscape => {
                // An escaped end of a line is dropped.
                if !NEWLINE.contains(&c) {
                    self.value.push(c);
                }
                Place::Value
            }
            Place::SingleQuotes if c == '\'' => Place::BeforeValue,
            Place::DoubleQuotes if c == '"' => Place::BeforeValue,
            Place::DoubleQuotes if c == '\\' => Place::DoubleQuotesEscape,
            Place::SingleQuotes | Place::DoubleQuotes => {
                self.value.push(c);
                place
            }
            Place::DoubleQuotesEscape => {
                if ESCAPED.contains(&c) {
                    self.value.push(c);
                } else if c != '\n' {
                    self.value.extend(['\\', c]);
                }
                Place::DoubleQuotes
            }
            Place::Comment if c == '\\' => Place::CommentEscape,
            Place::Comment | Place::CommentEscape if NEWLINE.contains(&c) => Place::BeforeKey,
            Place::Comment | Place::CommentEscape => Place::Comment,
        }
    }

    /// A character outside of quotes: spaces at the end do not count.
    fn push_value(&mut self, c: char) -> Place {
        if SPACE.contains(&c) {
            self.trimmed.get_or_insert(self.value.len());
        } else {
            self.trimmed = None;
        }
        self.value.push(c);
        Place::Value
    }

    fn assign(&mut self) {
        if let Some(length) = self.trimmed.take() {
            self.value.truncate(length);
        }
        let key = std::mem::take(&mut self.key);
        let value = std::mem::take(&mut self.value);
        self.read
            .push((key.trim_end_matches(SPACE).to_owned(), value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let read = parse(text).into_iter();
        read.map(|(key, value)| format!("{key}={value}")).collect()
    }

    /// The file of systemd's own test (`src/test/test-env-file.c`).
    #[test]
    fn a_file_is_read_as_systemd_reads_it() {
        let text = "one=BAR   \n# comment\n # comment \n ; comment \n  two   =   bar    \n\
                    invalid line\ninvalid line #comment\nthree = \"333\nxxxx\"\n\
                    four = '44\\\"44'\nfive = \"55\\\"55\" \"FIVE\" cinco   \n\
                    six = seis sechs\\\n sis\nseven=\"sevenval\" #nocomment\n\
                    eight=eightval #nocomment\nexport nine=nineval\nten=ignored\nten=ignored\nten=";
        let expected = [
            "one=BAR",
            "two=bar",
            "three=333\nxxxx",
            "four=44\\\"44",
            "five=55\"55FIVEcinco",
            "six=seis sechs sis",
            "seven=sevenval#nocomment",
            "eight=eightval #nocomment",
            "export nine=nineval",
            "ten=ignored",
            "ten=ignored",
            "ten=",
        ];
        assert_eq!(read(text), expected);
    }

    #[test]
    fn quotes_and_backslashes_at_the_end_of_the_file_are_no_error() {
        assert_eq!(read("a='b"), ["a=b"]);
        assert_eq!(read("a=\"b\\"), ["a=b"]);
        assert_eq!(read("a=b\\"), ["a=b"]);
        assert_eq!(read("a"), [""; 0]);
        assert_eq!(read("# a=b"), [""; 0]);
        assert_eq!(read("a=b\r\nc=d\r\n"), ["a=b", "c=d"]);
    }

    #[test]
    fn a_backslash_means_itself_before_most_characters_between_double_quotes() {
        assert_eq!(read("a=\"\\n\\$\\`\\\\\\\nb\""), ["a=\\n$`\\b"]);
        assert_eq!(read("a='\\n'"), ["a=\\n"]);
        assert_eq!(read("a=\\n"), ["a=n"]);
    }
}

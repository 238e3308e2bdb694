//! Writes man pages: Markdown's blocks as roff, with the macros of man(7).

use super::markdown::Block;

/// The text of a page, as it grows.
#[derive(Debug, Default)]
pub(crate) struct Roff(String);

impl Roff {
    /// The page `name(section)` of this program.
    pub(crate) fn page(name: &str, section: &str) -> Self {
        let program = env!("CARGO_PKG_NAME");
        let version = env!("CARGO_PKG_VERSION");
        let mut page = Self::default();
        // No date: the same sources make the same page.
        page.macro_line("TH", &[name, section, "", &format!("{program} {version}")]);
        page
    }

    pub(crate) fn section(&mut self, title: &str) {
        self.macro_line("SH", &[title]);
    }

    pub(crate) fn subsection(&mut self, title: &str) {
        self.macro_line("SS", &[title]);
    }

    /// A term, in bold where the text says so; what follows explains it.
    pub(crate) fn term(&mut self, term: &str) {
        self.0.push_str(".TP\n");
        self.text(term);
    }

    pub(crate) fn paragraph(&mut self, text: &str) {
        self.0.push_str(".PP\n");
        self.text(text);
    }

    /// Another paragraph below the same term.
    pub(crate) fn indented(&mut self, text: &str) {
        self.0.push_str(".IP\n");
        self.text(text);
    }

    pub(crate) fn code(&mut self, text: &str) {
        self.0.push_str(".PP\n.RS 4\n.nf\n");
        for line in text.lines() {
            self.0.push_str(&guarded(&escaped(line)));
            self.0.push('\n');
        }
        self.0.push_str(".fi\n.RE\n");
    }

    /// A line that is roff already.
    pub(crate) fn raw(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    /// One line of text: code spans are bold.
    pub(crate) fn text(&mut self, text: &str) {
        self.raw(&guarded(&inline(text)));
    }

    pub(crate) fn blocks(&mut self, blocks: &[Block]) {
        for block in blocks {
            match block {
                Block::Paragraph(text) => self.paragraph(text),
                Block::Code(_, text) => self.code(text),
                Block::List(items) => {
                    for item in items {
                        self.raw(".IP \\(bu 3");
                        self.text(item);
                    }
                }
                Block::Table(rows) => {
                    for row in rows {
                        self.term(&row[0]);
                        self.text(&row[1..].join("; "));
                    }
                }
            }
        }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }

    fn macro_line(&mut self, name: &str, arguments: &[&str]) {
        let quoted = arguments
            .iter()
            .map(|text| format!(" \"{}\"", escaped(text).replace('"', "\\(dq")));
        let quoted: String = quoted.collect();
        self.raw(&format!(".{name}{quoted}"));
    }
}

/// Markdown on one line as roff: code spans are bold, links are their texts.
pub(crate) fn inline(text: &str) -> String {
    let text = super::markdown::plain(text);
    let mut parts = text.split('`');
    let mut roff = escaped(parts.next().unwrap_or_default());
    for (index, part) in parts.enumerate() {
        roff.push_str(if index % 2 == 0 { "\\fB" } else { "\\fR" });
        roff.push_str(&escaped(part));
    }
    roff
}

/// A text whose characters mean themselves.
pub(crate) fn escaped(text: &str) -> String {
    let mut roff = String::new();
    for c in text.chars() {
        match c {
            '\\' => roff.push_str("\\e"),
            '-' => roff.push_str("\\-"),
            '\'' => roff.push_str("\\(aq"),
            '`' => roff.push_str("\\(ga"),
            '^' => roff.push_str("\\(ha"),
            '~' => roff.push_str("\\(ti"),
            _ => roff.push(c),
        }
    }
    roff
}

/// A line that begins with a dot would be a macro.
fn guarded(line: &str) -> String {
    if line.starts_with('.') {
        return format!("\\&{line}");
    }
    line.to_owned()
}

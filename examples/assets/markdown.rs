//! Reads Markdown as far as the pages of docs/reference and docs/configuration.md use it.

/// A heading and what is below it, up to the next heading.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    /// The number of `#`.
    pub(crate) level: usize,
    pub(crate) title: String,
    pub(crate) blocks: Vec<Block>,
}

/// A part of a section.
#[derive(Debug, Clone)]
pub(crate) enum Block {
    Paragraph(String),
    /// The items of a list, each on one line.
    List(Vec<String>),
    /// The rows of a table, without its head.
    Table(Vec<Vec<String>>),
    /// A fenced block, with its language.
    Code(String, String),
}

/// The sections of a page, in order.
pub(crate) fn sections(text: &str) -> Vec<Section> {
    let mut sections = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let level = line.len() - line.trim_start_matches('#').len();
        if level > 0 {
            let title = line[level..].trim().to_owned();
            let blocks = Vec::new();
            sections.push(Section {
                level,
                title,
                blocks,
            });
            continue;
        }
        let Some(Section { blocks, .. }) = sections.last_mut() else {
            continue;
        };
        if let Some(language) = line.strip_prefix("```") {
            let inside = lines.by_ref().take_while(|line| *line != "```");
            let text = inside.map(|line| format!("{line}\n")).collect();
            blocks.push(Block::Code(language.to_owned(), text));
        } else if line.starts_with('|') {
            let mut rows = vec![line];
            rows.extend(std::iter::from_fn(|| {
                lines.next_if(|line| line.starts_with('|'))
            }));
            // The head, and the line below it.
            blocks.push(Block::Table(rows.into_iter().skip(2).map(cells).collect()));
        } else if !line.is_empty() {
            let mut text = line.to_owned();
            while let Some(line) = lines.next_if(|line| !line.is_empty() && !starts_block(line)) {
                text = format!("{text} {}", line.trim());
            }
            match (item(&text), blocks.last_mut()) {
                (Some(item), Some(Block::List(items))) => items.push(item.to_owned()),
                (Some(item), _) => blocks.push(Block::List(vec![item.to_owned()])),
                (None, _) => blocks.push(Block::Paragraph(text)),
            }
        }
    }
    sections
}

/// Whether a line ends the paragraph before it.
fn starts_block(line: &str) -> bool {
    line.starts_with(['#', '|']) || line.starts_with("```") || item(line).is_some()
}

/// The text of a list's item, numbered or not.
fn item(line: &str) -> Option<&str> {
    let number = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let numbered = || {
        number
            .strip_prefix(". ")
            .filter(|_| number.len() < line.len())
    };
    line.strip_prefix("- ").or_else(numbered)
}

fn cells(row: &str) -> Vec<String> {
    let inside = row.trim_matches('|').split('|');
    inside.map(|cell| cell.trim().to_owned()).collect()
}

/// A text in words alone: links are their texts, nothing is strong.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = text.to_owned();
    let mut start = 0;
    while let Some(open) = plain[start..].find('[').map(|at| start + at) {
        start = open + 1;
        // In a code span nothing is a link.
        let is_code = plain[..open].matches('`').count() % 2 == 1;
        let link = plain[open..].split_once("](").and_then(|(shown, target)| {
            let (target, _) = target.split_once(')')?;
            Some((shown[1..].to_owned(), shown.len() + target.len() + 3))
        });
        if let Some((shown, length)) = link.filter(|_| !is_code) {
            plain.replace_range(open..open + length, &shown);
        }
    }
    plain.replace("**", "")
}

/// The code spans of a text.
pub(crate) fn spans(text: &str) -> Vec<String> {
    let spans = text.split('`').skip(1).step_by(2);
    spans.map(str::to_owned).collect()
}

//! Takes a Markdown page apart, as far as the tests need it: its sections and their fenced blocks.

use std::fs;
use std::path::Path;

/// A fenced block.
#[derive(Debug)]
struct Block {
    section: String,
    language: String,
    text: String,
}

/// All blocks of a page.
#[derive(Debug)]
pub(in super::super) struct Page(Vec<Block>);

impl Page {
    pub(in super::super) fn read(path: &Path) -> Self {
        Self::parse(&fs::read_to_string(path).unwrap())
    }

    fn parse(text: &str) -> Self {
        let (mut section, mut blocks) = (String::new(), Vec::new());
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let title = line.strip_prefix("### ").or(line.strip_prefix("## "));
            if let Some(title) = title {
                section = title.to_owned();
            }
            if let Some(language) = line.strip_prefix("```") {
                let inside = lines.by_ref().take_while(|line| *line != "```");
                blocks.push(Block {
                    section: section.clone(),
                    language: language.to_owned(),
                    text: inside.map(|line| format!("{line}\n")).collect(),
                });
            }
        }
        Self(blocks)
    }

    /// The blocks of one language in one section, in order.
    pub(in super::super) fn blocks(&self, section: &str, language: &str) -> Vec<String> {
        let blocks = self.0.iter();
        blocks
            .filter(|block| block.section == section && block.language == language)
            .map(|block| block.text.clone())
            .collect()
    }

    /// The sections that hold a block of this language.
    pub(in super::super) fn sections_with(&self, language: &str) -> Vec<&str> {
        let blocks = self.0.iter().filter(|block| block.language == language);
        let mut sections: Vec<_> = blocks.map(|block| block.section.as_str()).collect();
        sections.dedup();
        sections
    }
}

fn blocks_belong_to_the_section_above_them() {
    let page =
        Page::parse("## a\n```sh\none\ntwo\n```\n## b\n```toml\nx = 1\n```\n```sh\nthree\n```\n");
    assert_eq!(page.blocks("a", "sh"), ["one\ntwo\n"]);
    assert_eq!(page.blocks("b", "sh"), ["three\n"]);
    assert_eq!(page.sections_with("sh"), ["a", "b"]);
}

tests! {
    plain blocks_belong_to_the_section_above_them;
}

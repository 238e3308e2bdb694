//! Foreign text on one line.

/// Replaces each control character by a space, so that the text stays on one line and has no effect
/// on a terminal.
#[must_use]
pub fn one_line(text: &str) -> String {
    text.replace(|c: char| c.is_control(), " ")
}

/// At most `max` bytes of a text of foreign making. A text that is cut ends with an ellipsis.
#[must_use]
pub fn bounded(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    const ELLIPSIS: &str = "…";
    let mut end = max.saturating_sub(ELLIPSIS.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{ELLIPSIS}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounded_text_is_cut_between_characters() {
        assert_eq!(bounded("short", 5), "short");
        assert_eq!(bounded("longer", 5), "lo…");
        assert_eq!(bounded("äöü", 5), "ä…");
        assert!(bounded(&"ä".repeat(1000), 100).len() <= 100);
    }
}

//! Foreign text on one line.

/// Replaces each control character by a space, so that the text stays on one line and has no effect
/// on a terminal.
#[must_use]
pub fn one_line(text: &str) -> String {
    text.replace(|c: char| c.is_control(), " ")
}

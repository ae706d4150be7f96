//! Texts in the columns that there are for them. All of them must be escaped already, but for [`summary`]'s.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::escape;
use crate::style::Style;

/// Cuts a text to a width.
pub(crate) fn fit(text: &str, columns: usize, style: Style) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let more = style.signs().more;
    let (head, _) = split(text, columns.saturating_sub(more.width()));
    format!("{head}{more}")
}

/// One line of a width that tells what a text is about: white space runs together. Escapes the text.
pub(crate) fn summary(text: &str, columns: usize, style: Style) -> String {
    let mut words = String::new();
    for word in text.split_whitespace() {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
        // More would be cut: no character of four bytes is narrower than one column, once it is escaped.
        if words.len() > columns * 4 {
            break;
        }
    }
    fit(&escape::line(&words), columns, style)
}

/// Cuts a line into pieces of a width; there is at least one.
pub(crate) fn wrap(line: &str, columns: usize) -> Vec<&str> {
    let (head, mut rest) = split(line, columns);
    let mut pieces = vec![head];
    while !rest.is_empty() {
        let (head, tail) = split(rest, columns);
        pieces.push(head);
        rest = tail;
    }
    pieces
}

/// The beginning of a text that fits, and the rest. The beginning of a text that is not empty never is, if there are
/// columns at all.
fn split(text: &str, columns: usize) -> (&str, &str) {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += c.width().unwrap_or(0);
        if used > columns && (at > 0 || columns == 0) {
            return text.split_at(at);
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNICODE: Style = Style { colour: false, unicode: true };

    #[test]
    fn a_summary_is_one_short_line() {
        assert_eq!(summary("  npm \n\n test ", 20, UNICODE), "npm test");
        assert_eq!(summary("0123456789", 5, UNICODE), "0123…");
        assert_eq!(summary("0123456789", 5, Style::PLAIN), "01...");
        assert_eq!(summary("修复修复", 5, UNICODE), "修复…");
        assert_eq!(summary("a\u{1b}b", 20, UNICODE), "a\\eb");
        assert_eq!(summary("ab", 0, UNICODE), "…");
    }

    #[test]
    fn a_line_wraps_at_the_width_and_loses_nothing() {
        assert_eq!(wrap("", 4), [""]);
        assert_eq!(wrap("abcd", 4), ["abcd"]);
        assert_eq!(wrap("abcdefghi", 4), ["abcd", "efgh", "i"]);
        assert_eq!(wrap("a修复b", 2), ["a", "修", "复", "b"]);
        // What is wider than the width takes a piece of its own.
        assert_eq!(wrap("修a", 1), ["修", "a"]);
    }
}

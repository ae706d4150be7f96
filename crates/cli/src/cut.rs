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
    // More would be cut: few characters are narrower than one column, once they are escaped, and all that have no width
    // of their own are at most as many as the others by a small factor.
    let most = columns.saturating_mul(4 * (1 + escape::MARKS)).saturating_add(1);
    for word in text.split_whitespace() {
        if !words.is_empty() {
            words.push(' ');
        }
        let room = most.saturating_sub(words.len());
        words.push_str(&word[..word.floor_char_boundary(room)]);
        if word.len() >= room {
            break;
        }
    }
    fit(&escape::line(&words), columns, style)
}

/// Cuts a line into pieces of a width; there is at least one.
pub(crate) fn wrap(line: &str, columns: usize) -> Pieces<'_> {
    Pieces { rest: Some(line), columns }
}

/// The pieces of a line, one after the other: a line may be megabytes long.
#[derive(Debug)]
pub(crate) struct Pieces<'a> {
    rest: Option<&'a str>,
    columns: usize,
}

impl<'a> Pieces<'a> {
    /// The whole line.
    pub(crate) fn one(line: &'a str) -> Self {
        wrap(line, usize::MAX)
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let (head, rest) = split(self.rest?, self.columns);
        self.rest = Some(rest).filter(|rest| !rest.is_empty());
        Some(head)
    }
}

/// The beginning of a text that fits, and the rest. The beginning of a text that is not empty never is, if there are
/// columns at all.
fn split(text: &str, columns: usize) -> (&str, &str) {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += columns_of(c);
        if used > columns && (at > 0 || columns == 0) {
            return text.split_at(at);
        }
    }
    (text, "")
}

/// Columns of a character. The one that makes an emoji of the symbol before it may make that twice as wide; not all
/// terminals do so.
fn columns_of(c: char) -> usize {
    if c == '\u{fe0f}' { 1 } else { c.width().unwrap_or(0) }
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
    fn a_summary_of_something_long_looks_at_its_beginning_alone() {
        let long = "x".repeat(10_000_000);
        assert_eq!(summary(&long, 5, UNICODE), "xxxx…");
        assert_eq!(summary(&format!("a {long}"), 5, UNICODE), "a xx…");
        let marked = format!("{}bcdef", format!("a{}", "\u{301}".repeat(4)).repeat(3));
        assert!(summary(&marked, 5, UNICODE).ends_with("b…"), "{}", summary(&marked, 5, UNICODE));
    }

    #[test]
    fn a_line_wraps_at_the_width_and_loses_nothing() {
        let wrap = |line, columns| super::wrap(line, columns).collect::<Vec<_>>();
        assert_eq!(wrap("", 4), [""]);
        assert_eq!(wrap("abcd", 4), ["abcd"]);
        assert_eq!(wrap("abcdefghi", 4), ["abcd", "efgh", "i"]);
        assert_eq!(wrap("a修复b", 2), ["a", "修", "复", "b"]);
        // What is wider than the width takes a piece of its own.
        assert_eq!(wrap("修a", 1), ["修", "a"]);
        // A symbol that is to look like an emoji may take two columns.
        assert_eq!(wrap("⚠\u{fe0f}⚠\u{fe0f}", 2), ["⚠\u{fe0f}", "⚠\u{fe0f}"]);
    }
}

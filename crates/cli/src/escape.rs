//! What comes from an agent never reaches the terminal as it is: control, bidirectional and zero-width characters are
//! written out, so that nothing can move the cursor, hide, or read in another order than it stands. So are marks that
//! would pile up on one character, or stand on something that is not the agent's.

use std::borrow::Cow;
use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar as _;

/// Characters without a width of their own that one character may bear: accents, points and vowels of those languages
/// that have most of them. A terminal draws more over the lines around.
pub(crate) const MARKS: usize = 4;

/// Escapes text of several lines: line ends and tabs stay; a carriage return before a line end goes.
pub(crate) fn block(text: &str) -> Cow<'_, str> {
    escape(text, |c| matches!(c, '\n' | '\t'), true)
}

/// Escapes text for one line: line ends and tabs are written out too.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    escape(text, |_| false, false)
}

/// Writes the characters of JSON text that a terminal might obey as `\u` escapes, which mean the same. White space
/// between tokens, the only place where JSON may hold a control character, becomes spaces, but for line ends.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| is_unsafe(c) && c != '\n' || is_mark(c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut pile = Pile::new(false);
    for c in text.chars() {
        let piled = pile.is_too_high(c);
        match c {
            '\t' | '\r' => out.push(' '),
            c if piled || is_unsafe(c) && c != '\n' => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// The same on one line.
pub(crate) fn json_line(text: &str) -> String {
    json(text).replace('\n', " ")
}

fn escape(text: &str, keep: fn(char) -> bool, is_block: bool) -> Cow<'_, str> {
    if !text.chars().any(|c| is_unsafe(c) && !keep(c) || is_mark(c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    let mut chars = text.chars().peekable();
    let mut before = ' ';
    // A text of several lines may come in pieces.
    let mut pile = Pile::new(is_block);
    while let Some(c) = chars.next() {
        if is_block && c == '\r' && chars.peek() == Some(&'\n') {
            continue;
        }
        let before = std::mem::replace(&mut before, c);
        let piled = pile.is_too_high(c);
        if !piled && (!is_unsafe(c) || keep(c)) || chooses_look(before, c) {
            out.push(c);
            continue;
        }
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{1b}' => out.push_str("\\e"),
            // Writing to a String cannot fail.
            _ => drop(write!(out, "\\u{{{:x}}}", u32::from(c))),
        }
    }
    Cow::Owned(out)
}

/// The marks that the last character bears.
struct Pile {
    marks: usize,
    /// Whether there is a character that may bear any.
    bears: bool,
}

impl Pile {
    /// Before a text; whether there is a character that its first mark may stand on.
    fn new(bears: bool) -> Self {
        Self { marks: 0, bears }
    }

    /// Takes in a character; tells whether it is a mark that is one too many, or has nothing to stand on.
    fn is_too_high(&mut self, c: char) -> bool {
        if is_mark(c) {
            self.marks += 1;
            return !self.bears || self.marks > MARKS;
        }
        // What is written out bears nothing: a mark would stand on the writing.
        *self = Self::new(!c.is_whitespace() && !is_unsafe(c));
        false
    }
}

/// Whether a terminal draws a character onto the one before it.
fn is_mark(c: char) -> bool {
    !c.is_ascii() && !is_unsafe(c) && c.width() == Some(0)
}

/// Whether a character only says how the symbol before it looks: as text or as an emoji. Anywhere else it hides.
fn chooses_look(before: char, c: char) -> bool {
    matches!(c, '\u{fe0e}' | '\u{fe0f}')
        && !before.is_ascii()
        && !before.is_alphabetic()
        && !is_unsafe(before)
}

/// Whether a terminal might obey the character, or show nothing for it: controls, and all that Unicode calls default
/// ignorable, with separators of lines and annotations.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Soft hyphen, grapheme joiner, Arabic letter mark, Hangul and Khmer fillers, Mongolian selectors.
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{3164}' | '\u{ffa0}'
            // Zero width, direction marks, separators, embeddings and overrides.
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            // Joiners, invisible operators, isolates.
            | '\u{2060}'..='\u{206f}'
            // Variation selectors, byte order mark, interlinear annotation.
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}'
            // Controls of shorthand and of musical notation; tags and the further variation selectors.
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// What a terminal must never get from an agent: what moves, hides, turns round and piles up; and what is shown for it.
#[cfg(test)]
pub(crate) const HOSTILE: [(&str, &str); 9] = [
    ("\u{202e}", "\\u{202e}"),
    ("\u{2066}", "\\u{2066}"),
    ("\u{1b}[2J", "\\e[2J"),
    ("\r", "\\r"),
    ("\u{8}", "\\u{8}"),
    ("\u{200b}", "\\u{200b}"),
    ("\u{e0041}", "\\u{e0041}"),
    ("\u{9b}1A", "\\u{9b}1A"),
    // One mark too many.
    ("e\u{301}\u{301}\u{301}\u{301}\u{301}", "e\u{301}\u{301}\u{301}\u{301}\\u{301}"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        let cases = [
            ("plain ⚠️ text", "plain ⚠️ text"),
            ("\u{1b}[2Jgone", "\\e[2Jgone"),
            ("a\rb", "a\\rb"),
            ("rm x\u{202e}txt.", "rm x\\u{202e}txt."),
            ("zero\u{200b}width\u{feff}", "zero\\u{200b}width\\u{feff}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\tb\nc", "a\\tb\\nc"),
        ];
        for (text, expected) in cases {
            assert_eq!(line(text), expected);
        }
        assert_eq!(block("a\tb\r\nc\rd"), "a\tb\nc\\rd");
    }

    #[test]
    fn marks_do_not_pile_up_and_stand_on_nothing_else() {
        let letter = format!("e{}", "\u{301}".repeat(MARKS));
        assert_eq!(line(&letter), letter);
        let flood = format!("{letter}{}b", "\u{301}".repeat(2));
        assert_eq!(line(&flood), format!("{letter}\\u{{301}}\\u{{301}}b"));
        // It would stand on the frame of a box, or on a sign: a minus with a stroke through it looks like a plus.
        assert_eq!(line("\u{20d2}a"), "\\u{20d2}a");
        assert_eq!(line("a \u{301}"), "a \\u{301}");
        assert_eq!(line("\u{202e}\u{301}"), "\\u{202e}\\u{301}");
        assert_eq!(block("a\n\u{301}"), "a\n\\u{301}");
        assert_eq!(block("\u{301}ta"), "\u{301}ta", "the letter may have come before");
        // What people write stays as it is.
        for text in ["e\u{301}te\u{301}", "ที่นี่", "שָׁלוֹם", "नमस्ते", "Việt"]
        {
            assert_eq!(line(text), text);
        }
        let text = serde_json::Value::from(flood).to_string();
        let escaped = json(&text);
        assert_eq!(escaped, format!("\"{letter}\\u0301\\u0301b\""));
    }

    #[test]
    fn every_control_and_format_character_is_escaped() {
        for c in ('\0'..='\u{ff}').chain('\u{2000}'..='\u{20ff}').filter(|c| c.is_control()) {
            assert!(line(&c.to_string()).starts_with('\\'), "{:x}", u32::from(c));
        }
    }

    #[test]
    fn json_means_the_same_after_it() -> serde_json::Result<()> {
        let value = serde_json::json!({"a": "x\u{202e}y\u{e0041}\u{9b}"});
        let text = serde_json::to_string(&value)?;
        let escaped = json(&text);
        assert!(escaped.is_ascii());
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped)?, value);
        Ok(())
    }

    #[test]
    fn json_with_white_space_between_its_tokens_stays_json_on_its_lines() -> serde_json::Result<()> {
        let text = "{\t\"a\":\r\n[1,\r2]\n}";
        let shown = json(text);
        assert!(!shown.contains('\r'), "{shown:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown)?, serde_json::json!({"a": [1, 2]}));
        Ok(())
    }

    #[test]
    fn what_takes_no_room_is_written_out() {
        for c in
            ['\u{34f}', '\u{180b}', '\u{180f}', '\u{fe00}', '\u{fff0}', '\u{1bca0}', '\u{1d173}', '\u{e0fff}']
        {
            assert_eq!(line(&format!("a{c}b")), format!("a\\u{{{:x}}}b", u32::from(c)));
        }
        // How an emoji looks is no secret; a selector behind a letter would be.
        assert_eq!(
            line("⚠\u{fe0f} ⚠\u{fe0f}\u{fe0f} ls\u{fe0f}"),
            "⚠\u{fe0f} ⚠\u{fe0f}\\u{fe0f} ls\\u{fe0f}"
        );
    }
}

//! What comes from an agent never reaches the terminal as it is: control, bidirectional and zero-width characters are
//! written out, so that nothing can move the cursor, hide, or read in another order than it stands.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Escapes text of several lines: line ends and tabs stay; a carriage return before a line end goes.
pub(crate) fn block(text: &str) -> Cow<'_, str> {
    escape(text, |c| matches!(c, '\n' | '\t'), true)
}

/// Escapes text for one line: line ends and tabs are written out too.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    escape(text, |_| false, false)
}

/// One line of at most `chars` characters that tells what a text is about: white space runs together.
pub(crate) fn summary(text: &str, chars: usize) -> String {
    let mut words = String::new();
    for word in text.split_whitespace() {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
        if words.len() > chars * 4 {
            break;
        }
    }
    let escaped = line(&words);
    if escaped.chars().count() <= chars {
        return escaped.into_owned();
    }
    escaped.chars().take(chars.saturating_sub(1)).chain(['…']).collect()
}

/// Writes the characters of JSON text that a terminal might obey as `\u` escapes, which mean the same.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| is_unsafe(c) && c != '\n') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) && c != '\n' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

fn escape(text: &str, keep: fn(char) -> bool, drop_returns: bool) -> Cow<'_, str> {
    if !text.chars().any(|c| is_unsafe(c) && !keep(c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if drop_returns && c == '\r' && chars.peek() == Some(&'\n') {
            continue;
        }
        if !is_unsafe(c) || keep(c) {
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

/// Whether a terminal might obey the character, or show nothing for it.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Soft hyphen; Arabic letter mark; Mongolian vowel separator; Hangul and Khmer fillers.
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{3164}' | '\u{ffa0}'
            // Zero width, direction marks, separators, embeddings and overrides.
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            // Joiners, invisible operators, isolates.
            | '\u{2060}'..='\u{206f}'
            // Byte order mark, interlinear annotation, tags, the further variation selectors.
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e01ef}')
}

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
    fn a_summary_is_one_short_line() {
        assert_eq!(summary("  npm \n\n test ", 20), "npm test");
        assert_eq!(summary("0123456789", 5), "0123…");
        assert_eq!(summary("a\u{1b}b", 20), "a\\eb");
    }
}

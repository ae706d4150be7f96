//! Expansions of parameters: `${x:-word}` and its like.

use super::Opaque;
use super::builtin::steers;
use super::reader::Reader;
use super::word::Spelling;

impl Reader<'_> {
    /// Reads what follows `${`, up to the brace.
    pub(super) fn parameter(&mut self, quoted: bool) -> Result<(), Opaque> {
        if self.eat("#}") {
            return Ok(());
        }
        let length = self.eat("#");
        if self.eat("!") {
            // The value is the name of what is looked up, subscript included.
            self.line.note(Opaque::Evaluation);
        }
        let rest = self.rest();
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let special = usize::from(rest.starts_with(['@', '*', '#', '?', '-', '$', '!']));
        let name = name_length(rest).max(digits).max(special);
        self.at += name;
        if name == 0 || !self.subscript() {
            return Err(Opaque::Unreadable);
        }
        if self.eat("}") {
            return Ok(());
        }
        if length {
            return Err(Opaque::Unreadable);
        }
        let assigns = self.looking_at("=") || self.looking_at(":=");
        if assigns && steers(rest.get(..name).unwrap_or_default()) {
            self.line.note(Opaque::Variable);
        }
        let tests = [":-", ":=", ":?", ":+", "-", "=", "?", "+", "#", "%", "/", "^", ","];
        if !tests.into_iter().any(|operator| self.eat(operator)) {
            // A prompt is expanded; an offset that is no number is evaluated.
            let offset = self.eat(":") && self.rest().starts_with(|c: char| c.is_ascii_digit() || c == ' ');
            let numbers = self.rest().split('}').next().unwrap_or_default();
            if !offset || !numbers.chars().all(|c| c.is_ascii_digit() || matches!(c, ' ' | '-' | ':')) {
                self.line.note(Opaque::Evaluation);
            }
        }
        self.parameter_text(quoted)
    }

    /// Passes a subscript that is a number or stands for all elements, if there is one. Any other would be evaluated.
    fn subscript(&mut self) -> bool {
        if !self.eat("[") {
            return true;
        }
        let rest = self.rest();
        let (index, _) = rest.split_once(']').unwrap_or_default();
        self.at += index.len() + 1;
        matches!(index, "@" | "*") || (!index.is_empty() && index.chars().all(|c| c.is_ascii_digit()))
    }

    /// Reads the rest of a parameter's expansion, up to its brace. What quotes mean within other quotes depends on the
    /// operator.
    fn parameter_text(&mut self, quoted: bool) -> Result<(), Opaque> {
        let mut ignored = Spelling::default();
        loop {
            match self.next() {
                Some('}') => return Ok(()),
                Some('\\') => self.escaped(&mut ignored)?,
                Some('$') => self.dollar(&mut ignored, quoted)?,
                Some('`') => self.backquoted(&mut ignored)?,
                Some('"') if !quoted => self.double_quoted(&mut ignored)?,
                Some('\'') if !quoted => self.single_quoted(&mut ignored)?,
                None | Some('"' | '\'' | '(' | '{' | '\n') => return Err(Opaque::Unreadable),
                Some(_) => {}
            }
        }
    }
}

/// How long the name of a variable is that a text begins with.
pub(super) fn name_length(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

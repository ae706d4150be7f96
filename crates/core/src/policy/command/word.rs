//! Words: quotes, escapes, expansions and the assignments of variables.

use super::builtin::{hides_commands, is_name};
use super::parameter::name_length;
use super::reader::{Reader, ends_word};
use super::{Opaque, Word};

/// A word while it is read.
#[derive(Debug, Default)]
pub(super) struct Spelling {
    /// What is known of it, without quotes.
    pub(super) text: String,
    /// It holds an expansion.
    unknown: bool,
    /// It holds quotes or escapes.
    quoted: bool,
    /// It holds an unquoted `{`.
    braces: bool,
    /// Where in the text an unquoted `[` stands.
    bracket: Option<usize>,
}

impl Spelling {
    /// Whether the text is the word.
    pub(super) fn known(&self) -> bool {
        let rest = self.bracket.and_then(|at| self.text.get(at..)).unwrap_or_default();
        let listed = self.braces && (self.text.contains(',') || self.text.contains(".."));
        !(self.unknown || listed || rest.contains(']'))
    }

    /// Whether the word was written as its text.
    pub(super) fn plain(&self) -> bool {
        self.known() && !self.quoted
    }

    pub(super) fn word(&self) -> Word {
        if self.known() { Word::Literal(self.text.clone()) } else { Word::Unknown }
    }
}

impl Reader<'_> {
    /// Reads a word, which has to be next.
    pub(super) fn word(&mut self) -> Result<Spelling, Opaque> {
        let (from, mut word) = (self.at, Spelling::default());
        // zsh takes it for the path of a command.
        word.unknown = self.looking_at("=");
        self.spell(&mut word)?;
        if self.at == from { Err(Opaque::Unreadable) } else { Ok(word) }
    }

    /// Reads the assignment of a variable if one is next; its name.
    pub(super) fn assignment(&mut self) -> Result<Option<String>, Opaque> {
        let rest = self.rest();
        let Some(end) = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_') else { return Ok(None) };
        let (name, mut after) = rest.split_at(end);
        if !is_name(name) {
            return Ok(None);
        }
        if let Some(subscript) = after.strip_prefix('[') {
            // Any other subscript is evaluated, or is part of a name that no command has.
            let digits = subscript.trim_start_matches(|c: char| c.is_ascii_digit());
            after = digits.strip_prefix(']').ok_or(Opaque::Unreadable)?;
        }
        let Some(value) = after.strip_prefix("+=").or_else(|| after.strip_prefix('=')) else {
            return Ok(None);
        };
        self.at += rest.len() - value.len();
        if self.eat("(") {
            self.nested(Self::array)?;
        } else {
            let mut value = Spelling::default();
            self.spell(&mut value)?;
            if hides_commands(&value.text) {
                self.line.note(Opaque::Evaluation);
            }
        }
        Ok(Some(name.to_owned()))
    }

    /// Reads the elements of an array, up to its parenthesis.
    fn array(&mut self) -> Result<(), Opaque> {
        loop {
            self.blanks();
            match self.peek() {
                Some(')') => return self.expect(")"),
                Some('\n') => {
                    self.newline_inside()?;
                    self.at += 1;
                }
                None | Some('#') => return Err(Opaque::Unreadable),
                Some(first) => {
                    let element = self.word()?;
                    // Its subscript is evaluated.
                    if first == '[' || hides_commands(&element.text) {
                        self.line.note(Opaque::Evaluation);
                    }
                }
            }
        }
    }

    /// Reads up to what ends a word.
    fn spell(&mut self, word: &mut Spelling) -> Result<(), Opaque> {
        let mut before = None;
        while let Some(c) = self.peek() {
            if self.eat("<(") || self.eat(">(") {
                word.unknown = true;
                self.substitution()?;
                continue;
            }
            if ends_word(c) {
                break;
            }
            self.at += c.len_utf8();
            match c {
                '\\' => self.escaped(word)?,
                '\'' => self.single_quoted(word)?,
                '"' => self.double_quoted(word)?,
                '$' => self.dollar(word, false)?,
                '`' => self.backquoted(word)?,
                '*' | '?' => word.unknown = true,
                '~' if matches!(before, None | Some('=' | ':')) => word.unknown = true,
                _ => {
                    word.braces |= c == '{';
                    if c == '[' {
                        word.bracket.get_or_insert(word.text.len());
                    }
                    word.text.push(c);
                }
            }
            before = Some(c);
        }
        Ok(())
    }

    pub(super) fn escaped(&mut self, word: &mut Spelling) -> Result<(), Opaque> {
        word.quoted = true;
        match self.next() {
            // A line that goes on within a word or an operator: versions differ in what becomes one then.
            None | Some('\n') => Err(Opaque::Unreadable),
            Some(c) => {
                word.text.push(c);
                Ok(())
            }
        }
    }

    pub(super) fn single_quoted(&mut self, word: &mut Spelling) -> Result<(), Opaque> {
        word.quoted = true;
        let (text, _) = self.rest().split_once('\'').ok_or(Opaque::Unreadable)?;
        self.at += text.len() + 1;
        if text.contains('\n') {
            self.newline_inside()?;
        }
        word.text.push_str(text);
        Ok(())
    }

    pub(super) fn double_quoted(&mut self, word: &mut Spelling) -> Result<(), Opaque> {
        word.quoted = true;
        loop {
            match self.next() {
                Some('"') => return Ok(()),
                Some('$') => self.dollar(word, true)?,
                Some('`') => self.backquoted(word)?,
                Some('\\') => match self.next() {
                    Some(c @ ('$' | '`' | '"' | '\\')) => word.text.push(c),
                    Some('\n') => self.newline_inside()?,
                    Some(c) => word.text.extend(['\\', c]),
                    None => return Err(Opaque::Unreadable),
                },
                Some('\n') => {
                    self.newline_inside()?;
                    word.text.push('\n');
                }
                Some(c) => word.text.push(c),
                None => return Err(Opaque::Unreadable),
            }
        }
    }

    /// Reads a text in `$'…'`.
    fn ansi_quoted(&mut self, word: &mut Spelling) -> Result<(), Opaque> {
        word.quoted = true;
        loop {
            match self.next() {
                Some('\'') => return Ok(()),
                Some('\\') => match self.next() {
                    Some(c @ ('\\' | '\'' | '"' | '?')) => word.text.push(c),
                    Some('n') => word.text.push('\n'),
                    Some('t') => word.text.push('\t'),
                    Some(_) => word.unknown = true,
                    None => return Err(Opaque::Unreadable),
                },
                Some('\n') => {
                    self.newline_inside()?;
                    word.text.push('\n');
                }
                Some(c) => word.text.push(c),
                None => return Err(Opaque::Unreadable),
            }
        }
    }

    /// Reads what follows a `$`.
    pub(super) fn dollar(&mut self, word: &mut Spelling, quoted: bool) -> Result<(), Opaque> {
        match self.peek() {
            Some('\'') if !quoted => {
                self.at += 1;
                return self.ansi_quoted(word);
            }
            Some('"') if !quoted => {
                self.at += 1;
                self.double_quoted(word)?;
            }
            Some('(') if self.eat("((") => self.nested(|reader| reader.arithmetic(false))?,
            Some('(') => {
                self.at += 1;
                self.substitution()?;
            }
            Some('{') => {
                self.at += 1;
                self.nested(|reader| reader.parameter(quoted))?;
            }
            // Arithmetic as it was written long ago.
            Some('[') => return Err(Opaque::Unreadable),
            Some('\\') if self.looking_at("\\\n") => return Err(Opaque::Unreadable),
            Some('a'..='z' | 'A'..='Z' | '_') => self.at += name_length(self.rest()),
            Some('0'..='9' | '@' | '*' | '#' | '?' | '-' | '$' | '!') => self.at += 1,
            Some(_) | None => {
                word.text.push('$');
                return Ok(());
            }
        }
        word.unknown = true;
        Ok(())
    }

    /// Reads the commands of a substitution up to its parenthesis.
    pub(super) fn substitution(&mut self) -> Result<(), Opaque> {
        let (from, outer) = (self.at, std::mem::take(&mut self.pending));
        let substituted = std::mem::replace(&mut self.substituted, true);
        let read = self.nested(Self::subshell);
        self.substituted = substituted;
        let inner = std::mem::replace(&mut self.pending, outer);
        read?;
        if !inner.is_empty() {
            return Err(Opaque::Unreadable);
        }
        if self.text.get(from..self.at).is_some_and(|text| text.contains('\n')) {
            self.newline_inside()?;
        }
        Ok(())
    }

    /// Reads the commands of a substitution up to its second backquote. In its text a backslash is read twice, and
    /// versions differ in whether a comment hides the end; such a one is not read.
    pub(super) fn backquoted(&mut self, word: &mut Spelling) -> Result<(), Opaque> {
        word.unknown = true;
        let (text, _) = self.rest().split_once('`').ok_or(Opaque::Unreadable)?;
        if text.contains(['\\', '#']) {
            return Err(Opaque::Unreadable);
        }
        if text.contains('\n') {
            self.newline_inside()?;
        }
        self.at += text.len() + 1;
        let substituted = std::mem::replace(&mut self.substituted, true);
        let read = self.nested(|reader| reader.within(text, reader.wrapped).script());
        self.substituted = substituted;
        read
    }
}

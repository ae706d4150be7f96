//! Redirections and here-documents.

use super::reader::{HereDocument, Reader};
use super::word::Spelling;
use super::{Opaque, Word};

/// Files that are none: what is written there is lost or shown.
const DEVICES: [&str; 3] = ["/dev/null", "/dev/stdout", "/dev/stderr"];

impl Reader<'_> {
    /// Reads all redirections that follow a compound command.
    pub(super) fn redirections(&mut self) -> Result<(), Opaque> {
        loop {
            self.blanks();
            let from = self.at;
            if self.redirection(None)? {
                continue;
            }
            if !self.peek().is_some_and(|c| c.is_ascii_digit()) {
                return Ok(());
            }
            let word = self.word()?;
            if !self.redirection(Some(&word))? {
                // A word: no command may follow here, and bash says so.
                self.at = from;
                return Err(Opaque::Unreadable);
            }
        }
    }

    /// Reads a redirection if one is next. The word directly before it may be the number of its descriptor, which it
    /// belongs to then; tells whether there was a redirection, and a word with it.
    pub(super) fn redirection(&mut self, before: Option<&Spelling>) -> Result<bool, Opaque> {
        if before.is_some() && !matches!(self.peek(), Some('<' | '>')) {
            return Ok(false);
        }
        if let Some(word) = before {
            // The shell keeps the number of a descriptor in a variable.
            if word.text.starts_with('{') && word.text.ends_with('}') {
                return Err(Opaque::Unreadable);
            }
            if !word.plain() || !word.text.chars().all(|c| c.is_ascii_digit()) {
                return Ok(false);
            }
            // A number that is none is a word again.
            if word.text.len() > 4 {
                return Err(Opaque::Unreadable);
            }
        }
        // A substitution of a process, which is a word.
        if self.looking_at("<(") || self.looking_at(">(") {
            return Ok(false);
        }
        let operators = ["&>>", "&>", "<<<", "<<-", "<<", "<>", "<&", "<", ">>", ">|", ">&", ">"];
        let Some(operator) = operators.into_iter().find(|operator| self.eat(operator)) else {
            return Ok(false);
        };
        self.blanks();
        if let "<<" | "<<-" = operator {
            return self.here_document(operator == "<<-").map(|()| true);
        }
        // A word may follow directly, which is no part of the redirection: `>&-rm`.
        if matches!(operator, "<&" | ">&") && self.eat("-") {
            return Ok(true);
        }
        let target = self.word()?;
        let copied = target.text.strip_suffix('-').unwrap_or(&target.text);
        if matches!(operator, "<&" | ">&") && target.known() && copied.chars().all(|c| c.is_ascii_digit()) {
            return Ok(true);
        }
        if operator == "<<<" {
            self.line.fed = true;
            return Ok(true);
        }
        // Quotes are removed once more here.
        let target = if operator.ends_with('&') && !target.plain() { Word::Unknown } else { target.word() };
        if target.literal().is_none_or(|path| !DEVICES.contains(&path)) {
            match operator {
                "<" | "<&" => self.line.reads.push(target),
                "<>" => {
                    self.line.reads.push(target.clone());
                    self.line.writes.push(target);
                }
                _ => self.line.writes.push(target),
            }
        }
        Ok(true)
    }

    fn here_document(&mut self, tabs: bool) -> Result<(), Opaque> {
        self.line.fed = true;
        let delimiter = self.word()?;
        match delimiter.word() {
            Word::Literal(text) if !text.is_empty() && !text.contains('\n') && !text.contains('$') => {
                let quoted = !delimiter.plain();
                self.pending.push(HereDocument { delimiter: text, quoted, tabs });
                Ok(())
            }
            // It ends with the text of the word as it is written, which is not kept.
            Word::Literal(_) | Word::Unknown => Err(Opaque::Unreadable),
        }
    }

    /// Reads the bodies of the here-documents that the line before has begun.
    pub(super) fn bodies(&mut self) -> Result<(), Opaque> {
        let documents = std::mem::take(&mut self.pending);
        let read = !documents.is_empty();
        for document in documents {
            let from = self.at;
            let to = loop {
                let start = self.at;
                let rest = self.rest();
                let (line, next) = match rest.split_once('\n') {
                    Some((line, _)) => (line, line.len() + 1),
                    None if rest.is_empty() => return Err(Opaque::Unreadable),
                    None => (rest, rest.len()),
                };
                self.at += next;
                let line = if document.tabs { line.trim_start_matches('\t') } else { line };
                if line == document.delimiter {
                    break start;
                }
                // Some versions take this for the end within a substitution. A line that goes on may become the end.
                if line.starts_with(&document.delimiter) || (line.ends_with('\\') && !document.quoted) {
                    return Err(Opaque::Unreadable);
                }
            };
            if !document.quoted {
                let body = self.text.get(from..to).unwrap_or_default();
                self.nested(|reader| reader.within(body, reader.wrapped).body_text())?;
            }
        }
        // bash 5.2 prints a substitution and reads it again, and loses a `;` that follows a body.
        if read && self.substituted && !self.rest().trim_start().starts_with(')') {
            return Err(Opaque::Unreadable);
        }
        Ok(())
    }

    /// Reads the body of a here-document for what it expands.
    fn body_text(&mut self) -> Result<(), Opaque> {
        let mut ignored = Spelling::default();
        while let Some(c) = self.next() {
            match c {
                '\\' => {
                    self.next();
                }
                '$' => self.dollar(&mut ignored, true)?,
                '`' => self.backquoted(&mut ignored)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Refuses the end of a line within a word while here-documents wait for theirs: versions differ in where the
    /// bodies begin then.
    pub(super) fn newline_inside(&self) -> Result<(), Opaque> {
        if self.pending.is_empty() { Ok(()) } else { Err(Opaque::Unreadable) }
    }
}

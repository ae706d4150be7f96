//! Patterns of commands: what a rule is about.
//!
//! A pattern is words between blanks. In each, `*` stands for any text and `?` for one character; quotes and backslashes
//! take that meaning away, as in a shell. A last word that is just `*` stands for any further words, none included:
//! `git *` is about `git`, `git status` and `git push --force`.

use thiserror::Error;

use super::glob::{Piece, fits};
use crate::policy::command::{SimpleCommand, Word};

/// A pattern of commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandPattern {
    words: Vec<Vec<Piece>>,
    /// Any further words may follow.
    open: bool,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PatternError {
    /// It holds no word.
    #[error("a pattern has at least one word")]
    Empty,
    /// A quote has no end.
    #[error("the quote that begins at byte {at} has no end")]
    Unclosed {
        /// Where it begins.
        at: usize,
    },
    /// A backslash escapes nothing.
    #[error("nothing follows the backslash at the end")]
    Backslash,
}

impl CommandPattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let mut words = Vec::new();
        let mut word: Option<Vec<Piece>> = None;
        let mut quote: Option<(char, usize)> = None;
        let mut characters = text.char_indices();
        while let Some((at, c)) = characters.next() {
            let piece = match (c, quote) {
                (_, Some((end, _))) if c == end => {
                    quote = None;
                    continue;
                }
                (_, Some(('\'', _))) => Piece::One(c),
                ('\\', _) => Piece::One(characters.next().ok_or(PatternError::Backslash)?.1),
                ('\'' | '"', None) => {
                    quote = Some((c, at));
                    // Nothing between two quotes is a word as well.
                    word.get_or_insert_default();
                    continue;
                }
                (' ' | '\t' | '\n', None) => {
                    words.extend(word.take());
                    continue;
                }
                ('*', None) => Piece::Text,
                ('?', None) => Piece::Any,
                (_, Some(_) | None) => Piece::One(c),
            };
            word.get_or_insert_default().push(piece);
        }
        if let Some((_, at)) = quote {
            return Err(PatternError::Unclosed { at });
        }
        words.extend(word);
        let open = words.pop_if(|word| *word == [Piece::Text]).is_some();
        if words.is_empty() && !open { Err(PatternError::Empty) } else { Ok(Self { words, open }) }
    }

    /// The pattern that means exactly this command, as a text; none where one of its words is not known.
    pub fn exactly(command: &SimpleCommand) -> Option<String> {
        let words = command.words.iter().map(|word| word.literal().map(quoted));
        Some(words.collect::<Option<Vec<_>>>()?.join(" "))
    }

    /// Whether the pattern is certain to be about a command: for rules that allow. What is unknown may become any number
    /// of words, so only the last `*` stands for it.
    pub fn matches_permissively(&self, command: &SimpleCommand) -> bool {
        let Some((words, further)) = command.words.split_at_checked(self.words.len()) else { return false };
        let name = command.words.first().and_then(Word::literal);
        let same =
            |(pattern, word): (&Vec<Piece>, &Word)| word.literal().is_some_and(|text| fits(pattern, text));
        name.is_some() && (self.open || further.is_empty()) && self.words.iter().zip(words).all(same)
    }

    /// Whether the pattern may be about a command: for rules that deny or ask. What is unknown may be anything, and a
    /// command is also called by the last part of its path.
    pub fn matches_strictly(&self, command: &SimpleCommand) -> bool {
        // Which numbers of the pattern's words may be used up by the words of the command so far.
        let mut reached = vec![false; self.words.len() + 1];
        if let Some(first) = reached.first_mut() {
            *first = true;
        }
        for (place, word) in command.words.iter().enumerate() {
            reached = match word.literal() {
                // It may become any number of words.
                None => reached
                    .iter()
                    .scan(false, |any, one| {
                        *any |= one;
                        Some(*any)
                    })
                    .collect(),
                Some(text) => {
                    let last = text.rsplit('/').next().unwrap_or(text);
                    let about =
                        |pattern: &Vec<Piece>| fits(pattern, text) || (place == 0 && fits(pattern, last));
                    let further = self.open && reached.last() == Some(&true);
                    let mut next: Vec<bool> = vec![false];
                    next.extend(reached.iter().zip(&self.words).map(|(one, pattern)| *one && about(pattern)));
                    if let Some(end) = next.last_mut() {
                        *end |= further;
                    }
                    next
                }
            };
        }
        reached.last() == Some(&true)
    }
}

/// A word as a pattern that matches nothing else.
fn quoted(text: &str) -> String {
    let special = |c: char| c.is_whitespace() || matches!(c, '*' | '?' | '\'' | '"' | '\\');
    if text.is_empty() || text.contains(special) {
        format!("'{}'", text.replace('\'', r"'\''"))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests;

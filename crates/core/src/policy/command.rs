//! A command line, read as bash would read it, so that rules of permission can be asked about each of its commands.
//!
//! It answers one question: what would run, and which files would be opened? It expands nothing and knows nothing of
//! the machine. It understands a strict part of the language; whatever it does not understand for certain, and whatever
//! would run what cannot be seen in the text, makes the line opaque. A rule that allows must never be asked about an
//! opaque line; one that denies may be, because the commands that could be read are listed nevertheless.
//!
//! The reader is our own, because a line is untrusted: it reads forwards only, recursion is counted and work is charged.
//! Grammars made to run scripts (brush-parser 0.4 was tried) panic on a descriptor of eleven digits, take seconds for
//! thirty bytes of nested subscripts, and differ from bash where it matters: `\$'\'; rm x; #'` was one word to it.

mod builtin;
mod compound;
mod parameter;
mod reader;
mod redirection;
mod word;
mod wrapper;

use thiserror::Error;

use crate::limits::COMMAND_LINE_BYTES;
use reader::{Budget, Reader};

/// What a command line would do, as far as its text tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// Every command, in order of appearance: those of pipelines, lists, compound commands, substitutions and scripts,
    /// and those that [wrappers](SimpleCommand::wrapped) run.
    pub commands: Vec<SimpleCommand>,
    /// The files that redirections write. `/dev/null`, `/dev/stdout`, `/dev/stderr` and copies of descriptors are none.
    pub writes: Vec<Word>,
    /// The files that redirections read, without the same ones.
    pub reads: Vec<Word>,
    /// Whether a here-document or a here-string is fed to a command: its text may be a script.
    pub fed: bool,
    /// Why the line cannot be told for certain; the first reason.
    pub opaque: Option<Opaque>,
}

/// A command with its arguments, without its redirections and assignments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimpleCommand {
    /// The name and the arguments; never empty.
    pub words: Vec<Word>,
    /// Whether another command that is listed runs it (`sudo`, `xargs`, `sh -c`). Where the options of that one are not
    /// known, each reading of them is listed.
    pub wrapped: bool,
}

/// A word, after quotes are removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// It is this text.
    Literal(String),
    /// What it is depends on an expansion: it may become anything, and any number of words.
    Unknown,
}

/// Why a command line cannot be told for certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Opaque {
    /// It is over [`COMMAND_LINE_BYTES`], or too much work to read.
    #[error("it is too long to be read")]
    TooLong,
    /// It is nested deeper than [`COMMAND_LINE_DEPTH`](crate::limits::COMMAND_LINE_DEPTH).
    #[error("it is nested too deep to be read")]
    TooDeep,
    /// It holds characters that do not show, or that change the order in which the others show.
    #[error("it holds control characters")]
    Control,
    /// It is no command line of bash, or one of a kind that is not read.
    #[error("it holds syntax that cannot be read for certain")]
    Unreadable,
    /// The name of a command is the result of an expansion.
    #[error("the name of a command is known only when it runs")]
    UnknownName,
    /// A variable is set for a command, or one that decides what runs.
    #[error("it sets a variable that may change what runs")]
    Variable,
    /// It defines a function, so that a name no longer means the command of that name.
    #[error("it defines a function")]
    Function,
    /// The value of a variable is evaluated, and a value can hold commands.
    #[error("it evaluates a value that may hold commands")]
    Evaluation,
    /// What another command is to run is the result of an expansion.
    #[error("what one of its commands runs is known only when it runs")]
    UnknownScript,
    /// It changes how the shell reads or finds commands.
    #[error("it changes how the shell finds or reads commands")]
    Shell,
}

impl CommandLine {
    /// Reads a command line. Never fails: what cannot be read is [opaque](Self::opaque).
    pub fn read(text: &str) -> Self {
        let mut line = Self::default();
        if text.len() > COMMAND_LINE_BYTES {
            line.opaque = Some(Opaque::TooLong);
            return line;
        }
        let control = text.chars().any(hides);
        let mut budget = Budget::default();
        let read = Reader::new(text, &mut line, &mut budget).script();
        if control {
            line.opaque = Some(Opaque::Control);
        } else if let Err(reason) = read {
            line.note(reason);
        }
        line
    }

    /// Keeps the first reason.
    fn note(&mut self, reason: Opaque) {
        self.opaque.get_or_insert(reason);
    }
}

impl Word {
    /// The text, if it is known.
    pub fn literal(&self) -> Option<&str> {
        match self {
            Self::Literal(text) => Some(text),
            Self::Unknown => None,
        }
    }
}

/// Whether a character does not show as what it is: bash takes a carriage return for a part of a word, and the marks of
/// writing from right to left let a line look like another one.
fn hides(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests;

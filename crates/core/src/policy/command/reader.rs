//! The cursor over a text, and lists of commands: what stands between separators.

use super::{CommandLine, Opaque, SimpleCommand, Word};
use crate::limits::{COMMAND_LINE_DEPTH, COMMAND_LINE_WORK_BYTES};

/// What reading a line has cost.
#[derive(Debug, Default)]
pub(super) struct Budget {
    spent: usize,
    depth: usize,
}

/// Reads one text: a line, or a script or body within one.
pub(super) struct Reader<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
    pub(super) line: &'a mut CommandLine,
    pub(super) budget: &'a mut Budget,
    /// Whether a command that is listed runs this text.
    pub(super) wrapped: bool,
    /// Whether it is within a substitution.
    pub(super) substituted: bool,
    /// Here-documents whose bodies begin with the next line.
    pub(super) pending: Vec<HereDocument>,
}

/// A here-document whose body has not been read.
pub(super) struct HereDocument {
    pub(super) delimiter: String,
    /// Nothing in the body is expanded.
    pub(super) quoted: bool,
    /// Tabs at the beginning of its lines do not count.
    pub(super) tabs: bool,
}

/// Where a list of commands ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// At the end of the text.
    Text,
    /// At a `)`, which is not consumed.
    Parenthesis,
    /// At `;;`, `;&` or `;;&`, which is not consumed.
    CaseItem,
    /// At one of the words that were waited for, which is consumed.
    Keyword(&'static str),
}

/// Words with a meaning of their own where a command begins.
const KEYWORDS: [&str; 20] = [
    "if", "then", "elif", "else", "fi", "while", "until", "do", "done", "for", "select", "case", "in",
    "esac", "function", "coproc", "{", "}", "!", "[[",
];

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str, line: &'a mut CommandLine, budget: &'a mut Budget) -> Self {
        Self { text, at: 0, line, budget, wrapped: false, substituted: false, pending: Vec::new() }
    }

    /// Reads the whole text as commands.
    pub(super) fn script(&mut self) -> Result<(), Opaque> {
        self.charge(self.text.len())?;
        match self.list(&[])? {
            End::Text if self.pending.is_empty() => Ok(()),
            End::Text | End::Parenthesis | End::CaseItem | End::Keyword(_) => Err(Opaque::Unreadable),
        }
    }

    /// A reader of another text, with the same budget and into the same line.
    pub(super) fn within<'b>(&'b mut self, text: &'b str, wrapped: bool) -> Reader<'b> {
        let substituted = self.substituted;
        Reader {
            text,
            at: 0,
            line: self.line,
            budget: self.budget,
            wrapped,
            substituted,
            pending: Vec::new(),
        }
    }

    /// Goes one level deeper.
    pub(super) fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Opaque>,
    ) -> Result<T, Opaque> {
        if self.budget.depth == COMMAND_LINE_DEPTH {
            return Err(Opaque::TooDeep);
        }
        self.budget.depth += 1;
        let result = read(self);
        self.budget.depth -= 1;
        result
    }

    /// Counts work that does not follow from the length of the line.
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), Opaque> {
        self.budget.spent += bytes;
        if self.budget.spent > COMMAND_LINE_WORK_BYTES { Err(Opaque::TooLong) } else { Ok(()) }
    }

    /// Reads commands up to one of these keywords, or to what no command begins with. Which separator stands between two
    /// commands makes no difference: both may run.
    pub(super) fn list(&mut self, ends: &[&'static str]) -> Result<End, Opaque> {
        let mut piped = false;
        loop {
            self.lines()?;
            let after_pipe = std::mem::take(&mut piped);
            match self.peek() {
                None => return Ok(End::Text),
                Some(')') => return Ok(End::Parenthesis),
                Some(';') if self.looking_at(";;") || self.looking_at(";&") => return Ok(End::CaseItem),
                Some('&') if self.looking_at("&>") => self.simple()?,
                Some('&') if self.looking_at("&&") => self.at += 2,
                Some('|') if self.looking_at("||") => self.at += 2,
                Some('|') => {
                    self.at += if self.looking_at("|&") { 2 } else { 1 };
                    piped = true;
                }
                Some(';' | '&') => self.at += 1,
                Some(_) => match self.keyword(&KEYWORDS) {
                    Some(keyword) if ends.contains(&keyword) => return Ok(End::Keyword(keyword)),
                    Some(keyword) => self.nested(|reader| reader.compound(keyword))?,
                    // Behind a pipe it is the name of a command, and the keyword behind it an argument.
                    None if self.timed() => {
                        if after_pipe {
                            return Err(Opaque::Unreadable);
                        }
                    }
                    None => self.command()?,
                },
            }
        }
    }

    /// Passes a `time` that a compound command follows. Before a simple command it is read as the command's name.
    fn timed(&mut self) -> bool {
        let from = self.at;
        if self.keyword(&["time"]).is_some() {
            self.blanks();
            self.keyword(&["-p"]);
            self.blanks();
            let at = self.at;
            if self.peek() == Some('(') || self.keyword(&KEYWORDS).is_some() {
                self.at = at;
                return true;
            }
        }
        self.at = from;
        false
    }

    /// Reads a command that begins with no keyword.
    pub(super) fn command(&mut self) -> Result<(), Opaque> {
        match self.peek() {
            Some('(') => self.nested(Self::parenthesis),
            Some(_) | None => self.simple(),
        }
    }

    /// Reads a simple command, or a function's definition. What there is of it is listed even where the rest cannot be
    /// read.
    pub(super) fn simple(&mut self) -> Result<(), Opaque> {
        let place = self.line.commands.len();
        let (from, mut words, mut assigned) = (self.at, Vec::new(), Vec::new());
        let read = self.words(&mut words, &mut assigned);
        // A word of a bare line is followed by this only where a function is defined.
        let parenthesis = read.is_ok() && self.peek() == Some('(');
        if parenthesis && words.len() == 1 {
            return self.nested(Self::function);
        }
        for name in &assigned {
            if !words.is_empty() || super::builtin::steers(name) {
                self.line.note(Opaque::Variable);
            }
        }
        if !words.is_empty() {
            self.line.commands.insert(place, SimpleCommand { words: words.clone(), wrapped: self.wrapped });
            self.told(&words)?;
        }
        read?;
        // Whatever a command does not end with would never be passed.
        if parenthesis || self.at == from { Err(Opaque::Unreadable) } else { Ok(()) }
    }

    /// Reads the words of a simple command, and the names of the variables that are set before them.
    fn words(&mut self, words: &mut Vec<Word>, assigned: &mut Vec<String>) -> Result<(), Opaque> {
        loop {
            self.blanks();
            if self.redirection(None)? {
                continue;
            }
            match self.peek() {
                None | Some('\n' | ';' | '&' | '|' | '(' | ')') => return Ok(()),
                Some('#') => self.comment(),
                Some(_) => {
                    if words.is_empty()
                        && let Some(name) = self.assignment()?
                    {
                        assigned.push(name);
                        continue;
                    }
                    let word = self.word().inspect_err(|_| {
                        // What is there of it may be anything.
                        if !words.is_empty() {
                            words.push(Word::Unknown);
                        }
                    })?;
                    if !self.redirection(Some(&word))? {
                        words.push(word.word());
                    }
                }
            }
        }
    }

    /// Lists a command that another one runs.
    pub(super) fn wraps(&mut self, words: &[Word]) -> Result<(), Opaque> {
        if words.is_empty() {
            return Ok(());
        }
        self.charge(words.iter().map(|word| 1 + word.literal().map_or(0, str::len)).sum())?;
        self.line.commands.push(SimpleCommand { words: words.to_vec(), wrapped: true });
        self.nested(|reader| reader.told(words))
    }

    /// Looks at what a command means for what is read: a command that is not known, one that runs another, one that
    /// changes the shell.
    fn told(&mut self, words: &[Word]) -> Result<(), Opaque> {
        let Some((name, arguments)) = words.split_first() else { return Ok(()) };
        let Some(name) = name.literal() else {
            self.line.note(Opaque::UnknownName);
            return Ok(());
        };
        let name = name.rsplit('/').next().unwrap_or(name);
        if let Some(reason) = super::builtin::reason(name, arguments) {
            self.line.note(reason);
        }
        self.unwrap(name, arguments)
    }

    /// The next character.
    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Takes the next character.
    pub(super) fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(super) fn looking_at(&self, text: &str) -> bool {
        self.rest().starts_with(text)
    }

    /// Takes this text if it is next.
    pub(super) fn eat(&mut self, text: &str) -> bool {
        let there = self.looking_at(text);
        if there {
            self.at += text.len();
        }
        there
    }

    /// Takes this text, which has to be next.
    pub(super) fn expect(&mut self, text: &str) -> Result<(), Opaque> {
        if self.eat(text) { Ok(()) } else { Err(Opaque::Unreadable) }
    }

    /// Takes one of these words if it is next, and is nothing but that word.
    pub(super) fn keyword(&mut self, keywords: &[&'static str]) -> Option<&'static str> {
        let keyword = keywords.iter().find(|keyword| {
            self.rest()
                .strip_prefix(**keyword)
                .is_some_and(|after| after.chars().next().is_none_or(ends_word))
        })?;
        self.at += keyword.len();
        Some(keyword)
    }

    /// Passes blanks, and lines that go on.
    pub(super) fn blanks(&mut self) {
        while self.eat(" ") || self.eat("\t") || self.eat("\\\n") {}
    }

    /// Passes blanks, comments and ends of lines, with the bodies that follow them.
    pub(super) fn lines(&mut self) -> Result<(), Opaque> {
        loop {
            self.blanks();
            match self.peek() {
                Some('#') => self.comment(),
                Some('\n') => {
                    self.at += 1;
                    self.bodies()?;
                }
                Some(_) | None => return Ok(()),
            }
        }
    }

    fn comment(&mut self) {
        self.at += self.rest().find('\n').unwrap_or(self.rest().len());
    }
}

/// Whether an unquoted character ends a word.
pub(super) fn ends_word(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>')
}

//! Compound commands: groups, loops, conditions, tests and functions.

use super::builtin::{is_name, steers};
use super::reader::{End, Reader};
use super::word::Spelling;
use super::{Opaque, Word};

/// What numbers and operators of arithmetic are made of, parentheses aside.
const ARITHMETIC: &str = "0123456789 \t+-*/%=!<>&|^~?:,";

impl Reader<'_> {
    /// Reads what follows a keyword that no list ends with.
    pub(super) fn compound(&mut self, keyword: &str) -> Result<(), Opaque> {
        match keyword {
            // The list goes on with the command behind it. With extended patterns, `!(` would begin one.
            "!" if self.peek() == Some('(') => Err(Opaque::Unreadable),
            "!" => Ok(()),
            "{" => self.group("}"),
            "if" => self.condition(),
            "while" | "until" => {
                self.until(&["do"])?;
                self.group("done")
            }
            "for" | "select" => self.for_loop(),
            "case" => self.case(),
            "function" => {
                self.blanks();
                self.word()?;
                self.blanks();
                self.function()
            }
            "coproc" => self.coprocess(),
            "[[" => self.test(),
            // Words that end what has not begun.
            _ => Err(Opaque::Unreadable),
        }
    }

    /// Reads what a `(` begins: a subshell or an arithmetic command.
    pub(super) fn parenthesis(&mut self) -> Result<(), Opaque> {
        if self.eat("((") {
            return self.arithmetic(false).and_then(|()| self.redirections());
        }
        self.expect("(")?;
        self.subshell()?;
        self.redirections()
    }

    /// Reads commands up to the `)`, and takes it.
    pub(super) fn subshell(&mut self) -> Result<(), Opaque> {
        // Two parentheses are something else, and bash sees them across the end of a line that goes on.
        if self.looking_at("\\\n") || self.list(&[])? != End::Parenthesis {
            return Err(Opaque::Unreadable);
        }
        self.expect(")")
    }

    /// Reads the body of a function, whose name has been read. It would run under a name that means something else then.
    pub(super) fn function(&mut self) -> Result<(), Opaque> {
        self.line.note(Opaque::Function);
        if self.eat("(") {
            self.blanks();
            self.expect(")")?;
        }
        self.lines()?;
        self.body()
    }

    /// Reads one command, of any kind.
    fn body(&mut self) -> Result<(), Opaque> {
        match self.keyword(&["{", "if", "while", "until", "for", "select", "case", "[["]) {
            Some(keyword) => self.nested(|reader| reader.compound(keyword)),
            None => self.command(),
        }
    }

    fn coprocess(&mut self) -> Result<(), Opaque> {
        self.blanks();
        // One with a name and a compound command is not read: the brace or parenthesis stands where none may.
        self.body()
    }

    /// Reads commands up to one of these keywords.
    fn until(&mut self, ends: &[&'static str]) -> Result<&'static str, Opaque> {
        match self.list(ends)? {
            End::Keyword(keyword) => Ok(keyword),
            End::Text | End::Parenthesis | End::CaseItem => Err(Opaque::Unreadable),
        }
    }

    /// Reads commands up to this keyword, and the redirections of them all.
    fn group(&mut self, end: &'static str) -> Result<(), Opaque> {
        self.until(&[end])?;
        self.redirections()
    }

    fn condition(&mut self) -> Result<(), Opaque> {
        self.until(&["then"])?;
        loop {
            match self.until(&["elif", "else", "fi"])? {
                "elif" => self.until(&["then"])?,
                "else" => return self.group("fi"),
                _ => return self.redirections(),
            };
        }
    }

    fn for_loop(&mut self) -> Result<(), Opaque> {
        self.blanks();
        if self.eat("((") {
            self.arithmetic(true)?;
        } else {
            let name = self.word()?;
            if !is_name(&name.text) || !name.plain() {
                return Err(Opaque::Unreadable);
            }
            if steers(&name.text) {
                self.line.note(Opaque::Variable);
            }
            self.lines()?;
            if self.keyword(&["in"]).is_some() {
                self.blanks();
                while !matches!(self.peek(), None | Some('\n' | ';' | '#')) {
                    self.word()?;
                    self.blanks();
                }
            }
        }
        self.lines()?;
        if self.eat(";") {
            self.lines()?;
        }
        match self.keyword(&["do", "{"]) {
            Some("do") => self.group("done"),
            Some(_) => self.group("}"),
            None => Err(Opaque::Unreadable),
        }
    }

    fn case(&mut self) -> Result<(), Opaque> {
        self.blanks();
        self.word()?;
        self.lines()?;
        self.keyword(&["in"]).ok_or(Opaque::Unreadable)?;
        loop {
            self.lines()?;
            if self.keyword(&["esac"]).is_some() {
                return self.redirections();
            }
            if self.eat("(") {
                self.blanks();
            }
            loop {
                self.word()?;
                self.blanks();
                if !self.eat("|") {
                    break;
                }
                self.blanks();
            }
            self.expect(")")?;
            match self.list(&["esac"])? {
                End::CaseItem => {
                    // `;;`, `;&` and `;;&`.
                    self.at += 2;
                    self.eat("&");
                }
                End::Keyword(_) => return self.redirections(),
                End::Text | End::Parenthesis => return Err(Opaque::Unreadable),
            }
        }
    }

    /// Reads a test up to its `]]`. It runs nothing but the substitutions in its words, unless a word is evaluated.
    fn test(&mut self) -> Result<(), Opaque> {
        let mut words = Vec::new();
        loop {
            self.blanks();
            match self.peek() {
                Some('\n') => {
                    self.newline_inside()?;
                    self.at += 1;
                }
                None | Some(';' | '#') => return Err(Opaque::Unreadable),
                Some('(' | ')' | '|' | '&') => self.at += 1,
                Some('<' | '>') if !self.looking_at("<(") && !self.looking_at(">(") => self.at += 1,
                Some(_) => {
                    let word = self.word()?;
                    // An extended pattern is read otherwise.
                    if self.peek() == Some('(') {
                        return Err(Opaque::Unreadable);
                    }
                    if word.plain() && word.text == "]]" {
                        break;
                    }
                    words.push(word.word());
                }
            }
        }
        if words.iter().enumerate().any(|(place, word)| evaluates(word, &words, place)) {
            self.line.note(Opaque::Evaluation);
        }
        self.redirections()
    }

    /// Reads an arithmetic expression up to its `))`; in the head of a loop it has semicolons. A name in it stands for
    /// a value that is evaluated in turn, commands in subscripts included. Quotes and subscripts are not read.
    pub(super) fn arithmetic(&mut self, head: bool) -> Result<(), Opaque> {
        let (mut open, mut ignored) = (0_usize, Spelling::default());
        loop {
            match self.next() {
                Some('(') => open += 1,
                Some(')') if open > 0 => open -= 1,
                Some(')') => return self.expect(")"),
                Some('$') => {
                    self.line.note(Opaque::Evaluation);
                    self.dollar(&mut ignored, true)?;
                }
                Some('`') => {
                    self.line.note(Opaque::Evaluation);
                    self.backquoted(&mut ignored)?;
                }
                Some(';') if head => {}
                Some('a'..='z' | 'A'..='Z' | '_') => self.line.note(Opaque::Evaluation),
                Some(c) if ARITHMETIC.contains(c) => {}
                Some(_) | None => return Err(Opaque::Unreadable),
            }
        }
    }
}

/// Whether an operator of a test evaluates what stands beside it.
fn evaluates(operator: &Word, words: &[Word], place: usize) -> bool {
    let number =
        |word: Option<&Word>| word.and_then(Word::literal).is_some_and(|text| text.parse::<i64>().is_ok());
    match operator.literal() {
        Some("-eq" | "-ne" | "-lt" | "-le" | "-gt" | "-ge") => {
            !number(place.checked_sub(1).and_then(|before| words.get(before)))
                || !number(words.get(place + 1))
        }
        Some("-v" | "-R") => !words.get(place + 1).and_then(Word::literal).is_some_and(is_name),
        Some(_) | None => false,
    }
}

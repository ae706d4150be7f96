//! Commands that run the command, or the script, that they are given.
//!
//! Where it is not certain at which word that command begins, each word at which it may is taken for one: too many
//! commands are asked about, never too few.

use super::reader::Reader;
use super::{Opaque, Word};

/// How a wrapper's arguments are read before its command begins.
struct Wrapper {
    /// The letters of options that stand alone.
    alone: &'static str,
    /// The letters of options whose value is the rest of the word, or the next word if there is no rest.
    valued: &'static str,
    /// The letters of options whose value is the rest of the word, if any.
    joined: &'static str,
    /// Whether words that set variables may stand before the command.
    assigns: bool,
    /// How many other words do.
    operands: usize,
}

/// The wrapper of that name whose command is given as words.
fn wrapper(name: &str) -> Option<Wrapper> {
    let (alone, valued, assigns, operands) = match name {
        "sudo" => ("ABbEeHiKklnPSsVvN", "CDgphRrTtUu", true, 0),
        "doas" => ("Lns", "Cu", false, 0),
        "env" => ("iv0", "Cu", true, 0),
        "nice" => ("0123456789", "n", false, 0),
        "ionice" => ("t", "cnpPu", false, 0),
        "time" => ("apqv", "fo", true, 0),
        "timeout" => ("fpv", "ks", false, 1),
        "stdbuf" => ("", "eio", false, 0),
        "setsid" => ("cfw", "", false, 0),
        "chroot" => ("", "", false, 1),
        "xargs" => ("0oprtx", "adEILnPs", false, 0),
        "command" => ("p", "", false, 0),
        "exec" => ("cl", "a", false, 0),
        "nohup" | "builtin" | "busybox" | "noglob" | "nocorrect" | "-" => ("", "", false, 0),
        _ => return None,
    };
    let joined = if name == "xargs" { "eil" } else { "" };
    Some(Wrapper { alone, valued, joined, assigns, operands })
}

impl Reader<'_> {
    /// Lists what a command runs, if it is one that runs others.
    pub(super) fn unwrap(&mut self, name: &str, arguments: &[Word]) -> Result<(), Opaque> {
        match name {
            "sh" | "bash" | "dash" | "zsh" | "ksh" | "ash" => self.shell(arguments),
            "eval" | "watch" | "parallel" => self.joined(name, arguments),
            "trap" => self.trap(arguments),
            "find" => self.find(arguments),
            // It tells what a name stands for.
            "command" if arguments.first().and_then(Word::literal).is_some_and(looks_up) => Ok(()),
            _ => match wrapper(name) {
                Some(wrapper) => self.operand(name, &wrapper, arguments),
                None => Ok(()),
            },
        }
    }

    /// Lists the command that a wrapper is given as words.
    fn operand(&mut self, name: &str, wrapper: &Wrapper, arguments: &[Word]) -> Result<(), Opaque> {
        let (mut operands, mut options, mut maybe_value) = (wrapper.operands, true, false);
        let (mut replaced, mut place) = (None, 0);
        while let Some(word) = arguments.get(place) {
            let Some(text) = word.literal() else {
                // It may be an option or a part of the command.
                self.line.note(Opaque::UnknownScript);
                (maybe_value, place) = (true, place + 1);
                continue;
            };
            if options && text == "--" {
                self.option(name, text, arguments.get(place..).unwrap_or_default())?;
                (options, maybe_value, place) = (false, false, place + 1);
            } else if options && text.len() > 1 && text.starts_with('-') {
                self.option(name, text, arguments.get(place..).unwrap_or_default())?;
                replaced = replaced.or_else(|| filled_in(name, text, arguments.get(place + 1)));
                let value = wrapper.value(text);
                maybe_value = matches!(value, Value::Maybe);
                place += if matches!(value, Value::Next) { 2 } else { 1 };
            } else if name == "env" && text == "-" {
                place += 1;
            } else if wrapper.assigns && text.contains('=') {
                self.line.note(Opaque::Variable);
                (maybe_value, place) = (false, place + 1);
            } else if operands > 0 {
                // It is the operand, or it belongs to the option before.
                if maybe_value {
                    self.given(name, arguments.get(place + 1..).unwrap_or_default(), replaced)?;
                } else {
                    operands -= 1;
                }
                (maybe_value, place) = (false, place + 1);
            } else {
                self.given(name, arguments.get(place..).unwrap_or_default(), replaced)?;
                if !maybe_value {
                    return Ok(());
                }
                (maybe_value, place) = (false, place + 1);
            }
        }
        Ok(())
    }

    /// Looks at options that are the command, or hold it. `rest` begins with the option.
    fn option(&mut self, name: &str, text: &str, rest: &[Word]) -> Result<(), Opaque> {
        let letters = !text.starts_with("--");
        match name {
            // It splits a text into words; a long option may be abbreviated.
            "env" if text.starts_with("--s") || (letters && text.contains('S')) => {
                self.line.note(Opaque::UnknownScript);
                Ok(())
            }
            // The keyword has no other option, and runs what looks like one; the program has others.
            "time" if text != "-p" => self.wraps(rest),
            _ => Ok(()),
        }
    }

    /// Lists a command with what its wrapper adds to it.
    fn given(&mut self, name: &str, words: &[Word], replaced: Option<&str>) -> Result<(), Opaque> {
        if name != "xargs" {
            return self.wraps(words);
        }
        let mut words = replaced.map_or_else(|| words.to_vec(), |text| with_unknown(words, text));
        words.push(Word::Unknown);
        self.wraps(&words)
    }

    /// Reads the script that a shell is given by `-c`. Without one, and without a file, it reads what it is fed.
    fn shell(&mut self, arguments: &[Word]) -> Result<(), Opaque> {
        let (mut scripted, mut maybe_value) = (false, false);
        for word in arguments {
            let Some(text) = word.literal() else {
                self.line.note(Opaque::UnknownScript);
                return Ok(());
            };
            if text == "--" {
                maybe_value = false;
                continue;
            }
            if text.len() > 1 && text.starts_with(['-', '+']) {
                let long = text.starts_with("--");
                scripted |= !long && text.contains('c');
                maybe_value = long || text.contains(['o', 'O']);
                continue;
            }
            if scripted {
                self.handed_on(text)?;
            }
            if matches!(text, "-" | "/dev/stdin" | "/dev/fd/0" | "/proc/self/fd/0") {
                self.line.note(Opaque::UnknownScript);
            }
            if !maybe_value {
                // A file, or the script.
                return Ok(());
            }
            maybe_value = false;
        }
        if !arguments.iter().any(|word| matches!(word.literal(), Some("--version" | "--help"))) {
            self.line.note(Opaque::UnknownScript);
        }
        Ok(())
    }

    /// Reads the words of a command as one script, as it does. Those of which options are not told apart are read from
    /// each word at which the script may begin.
    fn joined(&mut self, name: &str, arguments: &[Word]) -> Result<(), Opaque> {
        if name == "parallel" {
            // It fills in its arguments before the script is read.
            self.line.note(Opaque::UnknownScript);
        }
        let mut maybe_value = false;
        for (place, word) in arguments.iter().enumerate() {
            let Some(text) = word.literal() else {
                self.line.note(Opaque::UnknownScript);
                return Ok(());
            };
            if text == "--" || (text.starts_with('-') && name != "eval") {
                maybe_value = text != "--";
                continue;
            }
            let rest = arguments.get(place..).unwrap_or_default();
            let Some(texts) = rest.iter().map(Word::literal).collect::<Option<Vec<_>>>() else {
                self.line.note(Opaque::UnknownScript);
                return Ok(());
            };
            self.handed_on(&texts.join(" "))?;
            if !maybe_value {
                return Ok(());
            }
            maybe_value = false;
        }
        Ok(())
    }

    fn trap(&mut self, arguments: &[Word]) -> Result<(), Opaque> {
        if arguments.contains(&Word::Unknown) {
            self.line.note(Opaque::UnknownScript);
        }
        let mut texts = arguments.iter().filter_map(Word::literal).skip_while(|text| *text == "--");
        let action = texts.next().filter(|text| !text.starts_with('-'));
        action.map_or(Ok(()), |script| self.handed_on(script))
    }

    /// Lists what find runs for each file. An expansion could be another such action.
    fn find(&mut self, arguments: &[Word]) -> Result<(), Opaque> {
        if arguments.contains(&Word::Unknown) {
            self.line.note(Opaque::UnknownScript);
        }
        let runs = |word: &Word| matches!(word.literal(), Some("-exec" | "-execdir" | "-ok" | "-okdir"));
        for (place, _) in arguments.iter().enumerate().filter(|(_, word)| runs(word)) {
            let rest = arguments.get(place + 1..).unwrap_or_default();
            let ends = |word: &Word| word.literal() == Some(";");
            let plus = |pair: &[Word]| pair.iter().filter_map(Word::literal).eq(["{}", "+"]);
            let semicolon = rest.iter().position(ends).unwrap_or(rest.len());
            let end = rest.windows(2).position(plus).map_or(semicolon, |at| semicolon.min(at + 1));
            self.wraps(&with_unknown(rest.get(..end).unwrap_or_default(), "{}"))?;
        }
        Ok(())
    }

    /// Reads a script that a command hands on to a shell.
    fn handed_on(&mut self, script: &str) -> Result<(), Opaque> {
        match self.nested(|reader| reader.within(script, true).script()) {
            // The rest of the line can be read nevertheless.
            Err(Opaque::Unreadable) => {
                self.line.note(Opaque::Unreadable);
                Ok(())
            }
            read => read,
        }
    }
}

/// Where the value of an option is.
enum Value {
    /// In the same word, or nowhere.
    None,
    /// The next word.
    Next,
    /// The option is not known.
    Maybe,
}

impl Wrapper {
    fn value(&self, option: &str) -> Value {
        if option.starts_with("--") {
            return if option.contains('=') { Value::None } else { Value::Maybe };
        }
        let mut letters = option.chars().skip(1);
        while let Some(letter) = letters.next() {
            if self.joined.contains(letter) {
                return Value::None;
            }
            if self.valued.contains(letter) {
                return if letters.next().is_some() { Value::None } else { Value::Next };
            }
            if !self.alone.contains(letter) {
                return Value::Maybe;
            }
        }
        Value::None
    }
}

/// What xargs replaces by what it reads, if this option says so.
fn filled_in<'a>(name: &str, option: &'a str, next: Option<&'a Word>) -> Option<&'a str> {
    if name != "xargs" {
        return None;
    }
    let value = if let Some(long) = option.strip_prefix("--r") {
        long.split_once('=').map(|(_, value)| value)
    } else {
        match option.split_once(['I', 'i'])? {
            (_, "") if option.ends_with('I') => next.and_then(Word::literal),
            (_, value) => Some(value),
        }
    };
    Some(value.filter(|value| !value.is_empty()).unwrap_or("{}"))
}

/// The words, with those unknown in which another text is filled in for this one.
fn with_unknown(words: &[Word], replaced: &str) -> Vec<Word> {
    let filled = |word: &Word| match word.literal() {
        Some(text) if !text.contains(replaced) => word.clone(),
        Some(_) | None => Word::Unknown,
    };
    words.iter().map(filled).collect()
}

/// Whether an option lets `command` tell about a name instead of running it.
fn looks_up(option: &str) -> bool {
    option.starts_with('-') && option.contains(['v', 'V'])
}

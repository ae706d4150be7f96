//! Builtins and variables that change what a command line means.

use super::{Opaque, Word};

/// Variables that decide which program runs, or make a program run another one.
const STEERING: [&str; 26] = [
    "BASHOPTS",
    "BROWSER",
    "CC",
    "CDPATH",
    "CXX",
    "EDITOR",
    "ENV",
    "FPATH",
    "HOME",
    "IFS",
    "LESSOPEN",
    "LESSCLOSE",
    "MAKEFLAGS",
    "MANPAGER",
    "NULLCMD",
    "PAGER",
    "PATH",
    "POSIXLY_CORRECT",
    "PROMPT_COMMAND",
    "PS0",
    "PS4",
    "SHELL",
    "SHELLOPTS",
    "VISUAL",
    "fpath",
    "path",
];

/// How the names of such variables begin.
const STEERING_PREFIXES: [&str; 15] = [
    "BASH_",
    "CARGO",
    "CLASSPATH",
    "DYLD_",
    "GIT_",
    "JAVA",
    "JDK_",
    "LD_",
    "NODE_",
    "NPM_",
    "PERL",
    "PYTHON",
    "RUBY",
    "RUST",
    "npm_",
];

/// Whether a variable of this name may change what later commands run.
pub(super) fn steers(name: &str) -> bool {
    STEERING.contains(&name) || STEERING_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether a text is a variable's name.
pub(super) fn is_name(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether a text would run commands if it were evaluated as arithmetic or as a variable's name: `a[$(rm x)]`.
pub(super) fn hides_commands(text: &str) -> bool {
    text.split_once('[').is_some_and(|(_, rest)| rest.contains("$(") || rest.contains('`'))
}

/// Why a command with this name makes the line opaque, if it does.
pub(super) fn reason(name: &str, arguments: &[Word]) -> Option<Opaque> {
    match name {
        "alias" | "bind" | "complete" | "compgen" | "enable" | "fc" | "hash" | "shopt" => Some(Opaque::Shell),
        "set" if !arguments.iter().all(is_mild) => Some(Opaque::Shell),
        "source" | "." if arguments.contains(&Word::Unknown) => Some(Opaque::UnknownScript),
        "export" | "declare" | "typeset" | "local" | "readonly" | "read" | "mapfile" | "readarray"
        | "getopts" | "unset" => arguments.iter().find_map(names),
        "let" => Some(Opaque::Evaluation),
        // The format may become that option.
        "printf" if arguments.first() == Some(&Word::Unknown) => Some(Opaque::Variable),
        // Only then a variable is named.
        "printf" | "wait" | "test" | "[" if arguments.iter().any(|word| is_option(word, name)) => {
            arguments.iter().find_map(names)
        }
        _ => None,
    }
}

/// Why a word cannot be the argument of a builtin that sets or looks up the variable of that name.
fn names(word: &Word) -> Option<Opaque> {
    let Some(text) = word.literal() else { return Some(Opaque::Variable) };
    let name = text.split(['=', '+']).next().unwrap_or_default();
    if text.contains('[') && text != "[" {
        Some(Opaque::Evaluation)
    } else if steers(name) {
        Some(Opaque::Variable)
    } else {
        None
    }
}

/// Whether a word is the option by which this builtin takes a variable's name, or may become it.
fn is_option(word: &Word, builtin: &str) -> bool {
    match word.literal() {
        Some(text) if builtin == "wait" => text.starts_with("-p"),
        Some(text) => text.starts_with("-v") || text == "-R",
        // What is printed or compared is often unknown, and then the option is not there.
        None => false,
    }
}

/// Whether a word turns nothing on but what makes a script stop early or tell more.
fn is_mild(word: &Word) -> bool {
    let Some(text) = word.literal() else { return false };
    match text.strip_prefix(['-', '+']) {
        Some(letters) => letters.chars().all(|c| "euxoC".contains(c)),
        None => matches!(text, "errexit" | "nounset" | "pipefail" | "xtrace"),
    }
}

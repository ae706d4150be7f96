//! Whether `docs/scenarios.md` names every scenario, and only tests that are there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use cargo_metadata::MetadataCommand;

use crate::report;

const TABLE: &str = "docs/scenarios.md";

/// The ids of the lists, as a row begins with them.
const IDS: &[(&str, usize)] = &[
    ("O", 48),
    ("W", 36),
    ("EXP", 10),
    ("fido D", 13),
    ("fido ", 74),
    ("fido I", 22),
    ("midtown ", 35),
    ("asr ", 23),
    ("surprise ", 24),
    ("fault ", 20),
];

/// Where tests of a suite are, by the word that rows use for it.
const SUITES: &[(&str, &[&str])] = &[
    ("e2e", &["crates/testbed/tests/e2e"]),
    ("core", &["crates/core/src", "crates/core/tests"]),
    ("holder", &["crates/holder/tests/it", "crates/holder/src"]),
    ("store", &["crates/store/tests/it", "crates/store/src"]),
    ("agents", &["crates/agents/tests/adapters", "crates/agents/src"]),
    ("daemon", &["crates/daemon/src"]),
    ("cli", &["crates/cli/src", "crates/cli/tests"]),
    ("api", &["crates/api/src", "crates/api/tests"]),
    ("testbed", &["crates/testbed/src", "crates/testbed/tests"]),
];

/// Checks both.
pub(crate) fn run() -> Result<()> {
    let root: PathBuf = MetadataCommand::new().no_deps().exec()?.workspace_root.into();
    let text = fs::read_to_string(root.join(TABLE)).with_context(|| format!("{TABLE} cannot be read"))?;
    let mut wrong = missing(&text);
    let mut suites = BTreeMap::new();
    for (suite, folders) in SUITES {
        let mut tests = Tests::default();
        for folder in *folders {
            tests.read(&root.join(folder))?;
        }
        suites.insert(*suite, tests);
    }
    let mut named = 0;
    for (no, line) in text.lines().enumerate() {
        for reference in references(line) {
            named += 1;
            if !suites.get(reference.suite).is_some_and(|tests| tests.has(reference.path)) {
                wrong.push(format!("{TABLE}:{}: {} has no test {}", no + 1, reference.suite, reference.path));
            }
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    report::line(&format!("scenarios: every id is there, and the {named} tests that are named too"));
    Ok(())
}

/// The ids that have no row.
fn missing(text: &str) -> Vec<String> {
    let mut rows = BTreeSet::new();
    for line in text.lines() {
        let Some(first) = line.strip_prefix("| ").and_then(|row| row.split(" |").next()) else { continue };
        // `fido 5, 61` is a row for both.
        let at = first.find(|character: char| character.is_ascii_digit()).unwrap_or(first.len());
        let (list, numbers) = first.split_at(at);
        rows.extend(numbers.split(", ").filter_map(|no| Some((list, no.parse::<usize>().ok()?))));
    }
    let wanted = IDS.iter().flat_map(|(list, last)| (1..=*last).map(move |no| (*list, no)));
    let missing = wanted.filter(|id| !rows.contains(id));
    missing.map(|(list, no)| format!("{TABLE}: {list}{no:02} has no row")).collect()
}

/// A test that a line names: `interrupt::o03_*` of e2e.
#[derive(Debug, PartialEq, Eq)]
struct Reference<'a> {
    suite: &'a str,
    path: &'a str,
}

/// The tests that a line names. A suite holds for what stands behind its word, until the next one.
fn references(line: &str) -> Vec<Reference<'_>> {
    let mut found = Vec::new();
    let mut suite = None;
    for (no, part) in line.split('`').enumerate() {
        if no % 2 == 0 {
            let words = part.split(|character: char| !character.is_alphanumeric());
            let mut named = words.rev().filter(|word| SUITES.iter().any(|(suite, _)| suite == word));
            suite = named.next().or(suite);
        } else if let Some(suite) = suite.filter(|_| is_test(part)) {
            found.push(Reference { suite, path: part });
        }
    }
    found
}

/// Whether a text in a line is the path of a test rather than a word of code: tests have sentences for names, or stand in a module.
fn is_test(text: &str) -> bool {
    let sentence = text.rsplit("::").next().unwrap_or(text);
    let plain = text.chars().all(|character| {
        character.is_ascii_lowercase() || character.is_ascii_digit() || "_:*".contains(character)
    });
    plain
        && !sentence.is_empty()
        && (text.contains("::") || sentence.matches('_').count() >= 3 || sentence.ends_with("_*"))
}

/// The files of a suite.
#[derive(Debug, Default)]
struct Tests(Vec<File>);

#[derive(Debug)]
struct File {
    path: String,
    functions: Vec<String>,
    /// Those that are marked as tests.
    marked: Vec<String>,
    /// What stands alone in a line, as a test does in the list of a macro.
    listed: Vec<String>,
}

impl Tests {
    fn read(&mut self, folder: &Path) -> Result<()> {
        for entry in fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                self.read(&path)?;
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path)?;
                self.0.push(File::of(&path.with_extension("").display().to_string(), &text));
            }
        }
        Ok(())
    }

    /// Whether a test is there, in a file that the path leads to; or what its name says, where that is no sentence.
    fn has(&self, path: &str) -> bool {
        let mut parts: Vec<&str> = path.split("::").collect();
        let name = parts.pop().unwrap_or_default();
        let is_sentence = name.contains('*') || name.matches('_').count() >= 3;
        let fits = |known: &str| match name.strip_suffix('*') {
            Some(beginning) => known.starts_with(beginning),
            None => known == name,
        };
        self.0.iter().filter(|file| parts.iter().all(|part| file.is_below(part))).any(|file| {
            if !is_sentence {
                return file.is_below(name) || file.functions.iter().any(|known| known == name);
            }
            let is_listed = |name: &String| self.0.iter().any(|file| file.listed.contains(name));
            file.marked.iter().any(|known| fits(known))
                || file.functions.iter().any(|known| fits(known) && is_listed(known))
        })
    }
}

impl File {
    fn of(path: &str, text: &str) -> Self {
        let mut file =
            Self { path: path.to_owned(), functions: Vec::new(), marked: Vec::new(), listed: Vec::new() };
        let mut marked = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[") {
                marked |= line.ends_with("test]");
                continue;
            }
            let is_test = std::mem::take(&mut marked);
            let alone = line.strip_suffix(',').unwrap_or(line);
            if let Some(name) = line.split_once("fn ").and_then(|(_, rest)| rest.split(['(', '<']).next()) {
                file.functions.push(name.to_owned());
                file.marked.extend(is_test.then(|| name.to_owned()));
            } else if alone.contains('_')
                && alone.chars().all(|character| character.is_alphanumeric() || character == '_')
            {
                file.listed.push(alone.to_owned());
            }
        }
        file
    }

    /// Whether a part of a path leads to it.
    fn is_below(&self, part: &str) -> bool {
        is_inline(part) || self.path.split('/').any(|place| place == part)
    }
}

/// Whether a part of a path is a module in the file, or any.
fn is_inline(part: &str) -> bool {
    part == "*" || part == "tests"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_tests_of_the_suite_before_them() {
        let line = "| O1 | `a_b` | e2e `x::o03_*`, `of_the_same_suite`; core `y::o03_*`; by `Task::round` in `a.rs` |";
        let found: Vec<(&str, &str)> =
            references(line).into_iter().map(|reference| (reference.suite, reference.path)).collect();
        assert_eq!(found, [("e2e", "x::o03_*"), ("e2e", "of_the_same_suite"), ("core", "y::o03_*")]);
    }

    #[test]
    fn an_id_without_a_row_is_told() {
        let rows = |list: &str, last: usize| {
            (1..=last).fold(String::new(), |rows, no| rows + &format!("| {list}{no} | x |\n"))
        };
        let told = missing(&(rows("O", 47) + &rows("fido ", 74) + "| W1, 2 | x |\n"));
        assert!(told.contains(&"docs/scenarios.md: O48 has no row".to_owned()));
        assert!(told.contains(&"docs/scenarios.md: W03 has no row".to_owned()));
        assert!(
            !told.iter().any(|line| line.contains("O47") || line.contains("W02") || line.contains("fido 1 "))
        );
    }

    #[test]
    fn a_test_that_is_not_there_is_told() {
        let text = "#[test]\nfn o22_a_gate_is_one() {}\nfn o22_this_one_helps_it() {}\nfn in_a_list_of_some() {}\nlist!(\n    in_a_list_of_some,\n);\n";
        let tests = Tests(vec![File::of("crates/x/tests/e2e/gates", text)]);
        assert!(tests.has("gates::o22_*") && tests.has("o22_a_gate_is_one"));
        assert!(!tests.has("gates::o23_*") && !tests.has("boot::o22_*") && !tests.has("o22_a_gate"));
        assert!(tests.has("gates::*") && !tests.has("gate::*"), "a part of a name is no module");
        assert!(!tests.has("o22_this_one_helps_it"), "it is no test");
        assert!(tests.has("gates::*::in_a_list_of_some") && tests.has("e2e::gates"));
    }
}

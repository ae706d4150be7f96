//! One file of rules: TOML, every rule a table.

use std::fmt::Debug;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use lockkeeper_core::policy::pattern::PathPattern;
use lockkeeper_core::policy::{BadRule, Layer, Rating, RatingSpec, Rule, RuleSpec};
use rustix::fs::OFlags;
use serde::Deserialize;
use thiserror::Error;
use toml::Spanned;

use crate::limits;

/// Why a file of rules cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}:{line}: {message}", path.display())]
pub struct RulesError {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1; 1 if it is about the whole file.
    pub line: usize,
    /// What is wrong, and what to do about it.
    pub message: String,
}

/// What a file holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct RuleFile {
    pub(crate) rules: Vec<Placed<RuleSpec, Rule>>,
    pub(crate) ratings: Vec<Placed<RatingSpec, Rating>>,
}

/// A rule or a rating in its place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Placed<S, T> {
    /// The line of its beginning, from 1.
    pub(crate) line: usize,
    /// As it is written.
    pub(crate) spec: S,
    /// As it is understood: a path through a symbolic link is meant by both of its names.
    pub(crate) made: Vec<Arc<T>>,
}

impl<S, T> Placed<S, T> {
    /// What it is called, where it is understood.
    pub(crate) fn first(&self) -> Option<&T> {
        self.made.first().map(Arc::as_ref)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    rule: Vec<Spanned<RuleSpec>>,
    #[serde(default)]
    rating: Vec<Spanned<RatingSpec>>,
}

/// Reads a file; one that is not there holds nothing.
pub(crate) fn read(path: &Path, layer: Layer, home: Option<&Path>) -> Result<RuleFile, RulesError> {
    let at_all = |message: String| RulesError { path: path.to_owned(), line: 1, message };
    let text = text_of(path).map_err(|error| at_all(format!("it cannot be read: {error}")))?;
    text.map_or_else(|| Ok(RuleFile::default()), |text| parse(&text, path, layer, home))
}

/// The text of a file; none if it is not there. Whoever writes into a workspace decides what is at its path, so nothing is
/// waited for, and only an ordinary file of a bounded length is read.
pub(super) fn text_of(path: &Path) -> io::Result<Option<String>> {
    let mut options = fs::OpenOptions::new();
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    options.read(true).custom_flags(i32::try_from(flags.bits()).unwrap_or_default());
    let file = match options.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no ordinary file"));
    }
    let mut bytes = Vec::new();
    file.take(limits::RULES_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limits::RULES_FILE_BYTES {
        return Err(io::Error::other(TooLong));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| io::Error::other("it is not UTF-8"))
}

/// A file of rules is too long.
#[derive(Debug, Error)]
#[error("rules have at most {} bytes", limits::RULES_FILE_BYTES)]
pub(crate) struct TooLong;

/// Reads the text of a file of rules as a daemon does that has no home directory: for those who hold rules against steps of
/// their own, such as the fuzzer.
///
/// # Errors
/// The text is no file of rules; the path in the error is `rules.toml`.
pub fn read_rules(text: &str, layer: Layer) -> Result<ReadRules, RulesError> {
    let RuleFile { rules, ratings } = parse(text, Path::new("rules.toml"), layer, None)?;
    let rules = rules.into_iter().flat_map(|rule| rule.made).collect();
    Ok(ReadRules { rules, ratings: ratings.into_iter().flat_map(|rating| rating.made).collect() })
}

/// What a file of rules says.
#[derive(Debug, Clone, Default)]
pub struct ReadRules {
    /// Its rules, in order.
    pub rules: Vec<Arc<Rule>>,
    /// Its ratings, in order.
    pub ratings: Vec<Arc<Rating>>,
}

/// Reads the text of a file.
pub(crate) fn parse(
    text: &str,
    path: &Path,
    layer: Layer,
    home: Option<&Path>,
) -> Result<RuleFile, RulesError> {
    let line_of = |offset: usize| text.get(..offset).map_or(1, |before| before.matches('\n').count() + 1);
    let written: Written = toml::from_str(text).map_err(|error| RulesError {
        path: path.to_owned(),
        line: error.span().map_or(1, |span| line_of(span.start)),
        message: error.message().to_owned(),
    })?;
    let bad = |line, error: BadRule| RulesError { path: path.to_owned(), line, message: error.to_string() };
    let mut file = RuleFile::default();
    for spanned in written.rule {
        let line = line_of(spanned.span().start);
        let spec = spanned.into_inner();
        let made = placed(&spec, home)
            .map(|spec| spec.compile(layer, &line.to_string()).map(Arc::new))
            .collect::<Result<_, _>>()
            .map_err(|error| bad(line, error))?;
        file.rules.push(Placed { line, spec, made });
    }
    for spanned in written.rating {
        let line = line_of(spanned.span().start);
        let spec = spanned.into_inner();
        let made = both(spec.path.as_deref(), spec.workspace.as_deref(), home)
            .map(|(path, workspace)| RatingSpec { path, workspace, ..spec.clone() })
            .map(|spec| spec.compile(layer, &line.to_string()).map(Arc::new))
            .collect::<Result<_, _>>()
            .map_err(|error| bad(line, error))?;
        file.ratings.push(Placed { line, spec, made });
    }
    names_are_unique(&file, path)?;
    Ok(file)
}

fn names_are_unique(file: &RuleFile, path: &Path) -> Result<(), RulesError> {
    let rules = file.rules.iter().map(|rule| (rule.line, rule.first().map(|rule| rule.id.as_str())));
    let ratings = file.ratings.iter().map(|rating| (rating.line, rating.first().map(|it| it.id.as_str())));
    let mut seen = std::collections::BTreeSet::new();
    for (line, id) in rules.chain(ratings) {
        if let Some(id) = id.filter(|id| !seen.insert(*id)) {
            let message = format!("two are called {id}: a name belongs to one");
            return Err(RulesError { path: path.to_owned(), line, message });
        }
    }
    Ok(())
}

/// The same rule with its paths as they are and where they lead.
pub(crate) fn placed(spec: &RuleSpec, home: Option<&Path>) -> impl Iterator<Item = RuleSpec> {
    both(spec.path.as_deref(), spec.workspace.as_deref(), home).map(|(path, workspace)| RuleSpec {
        path,
        workspace,
        ..spec.clone()
    })
}

fn both(
    path: Option<&str>,
    workspace: Option<&str>,
    home: Option<&Path>,
) -> impl Iterator<Item = (Option<String>, Option<String>)> {
    let workspaces = places(workspace, home);
    places(path, home)
        .into_iter()
        .flat_map(move |path| workspaces.clone().into_iter().map(move |workspace| (path.clone(), workspace)))
}

/// The patterns that a path in a rule means: with the home directory in it, and where its beginning leads.
fn places(path: Option<&str>, home: Option<&Path>) -> Vec<Option<String>> {
    let Some(path) = path else { return vec![None] };
    let home = home.and_then(Path::to_str).map(PathPattern::exactly);
    let written = match (path.strip_prefix('~'), home) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => format!("{home}{rest}"),
        _ => path.to_owned(),
    };
    let mut all = vec![Some(written.clone())];
    if let Some(leads) = led(&written).filter(|leads| *leads != written) {
        all.push(Some(leads));
    }
    all
}

/// The same pattern with its first parts, as far as they are plain and there, behind all links.
fn led(pattern: &str) -> Option<String> {
    if !pattern.starts_with('/') {
        return None;
    }
    let special = |character: char| matches!(character, '*' | '?' | '[' | '{' | '\\');
    let plain = pattern.find(special).map_or(pattern, |at| &pattern[..at]);
    // The last part may go on beyond the plain text.
    let mut dir = if plain.len() == pattern.len() { plain } else { &plain[..plain.rfind('/')?] };
    loop {
        if let Ok(real) = fs::canonicalize(dir) {
            return Some(PathPattern::exactly(real.to_str()?) + &pattern[dir.len()..]);
        }
        dir = &dir[..dir.rfind('/').filter(|at| *at > 0)?];
    }
}

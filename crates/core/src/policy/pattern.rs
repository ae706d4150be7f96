//! Patterns for names, paths and hosts.

use globset::{GlobBuilder, GlobMatcher};
use thiserror::Error;
use url::Url;

use super::glob;
use crate::limits;

/// A pattern that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadPattern {
    /// It is empty, or longer than any that makes sense.
    #[error("a pattern has 1 to {limit} bytes")]
    Length {
        /// The limit in bytes.
        limit: usize,
    },
    /// It is not a glob.
    #[error("{pattern:?} is not a pattern: {why}")]
    NotAGlob {
        /// The pattern.
        pattern: String,
        /// Why.
        why: String,
    },
    /// It is not a host.
    #[error("{pattern:?} is not a host: write `example.com`, or `*.example.com` for all below it, or `*`")]
    NotAHost {
        /// The pattern.
        pattern: String,
    },
    /// It leads out of where it begins.
    #[error("{pattern:?} has `..` in it, which rules do not follow: write where it leads")]
    Upwards {
        /// The pattern.
        pattern: String,
    },
}

pub(super) fn check_length(pattern: &str) -> Result<(), BadPattern> {
    let limit = limits::PATTERN_BYTES;
    if pattern.trim().is_empty() || pattern.len() > limit {
        Err(BadPattern::Length { limit })
    } else {
        Ok(())
    }
}

/// A pattern of names: `*` stands for anything, `?` for one character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern(String);

impl NamePattern {
    /// Reads it.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        check_length(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The pattern that means exactly this name.
    pub fn exactly(name: &str) -> String {
        let mut text = String::with_capacity(name.len());
        for character in name.chars() {
            if matches!(character, '*' | '?' | '\\') {
                text.push('\\');
            }
            text.push(character);
        }
        text
    }

    /// Whether a name is meant.
    pub fn matches(&self, name: &str) -> bool {
        glob::matches(&self.0, name)
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// A pattern of paths: `*` and `?` within one part, `**` for any number of parts. One that does not begin with `/` is
/// about the workspace.
#[derive(Debug, Clone)]
pub struct PathPattern {
    text: String,
    absolute: bool,
    matcher: GlobMatcher,
}

impl PartialEq for PathPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PathPattern {}

impl PathPattern {
    /// Reads it. `~` is the caller's to replace.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        check_length(text)?;
        if text.split('/').any(|part| part == "..") {
            return Err(BadPattern::Upwards { pattern: text.to_owned() });
        }
        let clean = text.strip_prefix("./").unwrap_or(text);
        let glob = GlobBuilder::new(clean).literal_separator(true).backslash_escape(true).build();
        let not_a_glob = |why: &globset::Error| BadPattern::NotAGlob {
            pattern: text.to_owned(),
            why: why.kind().to_string(),
        };
        let matcher = glob.map_err(|error| not_a_glob(&error))?.compile_matcher();
        Ok(Self { text: text.to_owned(), absolute: clean.starts_with('/'), matcher })
    }

    /// The pattern that means exactly this absolute path.
    pub fn exactly(path: &str) -> String {
        let mut text = String::with_capacity(path.len());
        for character in path.chars() {
            if matches!(character, '*' | '?' | '[' | ']' | '{' | '}' | '\\') {
                text.push('\\');
            }
            text.push(character);
        }
        text
    }

    /// Whether an absolute path is meant, of a session that works in `workspace`. Parts are compared, never beginnings
    /// of texts.
    pub fn matches(&self, path: &str, workspace: &str) -> bool {
        if self.absolute {
            return self.matcher.is_match(path);
        }
        below(path, workspace).is_some_and(|inside| self.matcher.is_match(inside))
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The rest of a path below a directory, which is empty for the directory itself.
pub(super) fn below<'a>(path: &'a str, dir: &str) -> Option<&'a str> {
    let dir = dir.trim_end_matches('/');
    let rest = path.strip_prefix(dir)?;
    if rest.is_empty() { Some("") } else { rest.strip_prefix('/') }
}

/// An absolute path without `.`, `..` and doubled slashes, as its text says it: links are not followed.
pub(super) fn lexical(path: &str, workspace: &str) -> String {
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{workspace}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// A pattern of hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// Any host.
    Any,
    /// This one.
    Exactly(String),
    /// All below this one, and not itself.
    Below(String),
}

impl HostPattern {
    /// Reads it.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        check_length(text)?;
        let host = |name: &str| {
            let host = host_of(&format!("https://{name}/"));
            let plain = !name.contains(['/', '@', '?', '#', '*', '%', '\\'])
                && (!name.contains(':') || name.starts_with('['));
            host.filter(|_| plain).ok_or_else(|| BadPattern::NotAHost { pattern: text.to_owned() })
        };
        match text.strip_prefix("*.") {
            Some(parent) => Ok(Self::Below(host(parent)?)),
            None if text == "*" => Ok(Self::Any),
            None => Ok(Self::Exactly(host(text)?)),
        }
    }

    /// Whether a host, as its address tells it, is meant.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(name) => name == host,
            Self::Below(parent) => host.strip_suffix(parent.as_str()).is_some_and(|sub| sub.ends_with('.')),
        }
    }

    /// As it is written.
    pub fn text(&self) -> String {
        match self {
            Self::Any => "*".to_owned(),
            Self::Exactly(name) => name.clone(),
            Self::Below(parent) => format!("*.{parent}"),
        }
    }
}

/// The host of an address, in lower case and in ASCII, as a browser would take it (WHATWG URL). A dot at its end, which
/// means the same to a resolver, is left out.
pub(super) fn host_of(url: &str) -> Option<String> {
    let url = Url::parse(url.trim()).ok()?;
    let host = url.host_str()?.trim_end_matches('.').to_ascii_lowercase();
    (!host.is_empty()).then_some(host)
}

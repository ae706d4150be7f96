//! What a tool is about to do, as far as rules look at it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::BadName;

/// What kind of thing a tool does, after the kinds of the Agent Client Protocol (`ToolKind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolKind {
    /// It plans, asks or delegates, and touches nothing itself.
    Think,
    /// It reads or searches files.
    Read,
    /// It writes, moves or removes files.
    Edit,
    /// It fetches something from the network.
    Fetch,
    /// It runs commands.
    Execute,
    /// Nobody can tell: a tool of an MCP server, or one that the adapter does not know.
    Other,
}

impl ToolKind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Think, Self::Read, Self::Edit, Self::Fetch, Self::Execute, Self::Other];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Think => "think",
            Self::Read => "read",
            Self::Edit => "edit",
            Self::Fetch => "fetch",
            Self::Execute => "execute",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for ToolKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for ToolKind {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        Self::ALL.into_iter().find(|kind| kind.word() == text).ok_or_else(|| BadName {
            what: "kind of tool",
            text: text.chars().take(80).collect(),
            why: "think, read, edit, fetch, execute or other",
        })
    }
}

/// What a tool is about to do. An adapter knows which members of the input say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolUse {
    /// The agent's name for the tool: `Bash`.
    pub tool: String,
    /// What it does.
    pub kind: ToolKind,
    /// The shell command that it runs.
    pub command: Option<Arc<str>>,
    /// The files that it is about.
    pub paths: Vec<PathUse>,
    /// The addresses that it fetches.
    pub urls: Vec<String>,
    /// Whether its input does not say what it has to say, so that nobody can tell what it is about to do.
    pub untold: bool,
}

impl ToolUse {
    /// A use of which nothing but the tool is known.
    pub fn of(tool: &str, kind: ToolKind) -> Self {
        Self {
            tool: tool.to_owned(),
            kind,
            command: None,
            paths: Vec::new(),
            urls: Vec::new(),
            untold: false,
        }
    }
}

/// A file that a tool is about. An adapter names it as the agent did; the daemon adds where that leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathUse {
    /// As the agent named it; relative to the workspace, unless it is absolute.
    pub given: String,
    /// The absolute path behind all symbolic links, if that could be found out. The last parts of it need not exist.
    pub real: Option<String>,
}

//! Rules: what they say, and of what.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::command_pattern::CommandPattern;
use super::pattern::{HostPattern, NamePattern, PathPattern};
use super::tool_use::ToolKind;
use crate::id::BadName;

/// What a rule does with a step, the most lenient first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It goes on.
    Allow,
    /// It goes on, and somebody is told.
    Notify,
    /// It waits at a gate, also if the agent would not ask.
    Ask,
    /// It does not happen.
    Deny,
}

impl Effect {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Allow, Self::Notify, Self::Ask, Self::Deny];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Notify => "notify",
            Self::Ask => "ask",
            Self::Deny => "deny",
        }
    }

    /// Whether it lets a step go on. What lets it go on must be meant for all of it; what holds it up, for any of it.
    pub(super) fn permits(self) -> bool {
        match self {
            Self::Allow | Self::Notify => true,
            Self::Ask | Self::Deny => false,
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Effect {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        Self::ALL.into_iter().find(|effect| effect.word() == text).ok_or_else(|| BadName {
            what: "effect",
            text: text.chars().take(80).collect(),
            why: "allow, notify, ask or deny",
        })
    }
}

/// How dangerous a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// It changes nothing.
    Low,
    /// It changes what can be seen and undone.
    Medium,
    /// It may do anything.
    High,
}

impl Risk {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Low, Self::Medium, Self::High];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Risk {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        Self::ALL.into_iter().find(|risk| risk.word() == text).ok_or_else(|| BadName {
            what: "risk",
            text: text.chars().take(80).collect(),
            why: "low, medium or high",
        })
    }
}

/// Whose rules they are, the most powerful first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// The administrator of the machine.
    Admin,
    /// The user.
    User,
    /// The workspace: whoever wrote what is in it, so these only tighten.
    Project,
    /// One session, by a decision at one of its gates.
    Session,
}

impl Layer {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::User => "user",
            Self::Project => "project",
            Self::Session => "session",
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What a rule is about. What is left out is about everything; all that is there has to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct When {
    /// The agent's name.
    pub agent: Option<NamePattern>,
    /// A label that the session has.
    pub label: Option<(String, NamePattern)>,
    /// Where the session works.
    pub environment: Option<NamePattern>,
    /// On whose behalf.
    pub submitter: Option<NamePattern>,
    /// The workspace, behind all links.
    pub workspace: Option<PathPattern>,
    /// The tool.
    pub tool: Option<NamePattern>,
    /// What kind of thing the tool does.
    pub kind: Option<ToolKind>,
    /// A command that it runs.
    pub command: Option<CommandPattern>,
    /// A file that it is about.
    pub path: Option<PathPattern>,
    /// A host that it talks to.
    pub host: Option<HostPattern>,
    /// How dangerous it is: at most this for what is allowed, at least this for what is asked or denied. `notify` allows
    /// what is less dangerous, allows and tells of what is just this, and tells of what is more if something else allows it.
    pub risk: Option<Risk>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name in all places: `user:git`, or `user:12` for the one in line 12 that has none.
    pub id: String,
    /// Whose it is.
    pub layer: Layer,
    /// What it does.
    pub effect: Effect,
    /// With what.
    pub when: When,
    /// Why, for people, and for the agent that is denied something.
    pub reason: Option<String>,
}

/// How dangerous something is, as somebody says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rating {
    /// Its name in all places.
    pub id: String,
    /// Whose it is.
    pub layer: Layer,
    /// How dangerous.
    pub risk: Risk,
    /// What. The risk of it is no condition here.
    pub when: When,
}

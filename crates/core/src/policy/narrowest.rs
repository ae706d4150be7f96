//! "Always": the narrowest rules that let a step go on from now on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::command_pattern::CommandPattern;
use super::pattern::{NamePattern, PathPattern};
use super::rule::{Effect, Layer};
use super::ruling::{Part, Policy, Subject, parts};
use super::spec::RuleSpec;
use super::tool_use::ToolUse;
use crate::id::BadName;
use crate::policy::command::CommandLine;

/// How far a rule reaches that is made of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleScope {
    /// As long as the session, and no further.
    Session,
    /// All sessions of this agent in this workspace.
    Workspace,
    /// All sessions of this agent.
    User,
}

impl RuleScope {
    /// All of them, the narrowest first.
    pub const ALL: [Self; 3] = [Self::Session, Self::Workspace, Self::User];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Workspace => "workspace",
            Self::User => "user",
        }
    }

    /// Whose rules such are.
    pub fn layer(self) -> Layer {
        match self {
            Self::Session => Layer::Session,
            Self::Workspace | Self::User => Layer::User,
        }
    }
}

impl fmt::Display for RuleScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for RuleScope {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        Self::ALL.into_iter().find(|scope| scope.word() == text).ok_or_else(|| BadName {
            what: "scope",
            text: text.chars().take(80).collect(),
            why: "session, workspace or user",
        })
    }
}

/// Why no rules would let a step go on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoRules {
    /// A rule holds it up, and nobody's rule loosens another one's.
    #[error("{rule} {}, and no rule loosens another one: change that one, or decide each time", held(*.effect))]
    Held {
        /// The rule.
        rule: String,
        /// What it does.
        effect: Effect,
    },
    /// It does something that a narrow rule cannot speak of.
    #[error(
        "no narrow rule can be about {what}: decide each time, or write a rule about the whole tool (`lk rules add`)"
    )]
    Untold {
        /// What.
        what: String,
    },
}

fn held(effect: Effect) -> &'static str {
    match effect {
        Effect::Deny => "denies it",
        Effect::Ask | Effect::Notify | Effect::Allow => "asks about it",
    }
}

impl Policy {
    /// The narrowest rules with which a step goes on from now on: one for each of its parts that none lets go on. There are
    /// none if it goes on without.
    pub fn narrowest(
        &self,
        subject: &Subject<'_>,
        tool_use: &ToolUse,
        scope: RuleScope,
    ) -> Result<Vec<RuleSpec>, NoRules> {
        let line = tool_use.command.as_deref().map(CommandLine::read);
        let mut open = Vec::new();
        for part in parts(tool_use, line.as_ref()) {
            let ruling = self.rule_on_part(subject, tool_use, &part);
            let strictest = ruling.rules.first().filter(|(effect, _)| !effect.permits());
            if let Some((effect, rule)) = strictest {
                return Err(NoRules::Held { rule: rule.id.clone(), effect: *effect });
            }
            if ruling.effect.is_none() {
                open.push(part);
            }
        }
        let mut rules: Vec<RuleSpec> = Vec::new();
        for part in &open {
            let rule = self.allowing(subject, tool_use, part, scope);
            let rule = rule.ok_or_else(|| NoRules::Untold { what: part.to_string() })?;
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
        Ok(rules)
    }

    fn allowing(
        &self,
        subject: &Subject<'_>,
        tool_use: &ToolUse,
        part: &Part<'_>,
        scope: RuleScope,
    ) -> Option<RuleSpec> {
        let tool = Some(NamePattern::exactly(&tool_use.tool));
        let agent = Some(NamePattern::exactly(subject.agent));
        let workspace = Some(PathPattern::exactly(&self.workspace));
        let base = match scope {
            RuleScope::Session => RuleSpec { tool, ..RuleSpec::new(Effect::Allow) },
            RuleScope::Workspace => RuleSpec { agent, workspace, tool, ..RuleSpec::new(Effect::Allow) },
            RuleScope::User => RuleSpec { agent, tool, ..RuleSpec::new(Effect::Allow) },
        };
        let rule = match part {
            Part::Whole => base,
            Part::Command(command) => RuleSpec { command: Some(CommandPattern::exactly(command)?), ..base },
            Part::Path(path) => RuleSpec { path: Some(PathPattern::exactly(path.real.as_deref()?)), ..base },
            Part::Host(host) => RuleSpec { host: Some(host.clone()), ..base },
            Part::SomeFile(_) | Part::Untold(_) => return None,
        };
        // What cannot be said in a rule (a name that is too long) is not said wrongly.
        let compiled = rule.compile(scope.layer(), "narrowest").ok()?;
        let goes_on = self.with([compiled]).rule_on_part(subject, tool_use, part).effect;
        goes_on.is_some_and(Effect::permits).then_some(rule)
    }
}

#[cfg(test)]
mod tests;

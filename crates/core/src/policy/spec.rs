//! Rules as they are written: in files, in requests and in the log.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::command_pattern::CommandPattern;
use super::pattern::{HostPattern, NamePattern, PathPattern};
use super::rule::{Effect, Layer, Rating, Risk, Rule, When};
use super::tool_use::ToolKind;
use crate::limits;

/// A rule as it is written. See [`When`] for what the members mean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSpec {
    /// What people call it: up to 64 letters, digits, `-`, `_` and `.`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it does.
    pub effect: Effect,
    /// The agent, a pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// A label of the session: `KEY=VALUE`, the value a pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Where the session works, a pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// On whose behalf, a pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submitter: Option<String>,
    /// The workspace, a pattern of absolute paths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// The tool, a pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// What kind of thing the tool does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ToolKind>,
    /// A command that it runs, a pattern of words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// A file that it is about, a pattern; below the workspace, unless it begins with `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// A host that it talks to: `example.com`, `*.example.com` or `*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// How dangerous it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<Risk>,
    /// Why, for people, and for the agent that is denied something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A rating as it is written: how dangerous something is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RatingSpec {
    /// See [`RuleSpec::name`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How dangerous it is.
    pub risk: Risk,
    /// See [`RuleSpec::agent`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// See [`RuleSpec::label`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// See [`RuleSpec::environment`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// See [`RuleSpec::submitter`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submitter: Option<String>,
    /// See [`RuleSpec::workspace`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// See [`RuleSpec::tool`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// See [`RuleSpec::kind`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ToolKind>,
    /// See [`RuleSpec::command`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// See [`RuleSpec::path`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// See [`RuleSpec::host`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// What is wrong with a rule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadRule {
    /// A member does not say what it may say.
    #[error("{member}: {why}")]
    Member {
        /// The member.
        member: &'static str,
        /// What is wrong.
        why: String,
    },
    /// Members that exclude each other.
    #[error("{one} and {other} in one rule would never both be meant: make two rules of it")]
    Exclude {
        /// One.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// It allows something where that may only be tightened.
    #[error(
        "the rules of a workspace only tighten, and this one has the effect {effect}: whoever writes into the workspace \
         would decide what is allowed; put it into your own rules (`lk rules` says where)"
    )]
    Loosens {
        /// What it would do.
        effect: Effect,
    },
    /// It would allow everything.
    #[error(
        "it allows everything that every agent does: name at least a tool, a kind or a risk (`lk bypass` is for a while)"
    )]
    AllowsEverything,
}

impl RuleSpec {
    /// A rule of this effect about everything.
    pub fn new(effect: Effect) -> Self {
        Self {
            name: None,
            effect,
            agent: None,
            label: None,
            environment: None,
            submitter: None,
            workspace: None,
            tool: None,
            kind: None,
            command: None,
            path: None,
            host: None,
            risk: None,
            reason: None,
        }
    }

    /// The rule, in its place: `id` is used unless it has a name.
    pub fn compile(&self, layer: Layer, id: &str) -> Result<Rule, BadRule> {
        if layer == Layer::Project && self.effect.permits() {
            return Err(BadRule::Loosens { effect: self.effect });
        }
        if let Some(reason) = &self.reason
            && (reason.trim().is_empty() || reason.len() > limits::REASON_BYTES)
        {
            let why = format!("a reason has 1 to {} bytes", limits::REASON_BYTES);
            return Err(BadRule::Member { member: "reason", why });
        }
        let when = When {
            risk: self.risk,
            ..conditions(&Conditions {
                agent: self.agent.as_deref(),
                label: self.label.as_deref(),
                environment: self.environment.as_deref(),
                submitter: self.submitter.as_deref(),
                workspace: self.workspace.as_deref(),
                tool: self.tool.as_deref(),
                kind: self.kind,
                command: self.command.as_deref(),
                path: self.path.as_deref(),
                host: self.host.as_deref(),
            })?
        };
        let narrow = when.tool.is_some() || when.kind.is_some() || when.risk.is_some() || when.looks_inside();
        if self.effect.permits() && !narrow {
            return Err(BadRule::AllowsEverything);
        }
        let id = named(self.name.as_deref(), layer, id)?;
        Ok(Rule { id, layer, effect: self.effect, when, reason: self.reason.clone() })
    }
}

impl RatingSpec {
    /// The rating, in its place: `id` is used unless it has a name.
    pub fn compile(&self, layer: Layer, id: &str) -> Result<Rating, BadRule> {
        let when = conditions(&Conditions {
            agent: self.agent.as_deref(),
            label: self.label.as_deref(),
            environment: self.environment.as_deref(),
            submitter: self.submitter.as_deref(),
            workspace: self.workspace.as_deref(),
            tool: self.tool.as_deref(),
            kind: self.kind,
            command: self.command.as_deref(),
            path: self.path.as_deref(),
            host: self.host.as_deref(),
        })?;
        Ok(Rating { id: named(self.name.as_deref(), layer, id)?, layer, risk: self.risk, when })
    }
}

struct Conditions<'a> {
    agent: Option<&'a str>,
    label: Option<&'a str>,
    environment: Option<&'a str>,
    submitter: Option<&'a str>,
    workspace: Option<&'a str>,
    tool: Option<&'a str>,
    kind: Option<ToolKind>,
    command: Option<&'a str>,
    path: Option<&'a str>,
    host: Option<&'a str>,
}

fn conditions(of: &Conditions<'_>) -> Result<When, BadRule> {
    let inside = [("command", of.command), ("path", of.path), ("host", of.host)];
    let mut inside = inside.into_iter().filter(|(_, value)| value.is_some());
    if let (Some((one, _)), Some((other, _))) = (inside.next(), inside.next()) {
        return Err(BadRule::Exclude { one, other });
    }
    Ok(When {
        agent: read("agent", of.agent, NamePattern::parse)?,
        label: read("label", of.label, label)?,
        environment: read("environment", of.environment, NamePattern::parse)?,
        submitter: read("submitter", of.submitter, NamePattern::parse)?,
        workspace: read("workspace", of.workspace, workspace)?,
        tool: read("tool", of.tool, NamePattern::parse)?,
        kind: of.kind,
        command: read("command", of.command, CommandPattern::parse)?,
        path: read("path", of.path, PathPattern::parse)?,
        host: read("host", of.host, HostPattern::parse)?,
        risk: None,
    })
}

fn read<T, E: ToString>(
    member: &'static str,
    text: Option<&str>,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, BadRule> {
    let bad = |error: E| BadRule::Member { member, why: error.to_string() };
    text.map(parse).transpose().map_err(bad)
}

fn label(text: &str) -> Result<(String, NamePattern), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not KEY=VALUE"))?;
    if key.is_empty() {
        return Err(format!("{text:?} has no key before the ="));
    }
    let value = NamePattern::parse(value).map_err(|error| error.to_string())?;
    Ok((key.to_owned(), value))
}

fn workspace(text: &str) -> Result<PathPattern, String> {
    let dir = if text.len() > 1 { text.trim_end_matches('/') } else { text };
    if !dir.starts_with('/') {
        return Err(format!("{text:?} is no absolute path: write where the workspace is"));
    }
    PathPattern::parse(dir).map_err(|error| error.to_string())
}

fn named(name: Option<&str>, layer: Layer, id: &str) -> Result<String, BadRule> {
    let Some(name) = name else { return Ok(format!("{layer}:{id}")) };
    let fits = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    let named = (1..=64).contains(&name.len()) && name.chars().all(fits);
    if !named || name.chars().all(|character| character.is_ascii_digit()) {
        let why = "a name has 1 to 64 letters, digits, `-`, `_` and `.`, and is no number".to_owned();
        return Err(BadRule::Member { member: "name", why });
    }
    Ok(format!("{layer}:{name}"))
}

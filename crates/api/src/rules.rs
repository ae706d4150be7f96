//! Rules: what agents may do.

use std::collections::BTreeMap;

use lockkeeper_core::id::AgentName;
use lockkeeper_core::json::Json;
use lockkeeper_core::policy::{Effect, Layer, RatingSpec, Risk, RuleScope, RuleSpec};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::schema;

/// The query of `GET /v1/rules`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RuleQuery {
    /// With the rules of this session, and of its workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

/// The rules that hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuleList {
    /// The files that they are in, whether they are there or not.
    pub files: Vec<RuleFile>,
    /// The rules; the strictest that is about a step counts, so their order means nothing.
    pub rules: Vec<PlacedRule>,
    /// How dangerous something is, as somebody says.
    pub ratings: Vec<PlacedRating>,
}

/// A file of rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuleFile {
    /// Whose rules they are.
    #[schema(schema_with = schema::layer)]
    pub layer: Layer,
    /// Where.
    pub path: String,
    /// Why the file as it is now cannot be understood; the rules that it held before hold still.
    pub error: Option<String>,
}

/// A rule in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlacedRule {
    /// What it is called: `user:git`, or `user:12` for the one in line 12 that has no name.
    pub id: String,
    /// Whose it is.
    #[schema(schema_with = schema::layer)]
    pub layer: Layer,
    /// The file; a rule of a session is in none.
    pub file: Option<String>,
    /// The line of its beginning.
    pub line: Option<u32>,
    /// Who made it, for a rule of a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// As it is written.
    #[schema(value_type = Object)]
    pub rule: RuleSpec,
}

/// A rating in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlacedRating {
    /// What it is called.
    pub id: String,
    /// Whose it is.
    #[schema(schema_with = schema::layer)]
    pub layer: Layer,
    /// The file.
    pub file: String,
    /// The line of its beginning.
    pub line: u32,
    /// As it is written.
    #[schema(value_type = Object)]
    pub rating: RatingSpec,
}

/// The query of `POST /v1/rules` and `DELETE /v1/rules/{rule}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RuleOwner {
    /// The session whose rule it is; without it, the user's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

/// The query of `GET /v1/gates/{gate}/rules`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RuleOfferQuery {
    /// How far they are to reach.
    #[param(schema_with = schema::rule_scope)]
    pub scope: RuleScope,
}

/// The narrowest rules with which steps like the one that waits at a gate go on from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuleOffer {
    /// The gate.
    pub gate: String,
    /// How far they reach.
    #[schema(schema_with = schema::rule_scope)]
    pub scope: RuleScope,
    /// The rules; none if such steps go on without.
    #[schema(value_type = Vec<Object>)]
    pub rules: Vec<RuleSpec>,
    /// The file that they would be written to; rules of a session are in none.
    pub file: Option<String>,
}

/// Rules that are made of a decision, as whoever decides was shown them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AlwaysRequest {
    /// How far they reach.
    #[schema(schema_with = schema::rule_scope)]
    pub scope: RuleScope,
    /// The rules: such as `GET /v1/gates/{gate}/rules` offers, or wider ones. With them the step has to go on.
    #[schema(value_type = Vec<Object>)]
    pub rules: Vec<RuleSpec>,
}

/// A rule that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuleAdded {
    /// What it is called.
    pub id: String,
    /// The file that it is in; a rule of a session is in none.
    pub file: Option<String>,
    /// The sessions whose agents were started before anything could be held up that they do not ask about themselves: there
    /// the rule holds for what they ask, and wholly from their next launch.
    pub partly: Vec<String>,
}

/// The body of `POST /v1/rules/test`: a step that is only thought of. A session says who would take it, or the members do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleTest {
    /// The session that would take it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Without a session: its agent, `claude` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub agent: Option<AgentName>,
    /// Without a session: its workspace, an absolute path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// Without a session: where it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Without a session: on whose behalf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submitter: Option<String>,
    /// Without a session: its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The tool, as the agent calls it.
    pub tool: String,
    /// What it would be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::json)]
    pub input: Option<Json>,
    /// Instead of the input, what matters of it: a command, a path or an address, as the tool takes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// What the rules say of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ruling {
    /// What would be done; none is what the agent's own rules say.
    #[schema(schema_with = schema::or_null::effect)]
    pub effect: Option<Effect>,
    /// The rule that says so.
    pub rule: Option<String>,
    /// Why that rule is there.
    pub reason: Option<String>,
    /// How dangerous the step is.
    #[schema(schema_with = schema::risk)]
    pub risk: Risk,
    /// What was found about each of its parts.
    pub parts: Vec<RulingPart>,
}

/// What the rules say of a part of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RulingPart {
    /// The part: a command, a file, a host, or what cannot be told.
    pub what: String,
    /// How dangerous it is.
    #[schema(schema_with = schema::risk)]
    pub risk: Risk,
    /// The rating that says so; none is the built-in one.
    pub rating: Option<String>,
    /// What would be done with it.
    #[schema(schema_with = schema::or_null::effect)]
    pub effect: Option<Effect>,
    /// The rules that are about it, the strictest first.
    pub rules: Vec<RuleSays>,
}

/// What a rule says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuleSays {
    /// The rule.
    pub rule: String,
    /// What it says of this part.
    #[schema(schema_with = schema::effect)]
    pub effect: Effect,
}

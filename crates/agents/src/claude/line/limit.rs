//! Limits of the account.

use lockkeeper_core::agent::AgentSays;
use serde::Deserialize;

use super::super::lax::{Int, Obj, Str};
use crate::clip::clip;

/// What the agent learned of its account's limits with an answer of the model's API.
///
/// The shape is that of the agent's own kit (see docs/agents/claude.md); nobody has recorded one.
#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct RateLimitLine<'a> {
    pub(crate) rate_limit_info: Obj<RateLimit<'a>>,
}

/// How one limit stands.
#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct RateLimit<'a> {
    /// `allowed`, `allowed_warning` or `rejected`.
    status: Str<'a>,
    /// In seconds since 1970.
    #[serde(rename = "resetsAt")]
    resets_at: Int,
    #[serde(rename = "rateLimitType")]
    kind: Str<'a>,
}

impl RateLimit<'_> {
    /// The limit, if it is reached and somebody knows until when.
    pub(crate) fn limit(&self) -> Option<AgentSays> {
        let until = i64::try_from(self.resets_at.0?.checked_mul(1000)?).ok()?;
        (self.status.text() == "rejected")
            .then(|| AgentSays::Limited { until_ms: until, what: clip(self.kind.text()) })
    }
}

//! Claims: the right to a session's next turns.

use lockkeeper_core::claim::ClaimState;
use lockkeeper_core::id::SessionId;
use lockkeeper_core::prompt::{Class, OnPreempt};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{Time, schema};

/// The body of `POST /v1/sessions/{session}/claims`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimRequest {
    /// The class of all its prompts.
    #[schema(schema_with = schema::class)]
    pub class: Class,
    /// How long it lasts without being renewed, in milliseconds: a second to a day.
    pub ttl_ms: u64,
    /// Whether it cuts a turn of a lower class short.
    #[serde(default)]
    pub preempt: bool,
    /// What becomes of its turns if they are cut short.
    #[serde(default)]
    #[schema(schema_with = schema::on_preempt)]
    pub on_preempt: OnPreempt,
}

/// The body of `PUT /v1/sessions/{session}/claims/{claim}`, which lets a claim last longer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimRenewal {
    /// How long from now, in milliseconds; without it, as long as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
}

/// The query of `GET /v1/sessions/{session}/claims/{claim}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ClaimQuery {
    /// Answer when this is so, or when it can never be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<ClaimWait>,
    /// How long to wait, in milliseconds; then the answer is the problem `wait_timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClaimWait {
    /// That the next turns are the claim's.
    Held,
}

/// A claim that is held or waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Claim {
    /// Its name: `SESSION.k1`.
    pub id: String,
    /// The session.
    #[schema(value_type = String)]
    pub session: SessionId,
    /// Who has it.
    pub owner: String,
    /// The class of its prompts.
    #[schema(schema_with = schema::class)]
    pub class: Class,
    /// How it stands.
    #[schema(schema_with = schema::claim_state)]
    pub state: ClaimState,
    /// How many prompts and claims go before it; 0 once it is held.
    pub queued_behind: u32,
    /// The first prompt that waits and comes after it, its own included: `SESSION.p1`.
    pub goes_before: Option<String>,
    /// The turn that it cuts short just now: `SESSION.t1`.
    pub preempted: Option<String>,
    /// Whether it cuts a turn of a lower class short.
    pub preempt: bool,
    /// What becomes of its turns if they are cut short.
    #[schema(schema_with = schema::on_preempt)]
    pub on_preempt: OnPreempt,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub made: Time,
    /// When it expires, unless its turn runs then or it is renewed.
    #[schema(value_type = String, format = DateTime)]
    pub expires: Time,
}

//! `result` and `command_lifecycle`: how turns and prompts end.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::claude::lax::{Flag, Float, Int, Str};

/// A `result`: the end of a turn.
#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct ResultLine<'a> {
    pub(crate) subtype: Str<'a>,
    pub(crate) session_id: Str<'a>,
    pub(crate) is_error: Flag,
    pub(crate) api_error_status: Int,
    pub(crate) api_error: Str<'a>,
    pub(crate) result: Str<'a>,
    pub(crate) stop_reason: Str<'a>,
    pub(crate) terminal_reason: Str<'a>,
    pub(crate) errors: Option<&'a RawValue>,
    pub(crate) total_cost_usd: Float,
    pub(crate) usage: Option<&'a RawValue>,
    pub(crate) num_turns: Int,
    pub(crate) origin: Option<&'a RawValue>,
    pub(crate) user_message_uuids: Option<&'a RawValue>,
}

/// The tokens of a turn.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Tokens {
    #[serde(rename = "input_tokens")]
    pub(crate) input: Int,
    #[serde(rename = "output_tokens")]
    pub(crate) output: Int,
    #[serde(rename = "cache_read_input_tokens")]
    pub(crate) cache_read: Int,
    #[serde(rename = "cache_creation_input_tokens")]
    pub(crate) cache_write: Int,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct Origin<'a> {
    pub(crate) kind: Str<'a>,
}

/// A `command_lifecycle` (2.1.329).
#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct LifecycleLine<'a> {
    pub(crate) command_uuid: Str<'a>,
    pub(crate) state: Str<'a>,
}

//! The control protocol, in either direction.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::claude::lax::{Obj, Str};

/// A `control_request`, `control_response` or `control_cancel_request`, in either direction.
#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct ControlLine<'a> {
    #[serde(rename = "type")]
    pub(crate) kind: Str<'a>,
    pub(crate) request_id: Option<&'a RawValue>,
    pub(crate) request: Obj<ControlRequest<'a>>,
    pub(crate) response: Obj<ControlResponse<'a>>,
    /// Of a prompt.
    pub(crate) uuid: Str<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct ControlRequest<'a> {
    pub(crate) subtype: Str<'a>,
    pub(crate) tool_name: Str<'a>,
    pub(crate) input: Option<&'a RawValue>,
    pub(crate) title: Str<'a>,
    pub(crate) description: Str<'a>,
    pub(crate) decision_reason: Str<'a>,
    pub(crate) decision_reason_type: Str<'a>,
    pub(crate) permission_suggestions: Option<&'a RawValue>,
    pub(crate) tool_use_id: Str<'a>,
    pub(crate) agent_id: Str<'a>,
    pub(crate) callback_id: Str<'a>,
    pub(crate) mcp_server_name: Str<'a>,
    pub(crate) message: Str<'a>,
    pub(crate) mode: Str<'a>,
    pub(crate) url: Str<'a>,
    pub(crate) elicitation_id: Str<'a>,
    pub(crate) requested_schema: Option<&'a RawValue>,
}

/// What a hook is told of a tool that is about to be used.
#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct Announced<'a> {
    pub(crate) hook_event_name: Str<'a>,
    pub(crate) tool_name: Str<'a>,
    pub(crate) tool_input: Option<&'a RawValue>,
    pub(crate) agent_id: Str<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct ControlResponse<'a> {
    pub(crate) subtype: Str<'a>,
    pub(crate) request_id: Option<&'a RawValue>,
    pub(crate) response: Option<&'a RawValue>,
    pub(crate) error: Str<'a>,
    pub(crate) error_code: Str<'a>,
}

/// What answers carry, of all requests together.
#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct Answer<'a> {
    pub(crate) claude_code_version: Str<'a>,
    pub(crate) model: Str<'a>,
    pub(crate) mode: Str<'a>,
    pub(crate) behavior: Str<'a>,
    #[serde(rename = "hookSpecificOutput")]
    pub(crate) hook: Option<&'a RawValue>,
}

/// What a hook answers.
#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct HookAnswer<'a> {
    #[serde(rename = "permissionDecision")]
    pub(crate) decision: Str<'a>,
}

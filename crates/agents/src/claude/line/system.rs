//! `system`: the agent about itself and its tasks.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::claude::lax::{Flag, Float, Int, Str};

/// A `system` line. The members of all subtypes together.
#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct SystemLine<'a> {
    pub(crate) session_id: Str<'a>,
    pub(crate) model: Str<'a>,
    #[serde(rename = "permissionMode")]
    pub(crate) permission_mode: Str<'a>,
    pub(crate) capabilities: Option<&'a RawValue>,
    pub(crate) content: Str<'a>,
    pub(crate) attempt: Int,
    pub(crate) max_retries: Int,
    pub(crate) retry_delay_ms: Float,
    pub(crate) error_status: Int,
    pub(crate) error: Str<'a>,
    pub(crate) tool_use_id: Str<'a>,
    pub(crate) task_id: Str<'a>,
    pub(crate) task_type: Str<'a>,
    pub(crate) description: Str<'a>,
    pub(crate) is_backgrounded: Flag,
    pub(crate) patch: Option<&'a RawValue>,
    pub(crate) tasks: Option<&'a RawValue>,
    pub(crate) status: Str<'a>,
    pub(crate) mcp_server_name: Str<'a>,
    pub(crate) elicitation_id: Str<'a>,
}

/// A task in the list of `background_tasks_changed` (2.1.329).
#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct ListedTask<'a> {
    pub(crate) task_id: Str<'a>,
    pub(crate) task_type: Str<'a>,
    pub(crate) description: Str<'a>,
}

/// The `patch` of a `task_updated`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct TaskPatch<'a> {
    pub(crate) status: Str<'a>,
}

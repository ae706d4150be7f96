//! The shapes of the agent's lines, as far as they matter here. Everything else in a line is skipped.
//!
//! The bound on each shape says that all its members borrow from the line.

mod control;
mod limit;
mod message;
mod stream;
mod system;
mod turn;

use serde::Deserialize;

use super::lax::{Obj, Str};

pub(super) use control::{Announced, Answer, ControlLine, ControlRequest, ControlResponse, HookAnswer};
pub(super) use limit::RateLimitLine;
pub(super) use message::{AssistantLine, Block, Content, Message, ToolResultMeta, ToolUseResult, UserLine};
pub(super) use stream::{Delta, Event};
pub(super) use system::{ListedTask, SystemLine, TaskPatch};
pub(super) use turn::{LifecycleLine, Origin, ResultLine, Tokens};

/// Any line: what tells the kinds apart, and all of what the frequent kinds carry.
///
/// 2.1.329 writes `type` in the middle of a `result`, so nothing can be told from how a line begins.
#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct Line<'a> {
    #[serde(rename = "type")]
    pub(crate) kind: Str<'a>,
    pub(crate) subtype: Str<'a>,
    pub(crate) uuid: Str<'a>,
    /// The subagent's tool call, for lines that are not the main conversation's.
    pub(crate) parent_tool_use_id: Str<'a>,
    pub(crate) event: Obj<Event<'a>>,
    pub(crate) message: Obj<Message<'a>>,
}

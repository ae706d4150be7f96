//! Content within a turn.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::ItemKey;
use crate::json::Json;

/// A finished piece of content. Text that is still streaming is not stored; see the live frames of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its name within the attempt.
    pub key: ItemKey,
    /// The tool call of the agent's subagent that it belongs to, if it is not the main conversation's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ItemKey>,
    /// What it is.
    pub body: ItemBody,
}

/// The kinds of content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemBody {
    /// What the agent said.
    Message {
        /// Its text.
        text: Arc<str>,
        /// Whether it is all of it: a cancelled message is kept as far as it came.
        extent: Extent,
    },
    /// What the agent thought, as far as it shows it.
    Reasoning {
        /// Its text, possibly empty where the agent hides it.
        text: Arc<str>,
        /// Whether it is all of it.
        extent: Extent,
    },
    /// A tool that the agent wants to use.
    ToolCall {
        /// The agent's name for the tool: `Bash`.
        tool: String,
        /// The exact input.
        input: Json,
    },
    /// What came of a tool call; its `key` is that of the call with `:result` behind it.
    ToolResult {
        /// The call.
        call: ItemKey,
        /// How it ended.
        outcome: ToolOutcome,
        /// What the tool printed, as the agent was shown it. Images and other binary parts are named, not kept.
        text: Arc<str>,
    },
    /// Text that the agent's program made, not its model: a retry notice, the output of a local command.
    Notice {
        /// Its text.
        text: Arc<str>,
    },
}

/// Whether a streamed item is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// The agent finished it.
    Whole,
    /// It was cut: an interrupt, an exit, a dropped connection.
    Partial,
}

/// How a tool call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolOutcome {
    /// It ran.
    Ok,
    /// It ran and reported an error.
    Failed,
    /// It was denied at a gate or by the agent's own rules, and did not run.
    Denied,
    /// It was cut by an interrupt and may have run in part.
    Cut,
    /// Nobody can know whether it ran.
    Unknown,
}

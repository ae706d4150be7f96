//! Content of turns.

use lockkeeper_core::id::{ItemKey, SessionId, TurnNo};
use lockkeeper_core::item::{Extent, ItemBody, ToolOutcome};
use lockkeeper_core::json::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Time, schema};

/// A finished piece of content. Which of the optional fields are there depends on the `kind`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Item {
    /// The turn: `SESSION.t1`; absent for what came between turns.
    pub turn: Option<String>,
    /// Its name within the attempt.
    #[schema(value_type = String)]
    pub key: ItemKey,
    /// The tool call of the agent's subagent that it belongs to, if any.
    #[schema(value_type = Option<String>)]
    pub parent: Option<ItemKey>,
    /// When it was finished.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// What it is.
    pub kind: ItemKind,
    /// The text of a message, reasoning, notice or tool result.
    pub text: Option<String>,
    /// Whether a message or reasoning is all of it.
    #[schema(schema_with = schema::or_null::extent)]
    pub extent: Option<Extent>,
    /// The tool of a tool call.
    pub tool: Option<String>,
    /// The exact input of a tool call.
    #[schema(schema_with = schema::json)]
    pub input: Option<Json>,
    /// The tool call that a tool result belongs to.
    #[schema(value_type = Option<String>)]
    pub call: Option<ItemKey>,
    /// How a tool call ended.
    #[schema(schema_with = schema::or_null::tool_outcome)]
    pub outcome: Option<ToolOutcome>,
}

/// The kinds of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ItemKind {
    /// What the agent said.
    Message,
    /// What the agent thought, as far as it shows it.
    Reasoning,
    /// A tool that the agent uses.
    ToolCall,
    /// What came of it.
    ToolResult,
    /// Text of the agent's program rather than its model.
    Notice,
}

impl Item {
    /// An item of a session.
    pub fn new(
        session: &SessionId,
        turn: Option<TurnNo>,
        at: Time,
        item: &lockkeeper_core::item::Item,
    ) -> Self {
        let mut made = Self {
            turn: turn.map(|turn| turn.of(session)),
            key: item.key.clone(),
            parent: item.parent.clone(),
            at,
            kind: ItemKind::Notice,
            text: None,
            extent: None,
            tool: None,
            input: None,
            call: None,
            outcome: None,
        };
        match &item.body {
            ItemBody::Message { text, extent } => {
                made.kind = ItemKind::Message;
                made.text = Some(text.to_string());
                made.extent = Some(*extent);
            }
            ItemBody::Reasoning { text, extent } => {
                made.kind = ItemKind::Reasoning;
                made.text = Some(text.to_string());
                made.extent = Some(*extent);
            }
            ItemBody::ToolCall { tool, input } => {
                made.kind = ItemKind::ToolCall;
                made.tool = Some(tool.clone());
                made.input = Some(input.clone());
            }
            ItemBody::ToolResult { call, outcome, text } => {
                made.kind = ItemKind::ToolResult;
                made.call = Some(call.clone());
                made.outcome = Some(*outcome);
                made.text = Some(text.to_string());
            }
            ItemBody::Notice { text } => made.text = Some(text.to_string()),
        }
        made
    }
}

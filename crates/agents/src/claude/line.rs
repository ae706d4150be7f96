//! The shapes of the agent's lines, as far as they matter here. Everything else in a line is skipped.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::lax::{Flag, Float, Int, Obj, Str};

/// Any line: what tells the kinds apart, and all of what the frequent kinds carry.
///
/// 2.1.329 writes `type` in the middle of a `result`, so nothing can be told from how a line begins.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Line<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Str<'a>,
    #[serde(borrow)]
    pub(super) subtype: Str<'a>,
    #[serde(borrow)]
    pub(super) uuid: Str<'a>,
    /// The subagent's tool call, for lines that are not the main conversation's.
    #[serde(borrow)]
    pub(super) parent_tool_use_id: Str<'a>,
    #[serde(borrow)]
    pub(super) event: Obj<Event<'a>>,
    #[serde(borrow)]
    pub(super) message: Obj<Message<'a>>,
}

/// An event of the model's API, inside `stream_event`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Event<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Str<'a>,
    pub(super) index: Int,
    #[serde(borrow)]
    pub(super) delta: Obj<Delta<'a>>,
    #[serde(borrow)]
    pub(super) content_block: Obj<BlockStart<'a>>,
    #[serde(borrow)]
    pub(super) message: Obj<MessageStart<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Delta<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Str<'a>,
    #[serde(borrow)]
    pub(super) text: Str<'a>,
    #[serde(borrow)]
    pub(super) thinking: Str<'a>,
    #[serde(borrow)]
    pub(super) partial_json: Str<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct BlockStart<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Str<'a>,
    #[serde(borrow)]
    pub(super) id: Str<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct MessageStart<'a> {
    #[serde(borrow)]
    pub(super) id: Str<'a>,
}

/// The message of an `assistant` or `user` line.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Message<'a> {
    #[serde(borrow)]
    pub(super) id: Str<'a>,
    #[serde(borrow)]
    pub(super) model: Str<'a>,
    #[serde(borrow)]
    pub(super) content: Content<'a>,
}

/// Content is a text or a list of blocks.
#[derive(Debug)]
pub(super) enum Content<'a> {
    Text(Cow<'a, str>),
    Blocks(Vec<Block<'a>>),
}

impl Default for Content<'_> {
    fn default() -> Self {
        Self::Blocks(Vec::new())
    }
}

impl Content<'_> {
    /// The text of it; what is no text is named in brackets.
    pub(super) fn to_text(&self) -> String {
        match self {
            Self::Text(text) => text.to_string(),
            Self::Blocks(blocks) => {
                let parts: Vec<String> = blocks.iter().map(Block::to_text).collect();
                parts.join("\n")
            }
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of blocks")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Content::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Content::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Content::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut blocks = Vec::new();
        while let Some(Obj(block)) = seq.next_element()? {
            blocks.extend(block);
        }
        Ok(Content::Blocks(blocks))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Content::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Content::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Content::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Content::default())
    }

    /// One block without its list.
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let block = Block::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        Ok(Content::Blocks(vec![block]))
    }
}

/// A block of a message or of a tool's result.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Block<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Str<'a>,
    #[serde(borrow)]
    pub(super) text: Str<'a>,
    #[serde(borrow)]
    pub(super) thinking: Str<'a>,
    #[serde(borrow)]
    pub(super) id: Str<'a>,
    #[serde(borrow)]
    pub(super) name: Str<'a>,
    #[serde(borrow)]
    pub(super) input: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) tool_use_id: Str<'a>,
    #[serde(borrow)]
    pub(super) content: Option<Content<'a>>,
    pub(super) is_error: Flag,
}

impl Block<'_> {
    fn to_text(&self) -> String {
        match self.kind.get() {
            Some("text") => self.text.text().to_owned(),
            Some(kind) => format!("[{kind}]"),
            None => String::new(),
        }
    }
}

/// What an `assistant` line has beside its message.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AssistantLine<'a> {
    /// The kind of the API's error that a synthetic message tells of.
    #[serde(borrow)]
    pub(super) error: Str<'a>,
    /// 2.1.329: the message was cut.
    pub(super) aborted: Flag,
}

/// What a `user` line has beside its message.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct UserLine<'a> {
    #[serde(rename = "isReplay")]
    pub(super) is_replay: Flag,
    #[serde(borrow)]
    pub(super) tool_use_result: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) tool_result_meta: Option<&'a RawValue>,
}

/// A part of `tool_use_result`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ToolUseResult {
    pub(super) interrupted: Flag,
}

/// One entry of `tool_result_meta` (2.1.329).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ToolResultMeta<'a> {
    #[serde(borrow)]
    pub(super) id: Str<'a>,
    #[serde(borrow)]
    pub(super) permission_decision: Obj<PermissionDecision<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PermissionDecision<'a> {
    #[serde(borrow)]
    pub(super) decision: Str<'a>,
}

/// A `system` line. The members of all subtypes together.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SystemLine<'a> {
    #[serde(borrow)]
    pub(super) session_id: Str<'a>,
    #[serde(borrow)]
    pub(super) model: Str<'a>,
    #[serde(borrow, rename = "permissionMode")]
    pub(super) permission_mode: Str<'a>,
    #[serde(borrow)]
    pub(super) capabilities: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) content: Str<'a>,
    pub(super) attempt: Int,
    pub(super) max_retries: Int,
    pub(super) retry_delay_ms: Float,
    pub(super) error_status: Int,
    #[serde(borrow)]
    pub(super) error: Str<'a>,
    #[serde(borrow)]
    pub(super) tool_use_id: Str<'a>,
    #[serde(borrow)]
    pub(super) task_id: Str<'a>,
    #[serde(borrow)]
    pub(super) task_type: Str<'a>,
    #[serde(borrow)]
    pub(super) description: Str<'a>,
    pub(super) is_backgrounded: Flag,
    #[serde(borrow)]
    pub(super) patch: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) tasks: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) status: Str<'a>,
}

/// A task in the list of `background_tasks_changed` (2.1.329).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ListedTask<'a> {
    #[serde(borrow)]
    pub(super) task_id: Str<'a>,
    #[serde(borrow)]
    pub(super) task_type: Str<'a>,
    #[serde(borrow)]
    pub(super) description: Str<'a>,
}

/// The `patch` of a `task_updated`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TaskPatch<'a> {
    #[serde(borrow)]
    pub(super) status: Str<'a>,
}

/// A `result`: the end of a turn.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ResultLine<'a> {
    #[serde(borrow)]
    pub(super) subtype: Str<'a>,
    #[serde(borrow)]
    pub(super) session_id: Str<'a>,
    pub(super) is_error: Flag,
    pub(super) api_error_status: Int,
    #[serde(borrow)]
    pub(super) api_error: Str<'a>,
    #[serde(borrow)]
    pub(super) result: Str<'a>,
    #[serde(borrow)]
    pub(super) stop_reason: Str<'a>,
    #[serde(borrow)]
    pub(super) terminal_reason: Str<'a>,
    #[serde(borrow)]
    pub(super) errors: Option<&'a RawValue>,
    pub(super) total_cost_usd: Float,
    #[serde(borrow)]
    pub(super) usage: Option<&'a RawValue>,
    pub(super) num_turns: Int,
    #[serde(borrow)]
    pub(super) origin: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) user_message_uuids: Option<&'a RawValue>,
}

/// The tokens of a turn.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Tokens {
    #[serde(rename = "input_tokens")]
    pub(super) input: Int,
    #[serde(rename = "output_tokens")]
    pub(super) output: Int,
    #[serde(rename = "cache_read_input_tokens")]
    pub(super) cache_read: Int,
    #[serde(rename = "cache_creation_input_tokens")]
    pub(super) cache_write: Int,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Origin<'a> {
    #[serde(borrow)]
    pub(super) kind: Str<'a>,
}

/// A `command_lifecycle` (2.1.329).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LifecycleLine<'a> {
    #[serde(borrow)]
    pub(super) command_uuid: Str<'a>,
    #[serde(borrow)]
    pub(super) state: Str<'a>,
}

/// A `control_request`, `control_response` or `control_cancel_request`, in either direction.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ControlLine<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Str<'a>,
    #[serde(borrow)]
    pub(super) request_id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) request: Obj<ControlRequest<'a>>,
    #[serde(borrow)]
    pub(super) response: Obj<ControlResponse<'a>>,
    /// Of a prompt.
    #[serde(borrow)]
    pub(super) uuid: Str<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ControlRequest<'a> {
    #[serde(borrow)]
    pub(super) subtype: Str<'a>,
    #[serde(borrow)]
    pub(super) tool_name: Str<'a>,
    #[serde(borrow)]
    pub(super) input: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) title: Str<'a>,
    #[serde(borrow)]
    pub(super) description: Str<'a>,
    #[serde(borrow)]
    pub(super) decision_reason: Str<'a>,
    #[serde(borrow)]
    pub(super) decision_reason_type: Str<'a>,
    #[serde(borrow)]
    pub(super) permission_suggestions: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) tool_use_id: Str<'a>,
    #[serde(borrow)]
    pub(super) agent_id: Str<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ControlResponse<'a> {
    #[serde(borrow)]
    pub(super) subtype: Str<'a>,
    #[serde(borrow)]
    pub(super) request_id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) response: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) error: Str<'a>,
    #[serde(borrow)]
    pub(super) error_code: Str<'a>,
}

/// What answers carry, of all requests together.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Answer<'a> {
    #[serde(borrow)]
    pub(super) claude_code_version: Str<'a>,
    #[serde(borrow)]
    pub(super) model: Str<'a>,
    #[serde(borrow)]
    pub(super) mode: Str<'a>,
    #[serde(borrow)]
    pub(super) behavior: Str<'a>,
}

/// Reads a member that is kept raw; a member of another shape counts as absent.
pub(super) fn member<'a, T: Deserialize<'a> + Default>(raw: Option<&'a RawValue>) -> T {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

//! `assistant` and `user`: finished content.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::claude::lax::{Flag, Obj, Str, absent};

/// What an `assistant` line has beside its message.
#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct AssistantLine<'a> {
    /// The kind of the API's error that a synthetic message tells of.
    pub(crate) error: Str<'a>,
    /// 2.1.329: the message was cut.
    pub(crate) aborted: Flag,
}

/// What a `user` line has beside its message.
#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct UserLine<'a> {
    #[serde(rename = "isReplay")]
    pub(crate) is_replay: Flag,
    pub(crate) tool_use_result: Option<&'a RawValue>,
    pub(crate) tool_result_meta: Option<&'a RawValue>,
}

/// A part of `tool_use_result`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ToolUseResult {
    pub(crate) interrupted: Flag,
}

/// One entry of `tool_result_meta` (2.1.329).
#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct ToolResultMeta<'a> {
    pub(crate) id: Str<'a>,
    pub(crate) permission_decision: Obj<PermissionDecision<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct PermissionDecision<'a> {
    pub(crate) decision: Str<'a>,
}

/// The message of an `assistant` or `user` line.
#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct Message<'a> {
    pub(crate) id: Str<'a>,
    pub(crate) model: Str<'a>,
    pub(crate) content: Content<'a>,
}

/// Content is a text or a list of blocks.
#[derive(Debug)]
pub(crate) enum Content<'a> {
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
    pub(crate) fn to_text(&self) -> String {
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

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut blocks = Vec::new();
        while let Some(Obj(block)) = seq.next_element()? {
            blocks.extend(block);
        }
        Ok(Content::Blocks(blocks))
    }

    /// One block without its list.
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let block = Block::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        Ok(Content::Blocks(vec![block]))
    }

    absent!(visit_bool: bool, visit_u64: u64, visit_i64: i64, visit_f64: f64);
    absent!(unit);
}

/// A block of a message or of a tool's result.
#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub(crate) struct Block<'a> {
    #[serde(rename = "type")]
    pub(crate) kind: Str<'a>,
    pub(crate) text: Str<'a>,
    pub(crate) thinking: Str<'a>,
    pub(crate) id: Str<'a>,
    pub(crate) name: Str<'a>,
    pub(crate) input: Option<&'a RawValue>,
    pub(crate) tool_use_id: Str<'a>,
    pub(crate) content: Option<Content<'a>>,
    pub(crate) is_error: Flag,
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

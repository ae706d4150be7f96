//! Messages, tool calls and their results, as `assistant` and `user` lines bring them.

use std::sync::Arc;

use lockkeeper_core::agent::AgentSays;
use lockkeeper_core::id::ItemKey;
use lockkeeper_core::item::{Extent, Item, ItemBody};

use super::line::{AssistantLine, Block, Content, Line, Message, UserLine};
use super::stream::{item, key};
use super::tools::{empty_object, ended, json};
use super::wire::ClaudeWire;
use crate::{Decoded, DeltaKind};

impl ClaudeWire {
    pub(super) fn assistant(&mut self, line: Line<'_>, rest: &AssistantLine<'_>, out: &mut Vec<Decoded>) {
        let parent = parent(&line);
        let Some(message) = line.message.0 else { return };
        let synthetic = message.model.text() == "<synthetic>";
        if parent.is_none() {
            self.turns.begin(false, out);
            if synthetic {
                if let (Some(error), Some(signs)) = (rest.error.get(), self.turns.signs()) {
                    signs.error = Some(error.to_owned());
                }
            } else {
                self.turns.spoke(out);
            }
            // Another block, so the one before it was whole.
            self.streams.settle(None, Extent::Whole, out);
        }
        let Message { id, content, .. } = message;
        self.streams.superseded(parent.as_ref(), id.text(), out);
        let from = Source { parent, message: id.text(), line: line.uuid.text(), aborted: rest.aborted.0 };
        match content {
            Content::Text(text) if synthetic => from.notice(0, text.into(), out),
            Content::Text(text) => self.text(&from, 0, DeltaKind::Message, text.into(), out),
            Content::Blocks(blocks) => {
                for (at, block) in blocks.into_iter().enumerate() {
                    if synthetic {
                        from.notice(at, block.text.into_cow().into(), out);
                    } else {
                        self.block(&from, at, block, out);
                    }
                }
            }
        }
    }

    fn block(&mut self, from: &Source<'_>, at: usize, block: Block<'_>, out: &mut Vec<Decoded>) {
        match block.kind.text() {
            "text" => self.text(from, at, DeltaKind::Message, block.text.into_cow().into(), out),
            "thinking" => self.text(from, at, DeltaKind::Reasoning, block.thinking.into_cow().into(), out),
            "redacted_thinking" => self.text(from, at, DeltaKind::Reasoning, "".into(), out),
            "tool_use" | "server_tool_use" | "mcp_tool_use" => {
                if let Some(claim) =
                    self.streams.claim(from.parent.as_ref(), from.message, DeltaKind::ToolInput)
                {
                    claim.end();
                }
                let input = block.input.map_or_else(empty_object, json);
                let body = ItemBody::ToolCall { tool: block.name.text().to_owned(), input };
                let item = Item { key: key(block.id.text()), parent: from.parent.clone(), body };
                out.push(Decoded::Says(AgentSays::ToolStarted { item }));
            }
            // The result of a tool that ran at the model's side is part of the message.
            kind if kind.ends_with("_tool_result") => self.tool_result(&block, &UserLine::default(), out),
            _ => {}
        }
    }

    /// A text of the model. Where it was streamed, it is held until its end is told.
    fn text(
        &mut self,
        from: &Source<'_>,
        at: usize,
        kind: DeltaKind,
        text: Arc<str>,
        out: &mut Vec<Decoded>,
    ) {
        let extent = if from.aborted { Extent::Partial } else { Extent::Whole };
        match self.streams.claim(from.parent.as_ref(), from.message, kind) {
            Some(claim) if from.aborted => {
                let key = claim.end();
                out.push(item(key, from.parent.clone(), kind, text, extent));
            }
            Some(claim) => claim.hold(text),
            None => out.push(item(from.key(at), from.parent.clone(), kind, text, extent)),
        }
    }

    pub(super) fn user(&mut self, line: &Line<'_>, rest: &UserLine<'_>, out: &mut Vec<Decoded>) {
        let Some(message) = &line.message.0 else { return };
        if rest.is_replay.0 && self.turns.replayed(line.uuid.text(), out) {
            return;
        }
        match &message.content {
            Content::Text(text) => {
                if let Some(text) = local_output(text) {
                    let key = key(line.uuid.text());
                    out.push(notice(key, None, text.into()));
                }
            }
            Content::Blocks(blocks) => {
                for block in blocks {
                    match block.kind.text() {
                        "tool_result" => self.tool_result(block, rest, out),
                        "text" if block.text.text().starts_with("[Request interrupted by user") => {
                            self.streams.settle(parent(line).as_ref(), Extent::Partial, out);
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    fn tool_result(&mut self, block: &Block<'_>, rest: &UserLine<'_>, out: &mut Vec<Decoded>) {
        let call = block.tool_use_id.text();
        let text = block.content.as_ref().map(Content::to_text).unwrap_or_default();
        let outcome = self.asks.outcome(call, block.is_error.0, &text, rest);
        out.push(ended(call, outcome, text.into()));
    }
}

/// Where a block comes from.
struct Source<'a> {
    parent: Option<ItemKey>,
    message: &'a str,
    /// The UUID of the line.
    line: &'a str,
    aborted: bool,
}

impl Source<'_> {
    /// The name of a block that was not streamed. Lines of one message have one block each and do not tell its place,
    /// so the line's own UUID stands for it.
    fn key(&self, at: usize) -> ItemKey {
        match (self.line, at) {
            ("", at) => key(&format!("{}:{at}", self.message)),
            (line, 0) => key(&format!("{}:{line}", self.message)),
            (line, at) => key(&format!("{}:{line}:{at}", self.message)),
        }
    }

    fn notice(&self, at: usize, text: Arc<str>, out: &mut Vec<Decoded>) {
        if !text.is_empty() && &*text != "(no content)" {
            out.push(notice(self.key(at), self.parent.clone(), text));
        }
    }
}

/// The subagent's call that a line belongs to; none for the main conversation.
pub(super) fn parent(line: &Line<'_>) -> Option<ItemKey> {
    line.parent_tool_use_id.get().map(key)
}

/// A text of the agent's program.
pub(super) fn notice(key: ItemKey, parent: Option<ItemKey>, text: Arc<str>) -> Decoded {
    Decoded::Says(AgentSays::Item { item: Item { key, parent, body: ItemBody::Notice { text } } })
}

/// The output of a command that the agent's program ran itself.
fn local_output(text: &str) -> Option<&str> {
    ["stdout", "stderr"].into_iter().find_map(|stream| {
        let text = text.strip_prefix("<local-command-")?.strip_prefix(stream)?.strip_prefix('>')?;
        text.strip_suffix('>')?.strip_suffix(stream)?.strip_suffix("</local-command-")
    })
}

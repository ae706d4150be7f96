//! Messages that are streaming: their blocks, from the first delta until the finished item.
//!
//! The `assistant` line of a block comes before the block's `content_block_stop`. When a turn is cut, 2.1.197 sends the
//! same `assistant` line with what there is so far, and never the stop: so a finished text is held until the next line
//! of its message tells which of the two it was.

use std::sync::Arc;

use lockkeeper_core::agent::AgentSays;
use lockkeeper_core::id::ItemKey;
use lockkeeper_core::item::{Extent, Item, ItemBody};

use super::line::{Delta, Event};
use crate::limits::{BLOCKS, PARTIAL_BYTES, STREAMS};
use crate::{Decoded, DeltaKind};

/// All messages that stream: one for the main conversation, one for each subagent that streams.
#[derive(Debug, Default)]
pub(super) struct Streams(Vec<Stream>);

#[derive(Debug)]
struct Stream {
    /// The subagent's tool call; none for the main conversation.
    parent: Option<ItemKey>,
    message: String,
    blocks: Vec<Block>,
}

#[derive(Debug)]
struct Block {
    index: u64,
    key: ItemKey,
    kind: DeltaKind,
    /// What came so far, up to [`PARTIAL_BYTES`].
    text: String,
    /// More came than that.
    overflown: bool,
    /// Its `assistant` line came, its stop did not.
    told: Option<Arc<str>>,
}

impl Streams {
    /// Whether a message streams, be it between two of its blocks.
    pub(super) fn is_open(&self) -> bool {
        !self.0.is_empty()
    }

    pub(super) fn event(&mut self, parent: Option<ItemKey>, event: &Event<'_>, out: &mut Vec<Decoded>) {
        match event.kind.text() {
            "message_start" => {
                self.close(parent.as_ref(), Cut::Restarted, out);
                let message = event.message.0.as_ref().map(|message| message.id.text().to_owned());
                self.open(Stream { parent, message: message.unwrap_or_default(), blocks: Vec::new() }, out);
            }
            "content_block_start" => {
                let Some(stream) = self.of(parent.as_ref()) else { return };
                stream.start(event);
            }
            "content_block_delta" => {
                let Some(stream) = self.of(parent.as_ref()) else { return };
                if let Some(delta) = &event.delta.0 {
                    stream.delta(event.index.or_zero(), delta, out);
                }
            }
            "content_block_stop" => {
                let Some(stream) = self.of(parent.as_ref()) else { return };
                stream.stop(event.index.or_zero(), out);
            }
            "message_stop" => self.close(parent.as_ref(), Cut::Restarted, out),
            // `message_delta`, `ping`, `error`: the `assistant` and `result` lines say what matters of them.
            _ => {}
        }
    }

    /// The open block of this message that a block of an `assistant` line is about.
    pub(super) fn claim(
        &mut self,
        parent: Option<&ItemKey>,
        message: &str,
        kind: DeltaKind,
    ) -> Option<Claim<'_>> {
        let stream = self.of(parent).filter(|stream| stream.message == message)?;
        let at = stream.blocks.iter().position(|block| block.kind == kind && block.told.is_none())?;
        Some(Claim { stream, at })
    }

    /// Closes what a stream has open, because of this.
    pub(super) fn close(&mut self, parent: Option<&ItemKey>, cut: Cut, out: &mut Vec<Decoded>) {
        if let Some(at) = self.0.iter().position(|stream| stream.parent.as_ref() == parent) {
            self.0.swap_remove(at).close(cut, out);
        }
    }

    /// Another message of the same speaker came whole: the one that streams was given up.
    pub(super) fn superseded(&mut self, parent: Option<&ItemKey>, message: &str, out: &mut Vec<Decoded>) {
        if self.of(parent).is_some_and(|stream| stream.message != message) {
            self.close(parent, Cut::Restarted, out);
        }
    }

    /// Gives out the texts whose end was not told, as this much of them.
    pub(super) fn settle(&mut self, parent: Option<&ItemKey>, extent: Extent, out: &mut Vec<Decoded>) {
        if let Some(stream) = self.of(parent) {
            let parent = stream.parent.clone();
            stream.blocks.retain_mut(|block| match block.told.take() {
                Some(text) => {
                    out.push(item(block.key.clone(), parent.clone(), block.kind, text, extent));
                    false
                }
                None => true,
            });
        }
    }

    /// Closes everything: there will be no more lines.
    pub(super) fn finish(&mut self, out: &mut Vec<Decoded>) {
        for stream in self.0.drain(..) {
            stream.close(Cut::Ended, out);
        }
    }

    fn of(&mut self, parent: Option<&ItemKey>) -> Option<&mut Stream> {
        self.0.iter_mut().find(|stream| stream.parent.as_ref() == parent)
    }

    fn open(&mut self, stream: Stream, out: &mut Vec<Decoded>) {
        if self.0.len() == STREAMS {
            self.0.swap_remove(0).close(Cut::Restarted, out);
        }
        self.0.push(stream);
    }
}

/// Why a message stops in its middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// The agent begins it anew, or gave it up: what was streamed is void.
    Restarted,
    /// The turn was cancelled or the output ended: what was streamed is all there is.
    Ended,
}

/// An open block whose `assistant` line came.
pub(super) struct Claim<'s> {
    stream: &'s mut Stream,
    at: usize,
}

impl Claim<'_> {
    /// Holds the text until the next line tells whether it is whole.
    pub(super) fn hold(self, text: Arc<str>) {
        let block = &mut self.stream.blocks[self.at];
        block.text = String::new();
        block.told = Some(text);
    }

    /// Ends the block here, and gives its name.
    pub(super) fn end(self) -> ItemKey {
        self.stream.blocks.swap_remove(self.at).key
    }
}

impl Stream {
    fn start(&mut self, event: &Event<'_>) {
        let Some(start) = &event.content_block.0 else { return };
        let index = event.index.or_zero();
        self.blocks.retain(|block| block.index != index);
        if self.blocks.len() == BLOCKS {
            return;
        }
        let (key, kind) = match start.kind.text() {
            "text" => (block_key(&self.message, index), DeltaKind::Message),
            "thinking" => (block_key(&self.message, index), DeltaKind::Reasoning),
            "tool_use" | "server_tool_use" | "mcp_tool_use" => (key(start.id.text()), DeltaKind::ToolInput),
            _ => return,
        };
        self.blocks.push(Block { index, key, kind, text: String::new(), overflown: false, told: None });
    }

    fn delta(&mut self, index: u64, delta: &Delta<'_>, out: &mut Vec<Decoded>) {
        let Some(block) = self.blocks.iter_mut().find(|block| block.index == index) else { return };
        let text = match delta.kind.text() {
            "text_delta" => delta.text.text(),
            "thinking_delta" => delta.thinking.text(),
            "input_json_delta" => delta.partial_json.text(),
            _ => return,
        };
        if text.is_empty() {
            return;
        }
        block.overflown |= block.text.len() + text.len() > PARTIAL_BYTES;
        if block.kind != DeltaKind::ToolInput && !block.overflown {
            block.text.push_str(text);
        }
        out.push(Decoded::Delta { key: block.key.clone(), kind: block.kind, text: text.to_owned() });
    }

    fn stop(&mut self, index: u64, out: &mut Vec<Decoded>) {
        let Some(at) = self.blocks.iter().position(|block| block.index == index) else { return };
        let block = &mut self.blocks[at];
        // Without an `assistant` line before, the block was given up; `message_stop` drops it.
        if let Some(text) = block.told.take() {
            let block = self.blocks.swap_remove(at);
            out.push(item(block.key, self.parent.clone(), block.kind, text, Extent::Whole));
        }
    }

    fn close(self, cut: Cut, out: &mut Vec<Decoded>) {
        for block in self.blocks {
            let (text, extent) = match (block.told, cut) {
                (Some(text), Cut::Restarted) => (text, Extent::Whole),
                (Some(text), Cut::Ended) => (text, Extent::Partial),
                (None, Cut::Ended) if !block.text.is_empty() => (block.text.into(), Extent::Partial),
                (None, Cut::Restarted | Cut::Ended) => {
                    out.push(Decoded::Dropped { key: block.key });
                    continue;
                }
            };
            out.push(item(block.key, self.parent.clone(), block.kind, text, extent));
        }
    }
}

/// A finished text.
pub(super) fn item(
    key: ItemKey,
    parent: Option<ItemKey>,
    kind: DeltaKind,
    text: Arc<str>,
    extent: Extent,
) -> Decoded {
    let body = match kind {
        DeltaKind::Reasoning => ItemBody::Reasoning { text, extent },
        DeltaKind::Message | DeltaKind::ToolInput => ItemBody::Message { text, extent },
    };
    Decoded::Says(AgentSays::Item { item: Item { key, parent, body } })
}

/// The name of a streamed block: the message's id and the block's place in it.
fn block_key(message: &str, index: u64) -> ItemKey {
    key(&format!("{message}:{index}"))
}

/// A name out of an id of the agent's; what a name may not have is left out.
pub(super) fn key(id: &str) -> ItemKey {
    if let Ok(key) = id.parse() {
        return key;
    }
    let text: String = id.chars().filter(char::is_ascii_graphic).take(200).collect();
    let text = if text.is_empty() { "unnamed".to_owned() } else { text };
    #[expect(clippy::expect_used, reason = "1 to 200 visible ASCII characters, as just made")]
    text.parse().expect("visible ASCII characters are a valid key")
}

//! The fold over one attempt's lines.

use lockkeeper_core::agent::{Action, AgentSays};
use lockkeeper_core::id::{AgentSessionId, AttemptNo, ItemKey, SessionId, TaskKey};

/// Translates one attempt's lines into the core's vocabulary, and actions into bytes.
///
/// It is a fold: feed it, in the order of the journal, every accepted line of standard input to
/// [`written`](Wire::written) and every line of standard output to [`decode`](Wire::decode). To rebuild it, make a
/// fresh one from a [`WireSeed`] and feed it again from the start of the last [quiet](Wire::is_quiet) point, throwing
/// away what it says about lines that were ingested before.
pub trait Wire: Send + std::fmt::Debug {
    /// Reads one line of standard output, without its `\n`. Never panics and never gives up: what it cannot read
    /// becomes [`AgentSays::Malformed`] or [`AgentSays::Unrecognized`]. Says at least one thing.
    fn decode(&mut self, line: &[u8], out: &mut Vec<Decoded>);

    /// Learns of a line that is longer than one that is read, by its start. What waits for an answer is told, so that it
    /// gets one.
    fn oversized(&mut self, start: &[u8], out: &mut Vec<Decoded>);

    /// Learns what was written to standard input, once the journal has it as accepted: whole lines, one or more.
    fn written(&mut self, bytes: &[u8]);

    /// Makes the bytes of an action, ending with `\n`. The same action makes the same bytes in every wire of the
    /// attempt. `prompt_text` counts for [`Action::Prompt`] alone.
    fn encode(&self, action: &Action, prompt_text: &str) -> Vec<u8>;

    /// Whether nothing that was said so far is needed to read what follows, beyond what a [`WireSeed`] carries.
    /// True between turns, with no prompt in flight and no block half streamed.
    fn is_quiet(&self) -> bool;

    /// Learns that standard output ended; closes what is open as [partial](lockkeeper_core::item::Extent::Partial).
    fn finish(&mut self, out: &mut Vec<Decoded>);
}

/// What a line meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// Something for the core.
    Says(AgentSays),
    /// A piece of an item that is still streaming, for live frames; never stored.
    Delta {
        /// The name that the finished item will have.
        key: ItemKey,
        /// What it is a piece of.
        kind: DeltaKind,
        /// The piece.
        text: String,
    },
    /// The item that was streaming under this name will not come: the agent starts it anew. Its deltas are void.
    Dropped {
        /// The name.
        key: ItemKey,
    },
}

/// What a [`Decoded::Delta`] is a piece of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeltaKind {
    /// A message.
    Message,
    /// Reasoning.
    Reasoning,
    /// The input of a tool call, as JSON text.
    ToolInput,
}

/// What a wire must know from the start: the attempt that it belongs to, and what the session's state has kept of
/// everything that the agent said before.
///
/// For a fresh attempt the rest is empty. For a rebuilt one it is the state as it was committed last, even though
/// the wire reads again from an earlier point: each of these facts is told anew by the lines in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireSeed {
    /// The session.
    pub session: SessionId,
    /// The attempt.
    pub attempt: AttemptNo,
    /// The conversation's name, if the agent has told it in this attempt.
    pub conversation: Option<AgentSessionId>,
    /// The model that it said it works with, in this attempt.
    pub model: Option<String>,
    /// The permission mode that it said it works with, in this attempt.
    pub mode: Option<String>,
    /// The tasks beside the turns that are still at work.
    pub tasks: Vec<TaskKey>,
}

impl WireSeed {
    /// The seed of a fresh attempt.
    pub fn fresh(session: SessionId, attempt: AttemptNo) -> Self {
        Self { session, attempt, conversation: None, model: None, mode: None, tasks: Vec::new() }
    }
}

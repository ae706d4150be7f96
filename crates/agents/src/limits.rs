//! Every limit of the adapters, with its reason.

/// The longest line that is parsed, in bytes. Claude Code sends images and files in tool results, of at most 16 MiB, and
/// asks about inputs which may stand in a line twice (the title), longer by what JSON escapes: one of 10 MB has room.
pub const LINE_BYTES: usize = 32 * 1024 * 1024;

/// What is kept of a longer line, in bytes: enough to see whether it asks for something.
pub const START_BYTES: usize = 1024;

/// Prompts in flight that a wire remembers. We keep at most one; more is somebody else's hand on standard input.
pub const PROMPTS: usize = 64;

/// Messages that stream at once: the main conversation and its subagents.
pub const STREAMS: usize = 64;

/// Blocks of one message that are open at once; the protocol opens one at a time.
pub const BLOCKS: usize = 256;

/// Questions and denials that a wire remembers until the result of their tool.
pub const ASKS: usize = 1024;

/// The longest text of an unfinished block that is kept, in bytes, in case it is cut. Deltas go on beyond it.
pub const PARTIAL_BYTES: usize = 1024 * 1024;

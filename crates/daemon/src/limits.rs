//! Every limit of the daemon, with its reason.

/// Messages that wait for one session's task. A sender beyond it waits, and its connection with it.
pub(crate) const MAILBOX: usize = 256;

/// Inputs of one step of a session's task, before they are committed: the latency of a commit shared by many lines.
pub(crate) const BATCH_INPUTS: usize = 2048;

/// Journal bytes that one step reads at the most, so that a flood of one session leaves the others their turn.
pub(crate) const BATCH_BYTES: u64 = 2 * 1024 * 1024;

/// Frames to a holder that wait while it does not read. More than one prompt is never in flight.
pub(crate) const LINK_FRAMES: usize = 64;

/// Text of a streaming item that somebody who joins late is given, in bytes.
pub(crate) const LIVE_BYTES: usize = 256 * 1024;

/// Batches that wait for one subscriber; one that is slower reads from the log instead. A batch may hold megabytes.
pub(crate) const FEED_BATCHES: usize = 64;

/// Events that one read of the log returns to a subscriber.
pub(crate) const READ_EVENTS: usize = 512;

/// An idle session's task ends after so many milliseconds; the next message starts it again.
pub(crate) const IDLE_MS: u64 = 20_000;

/// A commit of the state itself every so many events, so that a start folds few.
pub(crate) const SNAPSHOT_EVENTS: u64 = 512;

/// The prompts that wait in a state that is kept as a snapshot, in bytes.
pub(crate) const SNAPSHOT_BYTES: usize = 1024 * 1024;

/// Sessions that are settled at once at a start.
pub(crate) const SETTLING: usize = 64;

/// How long the answer to an idempotency key is kept, in milliseconds: a week, beyond any caller's patience.
pub(crate) const KEYS_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// How long after a failed commit, or a holder that refuses, the next try comes, in milliseconds.
pub(crate) const RETRY_MS: u64 = 1000;

/// How often a silent subscription shows that it lives, in milliseconds.
pub(crate) const HEARTBEAT_MS: u64 = 15_000;

/// How far back a line of standard error may begin that is read again after a restart, in bytes of the journal.
pub(crate) const STDERR_CARRY_BYTES: u64 = 64 * 1024;

/// The longest line of standard error that an exit keeps, in bytes.
pub(crate) const STDERR_LINE_BYTES: usize = 2000;

/// How long a graceful end waits for connections, in milliseconds.
pub(crate) const GOODBYE_MS: u64 = 2000;

/// How often a lock that nobody alive seems to hold is tried again: a second, beyond any delay of an `exec`.
pub(crate) const LOCK_TRIES: u32 = 100;

/// The pause between those tries, in milliseconds.
pub(crate) const LOCK_STEP_MS: u64 = 10;

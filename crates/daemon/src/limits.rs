//! Every limit of the daemon, with its reason.

/// Messages that wait for one session's task. A sender beyond it waits, and its connection with it.
pub(crate) const MAILBOX: usize = 256;

/// Inputs of one step of a session's task, before they are committed: the latency of a commit shared by many lines.
pub(crate) const BATCH_INPUTS: usize = 2048;

/// Journal bytes that one step reads at the most, so that a flood of one session leaves the others their turn.
pub(crate) const BATCH_BYTES: u64 = 2 * 1024 * 1024;

/// Frames to a holder that wait while it does not read. More than one prompt is never in flight.
pub(crate) const LINK_FRAMES: usize = 64;

/// How long a holder that lives may take to listen, in milliseconds.
pub(crate) const LISTEN_MS: u64 = 5000;

/// The pause between two tries to reach it, in milliseconds: its socket is there within a few.
pub(crate) const ATTACH_STEP_MS: u64 = 10;

/// How long a launch that was given up is looked after, in milliseconds: a holder that starts later finds its directory
/// sealed.
pub(crate) const DISCARD_MS: u64 = 60_000;

/// The pause between two looks at it, in milliseconds.
pub(crate) const DISCARD_STEP_MS: u64 = 100;

/// How far the journal is taken in before the holder is told, and before a position without events is committed, in
/// bytes: a fraction of what a holder lets its agent be ahead.
pub(crate) const CONSUMED_BYTES: u64 = 1024 * 1024;

/// Text of a streaming item that somebody who joins late is given, in bytes.
pub(crate) const LIVE_BYTES: usize = 256 * 1024;

/// Batches that wait for the slowest subscriber; whoever is slower reads from the log instead. In a flood a batch holds a
/// megabyte or two, and all of them stay in memory for as long as somebody has not read the first.
pub(crate) const FEED_BATCHES: usize = 16;

/// Events that one read of the log returns to a subscriber.
pub(crate) const READ_EVENTS: usize = 512;

/// Bytes after which such a read is cut: a subscriber that does not read has them in memory, and there may be many.
pub(crate) const READ_BYTES: usize = 128 << 10;

/// Gates that one read of a list returns; the input of each may be long.
pub(crate) const READ_GATES: usize = 64;

/// An idle session's task ends after so many milliseconds; the next message starts it again.
pub(crate) const IDLE_MS: u64 = 20_000;

/// A commit of the state itself every so many events, so that a start folds few.
pub(crate) const SNAPSHOT_EVENTS: u64 = 512;

/// The prompts that wait in a state that is kept as a snapshot, in bytes.
pub(crate) const SNAPSHOT_BYTES: usize = 1024 * 1024;

/// Between two looks at the memory while somebody waits for some, in milliseconds: an agent takes most of its memory
/// within about that time after its start, so that the next look shows it.
pub(crate) const MEMORY_LOOK_MS: u64 = 2000;

/// Sessions that are settled at once at a start.
pub(crate) const SETTLING: usize = 64;

/// How long the answer to an idempotency key is kept, in milliseconds: a week, beyond any caller's patience.
pub(crate) const KEYS_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// How long a holder may take to answer, in milliseconds, before `lk why` says that it is waited for. It answers at once, or as soon
/// as its disk has taken what it was asked for.
pub(crate) const ANSWER_MS: u64 = 10_000;

/// How long after a failed commit, or a holder that refuses, the next try comes, in milliseconds.
pub(crate) const RETRY_MS: u64 = 1000;

/// How far back a line of standard error may begin that is read again after a restart, in bytes of the journal.
pub(crate) const STDERR_CARRY_BYTES: u64 = 64 * 1024;

/// The longest line of standard error that an exit keeps, in bytes.
pub(crate) const STDERR_LINE_BYTES: usize = 2000;

/// How often keys that are older than that are deleted, in milliseconds: a day's worth of keys is little.
pub(crate) const FORGET_MS: u64 = 24 * 60 * 60 * 1000;

/// Connections that are served at once: half of the 1024 files that a process usually may have open. The other half is
/// for holders and journals. Those beyond it are answered with the problem `busy`.
pub(crate) const CONNECTIONS: usize = 512;

/// How long a client may take to send the head of a request, in milliseconds. A connection that is kept open for a next
/// request ends then too.
pub(crate) const HEAD_MS: u64 = 30_000;

/// How long a client may take to send the body of a request, in milliseconds: beyond what the largest takes on a socket
/// of the same machine.
pub(crate) const BODY_MS: u64 = 60_000;

/// What one connection buffers of a request's head or of an answer, in bytes.
pub(crate) const CONNECTION_BYTES: usize = 64 * 1024;

/// Bytes of a long answer that are put together before they are sent on.
pub(crate) const PIECE_BYTES: usize = 256 * 1024;

/// How long a program may take to tell its version, in milliseconds: some agents take seconds on a busy machine.
pub(crate) const VERSION_MS: u64 = 5000;

/// The size at which a log file is put aside, in bytes: what an editor opens with ease.
pub(crate) const LOG_BYTES: u64 = 10 * 1024 * 1024;

/// How many log files are kept that were put aside: weeks of an ordinary daemon.
pub(crate) const LOG_FILES: u32 = 3;

/// How long a graceful end waits for connections, in milliseconds.
pub(crate) const GOODBYE_MS: u64 = 2000;

/// How long tasks may take to end once connections are cut, in milliseconds.
pub(crate) const ABORT_MS: u64 = 500;

/// How often a lock that nobody alive seems to hold, or a socket on which somebody listens, is tried again: a second, beyond any delay of an `exec`.
pub(crate) const LOCK_TRIES: u32 = 100;

/// How often the daemon looks whether its socket is there still, in milliseconds: a logout may take it away, and nobody could reach the
/// daemon any more.
pub(crate) const SOCKET_LOOK_MS: u64 = 2000;

/// The pause between those tries, in milliseconds.
pub(crate) const LOCK_STEP_MS: u64 = 10;

/// How long the ancestors of a caller may take to be read, in milliseconds: they are a few files of the kernel, which can
/// take their time only where a process of them is stuck.
pub(crate) const TRACE_MS: u64 = 500;

/// How much longer what only people may do waits for them, in milliseconds: a machine that is so slow has to be slow for
/// everything else too, and somebody looks at it.
pub(crate) const TRACE_LATE_MS: u64 = 10_000;

/// The longest body of a webhook's delivery, in bytes, unless its settings say otherwise: what GitHub sends is a fraction.
pub(crate) const WEBHOOK_BODY_BYTES: usize = 1024 * 1024;

/// The most that the settings may say: GitHub cuts off at 25 MB.
pub(crate) const WEBHOOK_BODY_MAX_BYTES: usize = 25 * 1024 * 1024;

/// How far a signature's time may be from ours, in seconds: what the Standard Webhooks libraries allow.
pub(crate) const WEBHOOK_CLOCK_S: u64 = 300;

/// The shortest secret of a webhook, in bytes: 128 bits, if they are drawn at random.
pub(crate) const WEBHOOK_SECRET_BYTES: usize = 16;

/// The longest name of a webhook, in bytes: it is a part of paths and of the callers that people see.
pub(crate) const WEBHOOK_NAME_BYTES: usize = 64;

/// Steps of one template: a list of some thousand entries, and no endless loop.
pub(crate) const TEMPLATE_FUEL: u64 = 100_000;

/// How long the body of a delivery may take, in milliseconds: GitHub gives up after ten seconds.
pub(crate) const WEBHOOK_BODY_MS: u64 = 10_000;

/// How often a delivery looks for its session again when others make and remove it meanwhile.
pub(crate) const WEBHOOK_TRIES: u32 = 20;

/// The pause between those tries, in milliseconds: what somebody else does meanwhile is a commit.
pub(crate) const WEBHOOK_STEP_MS: u64 = 50;

/// How many connections the listener for webhooks serves at a time. Those beyond it are told that there is a crowd.
pub(crate) const WEBHOOK_CONNECTIONS: usize = 64;

/// How many connections it takes at all. Others wait in the kernel, so that strangers on the machine can use up neither the
/// files of the daemon nor the connections of its user.
pub(crate) const WEBHOOK_CONNECTIONS_MAX: usize = 128;

/// How long such a connection may last, in milliseconds: whoever has not sent and read in that time does not want to.
pub(crate) const WEBHOOK_CONNECTION_MS: u64 = 60_000;

/// How often the log tells of deliveries of one webhook that were not believed, in milliseconds: strangers can send any
/// number, and the log has an end.
pub(crate) const WEBHOOK_LOG_MS: u64 = 60_000;

/// The longest kind of event, name, label, topic and reason of a delivery, in bytes: what is remembered of it is small.
pub(crate) const WEBHOOK_WORD_BYTES: usize = 500;

/// How many deliveries of a webhook that led to nothing are remembered.
pub(crate) const WEBHOOK_FRUITLESS: usize = 100;

/// How many deliveries are listed unless more are asked for.
pub(crate) const WEBHOOK_LISTED: usize = 100;

/// The most deliveries that can be asked for at once.
pub(crate) const WEBHOOK_LISTED_MAX: usize = 1_000;

/// How many programs that tell people run at once: a burst of questions is no reason to start dozens.
pub(crate) const NOTIFIERS: usize = 4;

/// How long such a program may take, in milliseconds.
pub(crate) const NOTIFY_MS: u64 = 10_000;

/// The longest file of rules, in bytes: each rule is looked at whenever an agent asks.
pub(crate) const RULES_FILE_BYTES: u64 = 256 * 1024;

/// How long whoever decided waits for the rules of the decision to be written, in milliseconds: a disk that hangs is no
/// reason to keep them.
pub(crate) const RULE_WRITE_MS: u64 = 10_000;

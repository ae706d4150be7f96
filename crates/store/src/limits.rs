//! Every limit of the store, with its reason.

/// Items (appends, removals) that may wait for the writer. It takes thousands per commit, so this is several commits.
pub const QUEUE_ITEMS: usize = 16 * 1024;

/// Bytes of events that may wait for the writer. Bounds memory when the disk stalls.
pub const QUEUE_BYTES: usize = 64 * 1024 * 1024;

/// Events after which a commit takes no further submission. From about 100 on a sync costs next to nothing per event; more only
/// makes the first one wait.
pub const COMMIT_EVENTS: usize = 4096;

/// Bytes after which a commit takes no further submission: what a slow disk writes in a tenth of a second.
pub const COMMIT_BYTES: usize = 8 * 1024 * 1024;

/// The largest event, row or snapshot in bytes. A prompt may have 10 MiB, which JSON can make six times as long.
pub const EVENT_BYTES: usize = 128 * 1024 * 1024;

/// Payloads above this many bytes are kept once each in a table of their own, by hash: long rows make every scan slow.
pub const INLINE_BYTES: usize = 32 * 1024;

/// Events in one page, whatever is asked for.
pub const PAGE_EVENTS: usize = 10_000;

/// Bytes after which a page is cut; it holds at least one event.
pub const PAGE_BYTES: usize = 8 * 1024 * 1024;

/// Events that are looked at for one page when a filter drops most: a read must stay short, for the write-ahead log
/// cannot be reused below it.
pub const PAGE_SCAN: usize = 50_000;

/// Sessions or gates in one view, whatever is asked for.
pub const VIEW_ROWS: usize = 100_000;

/// Records of the audit in one page, whatever is asked for: of a kilobyte each.
pub const PAGE_RECORDS: usize = 2000;

/// Candidates that an ambiguous reference lists.
pub const CANDIDATES: usize = 10;

/// Characters of an id that are enough to name a session, if they fit no other. With fewer, a slip in a name would soon mean another
/// session.
pub const ID_CHARS: usize = 4;

/// Connections for reading that are open at once; further readers wait. Reads are short, and the machine has few cores.
pub const READERS: usize = 4;

/// Milliseconds to wait for another process that has the database locked.
pub const BUSY_MS: u64 = 2000;

/// Bytes kept in reserve beside the database, so that what must be stored can be when the disk is full.
pub const RESERVE_BYTES: u64 = 4 * 1024 * 1024;

/// Bytes of the write-ahead log that are worth emptying it for when the disk is full, and the margin kept in doing so.
pub const RECLAIM_BYTES: u64 = 512 * 1024;

/// Bytes of the write-ahead log that are worth copying into the database.
pub const CHECKPOINT_BYTES: u64 = 4 * 1024 * 1024;

/// Times that it is tried to come to the end of the log while the writer goes on. Each pass has what came within the one before, so
/// that the third is about a commit or two, and nothing comes during one of the next.
pub const COPY_PASSES: usize = 8;

/// Bytes of the write-ahead log at which the writer itself copies what little is left, so that the log is begun anew: a
/// sync of a file that is written over is cheaper than one of a file that grows.
pub const WAL_BYTES: u64 = 16 * 1024 * 1024;

/// Bytes of the write-ahead log that are kept on the disk once it is begun anew. Above [`WAL_BYTES`] by what commits add before that
/// is noticed, or each beginning would cut the file, for several milliseconds, and let it grow again.
pub const WAL_KEPT_BYTES: u64 = 2 * WAL_BYTES;

/// The largest database whose pages are all checked before the start after an unclean stop; a larger one is checked in
/// part then, and in full while it is at work.
pub const CHECK_BYTES: u64 = 16 * 1024 * 1024;

/// Events at the end of the log that are read and decoded after an unclean stop.
pub const CHECK_EVENTS: usize = 500;

/// Events of a removed session that are deleted in one step, so that others need not wait long.
pub const PURGE_EVENTS: usize = 2000;

/// Milliseconds after which a full disk is looked at again, and a deletion that failed is tried again.
pub const RETRY_MS: u64 = 1000;

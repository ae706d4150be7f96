//! Every bound of the holder, each with its reason.

/// The largest payload of one write to the agent: a prompt of 10 MiB fits even if JSON escapes every byte of it to six.
pub const WRITE_MAX: usize = 64 << 20;

/// What one attempt may have accepted and not yet given to the agent.
pub const PENDING_MAX: u64 = 128 << 20;

/// How many writes that may be; each waits in a few words of memory, even when it is empty.
pub const PENDING_WRITES: usize = 16 << 10;

/// The largest frame on the socket: a write and its head.
pub const FRAME_MAX: usize = WRITE_MAX + 64;

/// The largest payload of one journal record: an accepted write and its head.
pub const RECORD_MAX: usize = WRITE_MAX + 64;

/// The largest launch specification; Linux allows 6 MiB of arguments and environment.
pub const SPEC_MAX: usize = 8 << 20;

/// What is read from the agent at once; a pipe holds as much.
pub const CHUNK: usize = 64 << 10;

/// What is read from the socket at once, so that a large write does not delay the agent's output for long.
pub(crate) const SOCKET_CHUNK: usize = 256 << 10;

/// Replies that wait for a daemon that does not read; beyond it no further request is read.
pub(crate) const REPLIES_MAX: usize = 16 << 10;

/// How far the journal may be ahead of the daemon unless the launch specification says otherwise.
pub const AHEAD_LIMIT: u64 = 256 << 20;

/// What may be read beyond the ahead limit once the agent has exited: what the pipes hold, and some more.
pub(crate) const AHEAD_AFTER_EXIT: u64 = 1 << 20;

/// Space set aside to record the end of an attempt on a full disk.
pub(crate) const RESERVE: u64 = 64 << 10;

/// Records that wait in memory while not even the reserve can be written; beyond it requests are refused.
pub(crate) const BACKLOG_MAX: usize = 1024;

/// The pause between attempts to write a journal that could not be written.
pub(crate) const RETRY_US: u64 = 1_000_000;

/// The first size of a reader's buffer, enough for a quiet agent.
pub(crate) const READ_FIRST: usize = 16 << 10;

/// A reader's buffer once reads fill the first one; only a larger record makes it grow further.
pub(crate) const READ_FULL: usize = 256 << 10;

/// How long a tree is looked for, killed, and waited for until it is gone; what is left then is reported.
pub(crate) const SWEEP_US: u64 = 2_000_000;

/// Looks in a row that find nobody before a tree counts as gone: one may miss a process that has just been forked, or that
/// has no environment for the moment in which it executes a program.
pub(crate) const SWEEP_LOOKS: u32 = 2;

/// The pause after the first look, in microseconds; it doubles with each one.
pub(crate) const SWEEP_PAUSE_US: u64 = 500;

/// The longest pause between looks.
pub(crate) const SWEEP_PAUSE_MAX_US: u64 = 50_000;

/// How long an ended holder waits for the daemon to be told.
pub(crate) const FAREWELL_US: u64 = 1_000_000;

/// Chunks read after the drain's deadline, to take what the pipes held at that moment.
pub(crate) const LAST_CHUNKS: u32 = 64;

/// Chunks given to the agent before the holder looks at everything else again.
pub(crate) const FEED_CHUNKS: u32 = 8;

/// How long a starting holder tries for its lock, which a probe holds for an instant.
pub(crate) const LOCK_US: u64 = 500_000;

/// How long a holder waits for the whole of its launch specification. It locks its attempt meanwhile.
pub(crate) const SPEC_US: u64 = 5_000_000;

/// How long [`crate::start`] waits for a holder to take its specification and to answer: longer than that one waits.
pub(crate) const START_US: u64 = 10_000_000;

/// How much sooner than its holder an agent is chosen when memory runs out (`oom_score_adj`).
pub(crate) const OOM_MARGIN: i32 = 100;

/// How many ancestors of a process are looked at: many times the depth of any tree of agents, shells and tools, and read
/// within a few hundredths of a second.
pub(crate) const ANCESTORS: usize = 1024;

/// How often they are looked at where one of them ends meanwhile: only who wants to be missed ends so many in a row.
pub(crate) const WALKS: usize = 16;

/// What is read of a process's state: beyond what 52 numbers and a name can have.
pub(crate) const STAT_BYTES: u64 = 4 << 10;

/// What is read of a command line to tell a holder's: the path of a program, a word, and the path of a directory.
pub(crate) const CMDLINE_BYTES: u64 = 16 << 10;

/// What is read of an environment for the marker: beyond what usual ones have by far.
pub(crate) const ENVIRON_BYTES: u64 = 1 << 20;

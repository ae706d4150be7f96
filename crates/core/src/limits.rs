//! Every limit of the core, with its reason.

/// Prompts that may wait in one session. More would hide a producer that never looks.
pub const QUEUE_PROMPTS: usize = 10_000;

/// Bytes of the texts that become one prompt as they come. Each that is added is an event with all of them, so a burst
/// stores the square of this by the size of one.
pub const MERGED_BYTES: usize = 64 * 1024;

/// Bytes of the prompts that wait in one session: they are kept in memory, and in every snapshot.
pub const QUEUE_BYTES: usize = 64 * 1024 * 1024;

/// A decision's length in bytes: an edited file of the size of the largest prompt.
pub const DECISION_BYTES: usize = PROMPT_BYTES;

/// A prompt's length in bytes. Claude Code took 3 MB on one line without trouble; 10 MB is what we promise.
pub const PROMPT_BYTES: usize = 10 * 1024 * 1024;

/// Launches after an unasked end of the process in [`CRASH_WINDOW_MS`]; the next such end fails the session.
pub const CRASHES: usize = 5;

/// The window of the crash budget, in milliseconds awake: ten minutes.
pub const CRASH_WINDOW_MS: u64 = 10 * 60 * 1000;

/// The wait before a launch that follows a crash, in milliseconds; doubles with each crash in the window.
pub const BACKOFF_MS: u64 = 1000;

/// The longest such wait, in milliseconds.
pub const BACKOFF_MAX_MS: u64 = 60 * 1000;

/// Gates that may be open at once in one session; an agent that asks more is broken.
pub const OPEN_GATES: usize = 256;

/// Tasks of the agent that are tracked at once in one session; more are counted as one unknown.
pub const TASKS: usize = 1024;

/// Open tool calls that are tracked at once in one session.
pub const OPEN_TOOLS: usize = 1024;

/// The name of a model or a mode, a label's name or value, and the like, in bytes: the longest known model is a quarter
/// of that, and every list shows them.
pub const VALUE_BYTES: usize = 200;

/// Events of one attempt that tell of a line that could not be read: enough to see what is wrong, and no flood if a new
/// version of an agent has a new kind of message.
pub const UNREADABLE_LINES: u32 = 200;

/// Writes that wait for an agent that does not read, beyond which it is not told any more that nobody can answer it.
pub const OUTBOX: usize = 256;

/// Claims of one session, those that wait included.
pub const CLAIMS: usize = 256;

/// The shortest life of a claim without a renewal, in milliseconds: a renewal is a commit.
pub const CLAIM_TTL_MIN_MS: u64 = 1000;

/// The longest, in milliseconds: one day. Whoever has gone does not keep a session for ever.
pub const CLAIM_TTL_MAX_MS: u64 = 24 * 60 * 60 * 1000;

/// How often work may be cut short for something more urgent before it may finish.
pub const PREEMPTIONS: u32 = 3;

/// Labels of one session.
pub const LABELS: usize = 64;

/// The last lines of standard error that an exit keeps.
pub const STDERR_LINES: usize = 20;

/// The longest message of an agent that is kept in an event's field for people, in bytes.
pub const MESSAGE_BYTES: usize = 4096;

/// The longest pattern of a rule, in bytes: the longest path that Linux takes.
pub const PATTERN_BYTES: usize = 4096;

/// The longest reason of a rule, in bytes: agents and people read it each time.
pub const REASON_BYTES: usize = 1000;

/// Bytes of a command line that is read for rules. What agents run is shorter by far, files written by here-documents
/// aside, and a longer one is asked about.
pub const COMMAND_LINE_BYTES: usize = 16 * 1024;

/// How deep a command line may be nested: substitutions, groups, wrappers and scripts within scripts. Each takes some
/// frames of the stack; people stop at four or five.
pub const COMMAND_LINE_DEPTH: usize = 24;

/// Bytes that reading one command line may look at in all. Scripts are read again within what hands them on, and a
/// wrapper whose options are not known has more than one reading: without a bound, the work doubles with each.
pub const COMMAND_LINE_WORK_BYTES: usize = 16 * COMMAND_LINE_BYTES;

/// Notices of one session that are not told yet, beyond which none is added: nobody reads so many.
pub const NOTICES: usize = 32;

/// Bytes of what a notice is about: a line on a small screen.
pub const NOTICE_BYTES: usize = 160;

/// Bytes of a tool's input and of a reason that a record of the audit keeps: enough to know what it was about.
pub const AUDIT_BYTES: usize = 1024;

/// Rules of one session: they are looked at for each of its steps, and what is to hold for longer is in a file.
pub const SESSION_RULES: usize = 64;

/// The shortest time in which steps go on that would be asked about, in milliseconds.
pub const BYPASS_MIN_MS: u64 = 1000;

/// The longest, in milliseconds: a day. What is to last longer is a rule.
pub const BYPASS_MAX_MS: u64 = 24 * 60 * 60 * 1000;

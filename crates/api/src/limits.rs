//! Every limit of the API, with its reason.

/// Between two heartbeats of a stream, in milliseconds: short enough for people to notice a dead daemon, long enough
/// to cost nothing with a thousand streams.
pub const HEARTBEAT_MS: u64 = 15_000;

/// Silence after which a reader takes a stream for dead, in milliseconds: two heartbeats may be late.
pub const STREAM_SILENCE_MS: u64 = 3 * HEARTBEAT_MS;

/// The largest request body in bytes: a prompt of 10 MB in which every byte needs an escape of six, and some room.
pub const REQUEST_BYTES: usize = 64 * 1024 * 1024;

/// The longest line of a stream in bytes: the result of a tool may be tens of megabytes.
pub const FRAME_BYTES: usize = 256 * 1024 * 1024;

/// Events of one page, unless the caller says less.
pub const PAGE_EVENTS: usize = 1000;

/// Longest idempotency key in bytes.
pub const KEY_BYTES: usize = 200;

/// The longest reason for a pause of the host in bytes: a few lines, which are shown with every session that waits.
pub const REASON_BYTES: usize = 500;

/// The start of a waiting prompt that lists show, in characters.
pub const PREVIEW_CHARS: usize = 200;

pub use lockkeeper_core::limits::{BYPASS_MAX_MS, BYPASS_MIN_MS, CLAIM_TTL_MAX_MS, CLAIM_TTL_MIN_MS};

/// Until a connection to the daemon stands, in milliseconds. A Unix socket answers at once, unless its backlog is full.
pub const CONNECT_MS: u64 = 5_000;

/// Until the daemon answers a request that does not wait for something, in milliseconds: beyond any disk's worst sync.
pub const ANSWER_MS: u64 = 60_000;

//! Names of the headers, in lower case.

/// On every answer: the daemon's version, so that an older daemon can be named.
pub const VERSION: &str = "lockkeeper-version";

/// On every answer of `/v1`: the cursor that it is true at.
pub const CURSOR: &str = "lockkeeper-cursor";

/// On requests that make something: the same key and body give the same answer; the same key with another body is a
/// conflict.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// On any request: what the caller calls itself, to be told apart from others of its user. It proves nothing.
pub const CALLER: &str = "lockkeeper-caller";

/// On a reconnecting stream: the `id` of the last frame that was seen.
pub const LAST_EVENT_ID: &str = "last-event-id";

/// The media type of errors.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The media type of streams.
pub const EVENT_STREAM: &str = "text/event-stream";

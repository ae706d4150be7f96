//! What the adapters conclude, and what they write.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "tests give up by panicking, and look for some of what is said"
)]

mod attribution;
mod background;
mod encode;
mod endings;
mod hostile;
mod orders;
mod support;
mod throughput;
mod trace;
mod transcripts;

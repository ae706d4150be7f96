//! The tests of the store.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests")]
#![allow(clippy::allow_attributes, clippy::wildcard_enum_match_arm, reason = "tests")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "patience has an end; children talk to their parents"
)]

mod common;
mod conformance;
mod sqlite;

//! Lockkeeper as a whole: the real daemon, real holders, and the scripted Claude Code, over the public API.
//!
//! Each test has a daemon and a directory of its own. Nothing here waits for time to pass: a test waits for an event,
//! a file or the end of a process, and fails when [`support::PATIENCE`] is over. `slow::` is skipped in quick runs.
//! Ids such as `o07` are those of `docs/scenarios.md`.

#![expect(clippy::disallowed_methods, reason = "a test that waits for processes needs a real clock")]

mod support;

mod boot;
mod callers;
mod command_line;
mod crash;
mod elicitations;
mod exit;
mod faults;
mod gates;
mod handover;
mod host;
mod ingest;
mod input;
mod interrupt;
mod keys;
mod limits;
mod logins;
mod real_agent;
mod resume;
mod rules;
mod settings;
mod slots;
mod slow;
mod speed;
mod streams;
mod sweeper;
mod turns;
mod waiting;
mod webhooks;

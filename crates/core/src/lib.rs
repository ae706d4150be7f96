//! The pure heart of Lockkeeper: what a session is, and what may happen to it.
//!
//! Nothing here waits, reads a clock, draws a random number or touches a file. The shell (the daemon) feeds
//! [`Input`](session::Input)s in, stores the [`Event`](session::Event)s that come out, and performs the
//! [`Duty`](session::Duty)s that follow from the state. See `docs/design/0001-duties-outbox-ingestion.md`.

pub mod admission;
pub mod agent;
pub mod audit;
pub mod claim;
pub mod elicitation;
pub mod gate;
pub mod hash;
pub mod id;
pub mod item;
pub mod json;
pub mod limits;
pub mod manner;
pub mod notice;
pub mod policy;
pub mod prompt;
pub mod redact;
pub mod session;
pub mod time;
pub mod turn;
pub mod waiting;

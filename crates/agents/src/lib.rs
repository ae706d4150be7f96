//! Pure adapters between agent protocols and the core vocabulary.
//!
//! An [`Adapter`] knows one agent program: how to launch it, how it wants to be treated and what its lines mean.
//! Its [`Wire`] is a fold over one attempt: lines of the agent become [`AgentSays`](lockkeeper_core::agent::AgentSays),
//! [`Action`](lockkeeper_core::agent::Action)s become bytes. Nothing here reads a file or a clock, starts a process or
//! draws a random number; ids that the agent wants from us are derived from ours.
//!
//! What the adapters rely on is written down in `docs/agents/`, one page for each agent; the transcripts of real
//! agents in `tests/transcripts/` are the evidence.

pub mod claude;
pub mod demo;
pub mod framing;
pub mod limits;
pub mod registry;

mod adapter;
mod clip;
mod wire;

pub use adapter::{Adapter, Conversation, Launch, LaunchRequest, Program};
pub use wire::{Decoded, DeltaKind, Wire, WireSeed};

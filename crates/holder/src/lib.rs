//! The holder: the small process that owns one attempt. It starts the agent, journals every byte that goes in and
//! out, takes numbered writes and signals over a Unix socket, and records how the agent ended. It outlives the daemon.
//!
//! The daemon uses [`start`] to launch one, [`connect`] and [`frames`] to talk to it, [`journal`] to read what it
//! wrote, [`probe()`], [`seal`] and [`sweep`] to settle an attempt whose holder is gone, and [`traces()`] to find out which
//! attempt a process belongs to. The binary calls [`run`] first thing in `main` when its first argument is `hold`.
//!
//! What is absent: no async runtime, no JSON, no threads, no knowledge of agent protocols, sessions or turns. The
//! journal is never synced: it has to survive processes, not a power cut, which ends the agent as well.
//!
//! # Files of an attempt's directory
//!
//! | File | What |
//! |---|---|
//! | `lock` | locked exclusively (`flock`) by the holder for its whole life |
//! | `journal` | created once (`O_EXCL`): an attempt is launched at most once, ever |
//! | `sock` | the holder's socket, mode 0600, removed at its end |
//! | `reserve` | space set aside, so that the end of an attempt can be recorded on a full disk |
//! | `holder.err` | the holder's own standard error; removed at the end when empty |
//!
//! # Where it is weaker
//!
//! On systems other than Linux there is no subreaper, no parent-death signal and no `/proc`: a *tree* is the agent's
//! process group, a killed holder does not take its agent along, [`sweep`] finds nothing, and the path of the socket
//! must fit `sun_path`. Control groups are not used on any system: descendants come from the subreaper's list, and
//! escapees from the marker variable in their environment; a process that has left the tree *and* replaced its
//! environment is not found.

mod clock;
mod codec;
pub mod frames;
mod holder;
pub mod journal;
mod launch;
pub mod limits;
mod oom;
mod peer;
mod probe;
mod proc;
mod serve;
mod socket;
mod spawn;
mod stdin;
mod sys;
mod traces;
mod tree;

pub use holder::run;
pub use launch::{LaunchSpec, SpecError, start};
pub use probe::{HolderState, probe, seal};
pub use socket::connect;
pub use traces::{Sight, Traces, traces};
pub use tree::{SweepReport, sweep};

/// The variable in the environment of the agent, and so of what it starts, that carries the attempt's marker.
pub const MARKER_VARIABLE: &str = "LOCKKEEPER_ATTEMPT";

//! One session: its state, what may be asked of it, what the world tells about it, and what follows.
//!
//! The functions: [`create`] and [`step`] decide (and keep the status event honest), [`State::evolve`] folds,
//! [`duties()`] says what must be under way, [`deadline()`] when to look again and why.

mod claims;
mod closing;
mod command;
mod deadline;
mod decide;
mod duties;
mod end;
mod event;
mod evolve;
mod exit;
mod fold;
mod gates;
#[cfg(any(test, feature = "laws"))]
pub mod laws;
mod login;
mod observation;
mod observe;
mod preempt;
mod progress;
mod queue;
mod reconcile;
mod rejection;
mod rules;
mod settings;
mod state;
mod status;

pub use command::{Always, Coalesce, Command, Keep, Move, NewClaim, NewPrompt, NewSession, Rename, Request};
pub use deadline::{Deadline, Why, deadline};
pub(crate) use decide::OURSELVES;
pub use decide::{Env, Input, Step, create, decide, step};
pub use duties::{Duty, DutyId, LaunchPlan, duties};
pub use end::{Closing as ClosingWhy, End, EndReason, SettingsResult};
pub use event::{DecodeError, Envelope, Event, KINDS, Op};
pub use exit::{Exit, ExitHint, ExitStatus, Verdict as ExitVerdict};
pub use fold::FoldError;
pub use observation::{Observation, SpawnError};
pub use queue::{Head, Queue, SlotUse, slot_use};
pub use reconcile::{Reconciled, reconcile};
pub use rejection::Rejection;
pub use state::{
    Attempt, Climb, Closing, Conversation, Interrupt, InterruptCause, Lane, Life, Lifetime, OpenTool,
    Outgoing, OwnTurn, Process, ProcessIdentity, Profile, Signal, SignalOut, Stage, State, Task, Turn,
    Wanted,
};
pub use status::{Beneath, Cause, Status, StatusNow, Waits, status, waits};

#[cfg(test)]
mod tests;

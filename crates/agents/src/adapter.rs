//! What an agent's adapter provides.

use std::fmt::Debug;

use lockkeeper_core::id::{AgentSessionId, AttemptNo, SessionId};
use lockkeeper_core::json::Json;
use lockkeeper_core::manner::{Manner, Unasked};
use lockkeeper_core::policy::ToolUse;
use lockkeeper_core::session::ExitHint;

use crate::wire::{Wire, WireSeed};

/// One agent program, as Lockkeeper knows it. Pure: it says what to do and does nothing.
pub trait Adapter: Send + Sync + Debug {
    /// Its name in the registry: `claude`.
    fn name(&self) -> &'static str;

    /// How it wants to be treated: ladders, deadlines, whether it resumes.
    fn manner(&self) -> Manner;

    /// How to start it for one attempt.
    fn launch(&self, request: &LaunchRequest) -> Launch;

    /// The fold over one attempt's lines.
    fn wire(&self, seed: WireSeed) -> Box<dyn Wire>;

    /// What one of its tools is about to do with this input. Where the paths lead is not known here.
    fn tool_use(&self, tool: &str, input: &Json) -> ToolUse;

    /// What it does without asking in this permission mode; none if that is not known.
    fn unasked(&self, mode: &str) -> Option<Unasked>;

    /// The input of one of its tools that takes a text: a command, a path or an address.
    fn input_of(&self, tool: &str, text: &str) -> Option<Json>;

    /// The names of its program to look for on the `PATH`, best first; empty if it is our own binary.
    fn programs(&self) -> &'static [&'static str];

    /// The arguments that make the program print its version.
    fn version_args(&self) -> &'static [&'static str];

    /// Reads the version out of what the program printed then.
    fn parse_version(&self, stdout: &str) -> Option<String>;

    /// What the last lines of standard error say about an exit, if they say anything that we know.
    fn classify_exit(&self, stderr_tail: &[String]) -> Option<ExitHint>;
}

/// What somebody wants launched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchRequest {
    /// The session.
    pub session: SessionId,
    /// Which launch of it this is.
    pub attempt: AttemptNo,
    /// The model, if not the agent's own choice.
    pub model: Option<String>,
    /// The permission mode, if not the agent's own choice.
    pub mode: Option<String>,
    /// Which conversation to have.
    pub conversation: Conversation,
    /// Arguments of the user, put behind ours.
    pub extra_args: Vec<String>,
}

/// Which conversation a launch is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conversation {
    /// A fresh one.
    New,
    /// An earlier one, by the agent's name for it.
    Resume(AgentSessionId),
}

/// How to start an agent's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// What to run.
    pub program: Program,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables to set on top of the session's environment.
    pub env_add: Vec<(String, String)>,
    /// Variables to take out of it first.
    pub env_remove: Vec<String>,
    /// The conversation's name, where it is known before the agent says it. The agent may still choose another.
    pub conversation: Option<AgentSessionId>,
}

/// Which program to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// The first of these names that is on the `PATH`.
    OnPath(&'static [&'static str]),
    /// The binary that runs now.
    OwnBinary,
}

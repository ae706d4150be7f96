//! How an agent wants to be treated: data that adapters provide and events carry.

use serde::{Deserialize, Serialize};

/// Whom a signal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The agent's process.
    Leader,
    /// Its process group.
    Group,
    /// All its descendants, wherever they went.
    Tree,
}

/// One step of the ladder that ends a turn or a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// Ask by the protocol.
    Request,
    /// Close its standard input.
    CloseStdin,
    /// Send it `SIGINT`.
    Sigint(Scope),
    /// Send it `SIGTERM`.
    Sigterm(Scope),
    /// Kill the tree.
    Kill,
}

impl Rung {
    /// Whether a process that got this far will not take another turn.
    pub fn ends_process(self) -> bool {
        match self {
            Self::Request => false,
            Self::CloseStdin | Self::Sigint(_) | Self::Sigterm(_) | Self::Kill => true,
        }
    }

    /// The word for it in `lk why` and events.
    pub fn word(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::CloseStdin => "close_stdin",
            Self::Sigint(_) => "sigint",
            Self::Sigterm(_) => "sigterm",
            Self::Kill => "kill",
        }
    }
}

/// Whether an agent wants an opening message before anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Handshake {
    /// `Initialize` first, and nothing before its answer.
    Initialize,
    /// It is ready when it is started.
    None,
    /// The same, and the agent has to announce every step of its tools before it takes it.
    InitializeGuarded,
}

/// The adapter's data about one agent. Copied into the event of each launch, so that a fold never asks an adapter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manner {
    /// How it begins.
    pub handshake: Handshake,
    /// The steps that cancel a turn, and then the process, in order.
    pub interrupt: Vec<Rung>,
    /// The steps that end an idle process, in order.
    pub stop: Vec<Rung>,
    /// How long each step may take before the next, in milliseconds.
    pub rung_ms: u64,
    /// How long after the end of a turn no end of input, signal or kill may come, in milliseconds: the agent saves
    /// its conversation then.
    pub settle_ms: u64,
    /// From the launch until the process runs, in milliseconds.
    pub spawn_ms: u64,
    /// From then until the handshake is done, in milliseconds.
    pub handshake_ms: u64,
    /// A write to its standard input, in milliseconds.
    pub write_ms: u64,
    /// Its answer to a request, in milliseconds.
    pub control_ms: u64,
    /// Silence in a turn while no tool runs and no gate is open, in milliseconds.
    pub silence_ms: u64,
    /// The drain of its pipes after its exit, in milliseconds.
    pub drain_ms: u64,
    /// A whole turn, in milliseconds; `None` is no limit.
    pub turn_ms: Option<u64>,
    /// A gate, in milliseconds; `None` is no limit.
    #[serde(default)]
    pub gate_ms: Option<u64>,
    /// How long before that it is told, in milliseconds.
    #[serde(default)]
    pub gate_warning_ms: u64,
    /// Whether it can continue an earlier conversation in another process.
    pub resumes: Resumes,
}

/// Whether an agent can continue a conversation in a new process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resumes {
    /// By the conversation's id.
    ById,
    /// Not at all: each process begins anew.
    Never,
}

/// What an agent does without asking in a permission mode of its own. Rules hold steps up in all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unasked {
    /// Steps that change nothing, and those that its own settings allow.
    Reads,
    /// Those, and changes of files.
    Edits,
    /// What a model of its own takes to be safe.
    Judged,
    /// What its own settings allow; everything else it refuses by itself.
    Listed,
    /// Everything, but for the little that its own check of safety stops.
    Everything,
}

impl Unasked {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Reads, Self::Edits, Self::Judged, Self::Listed, Self::Everything];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Reads => "reads",
            Self::Edits => "edits",
            Self::Judged => "judged",
            Self::Listed => "listed",
            Self::Everything => "everything",
        }
    }

    /// A sentence about the agent for people.
    pub fn told(self) -> &'static str {
        match self {
            Self::Reads => "it asks before it changes anything",
            Self::Edits => "it changes files unasked, by simple commands too, and asks before anything else",
            Self::Judged => "a model of its own judges which steps it asks about",
            Self::Listed => "it asks nobody: what its own settings do not allow it refuses",
            Self::Everything => {
                "it asks nobody: only rules hold its steps up, if there were any at its start"
            }
        }
    }
}

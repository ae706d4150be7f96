//! What the world did.

use serde::{Deserialize, Serialize};

use super::exit::Exit;
use super::state::ProcessIdentity;
use crate::agent::AgentSays;
use crate::id::{AttemptNo, NoticeNo, RuleNo};

/// A fact about the world. Each names the attempt that it is about; one about an earlier attempt changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// The daemon started and does not know yet what became of the attempt.
    Unsettled,
    /// The daemon reads the attempt's journal again and its holder lives, or the attempt never began.
    Adopted {
        /// The attempt.
        attempt: AttemptNo,
    },
    /// The agent's process runs. After a start of the daemon, [`Observation::Adopted`] still has to follow.
    Spawned {
        /// The attempt.
        attempt: AttemptNo,
        /// The process.
        process: ProcessIdentity,
    },
    /// The agent's process could not be started, and never will be. Heeded only before [`Observation::Spawned`].
    SpawnFailed {
        /// The attempt.
        attempt: AttemptNo,
        /// Why.
        error: SpawnError,
    },
    /// A rule was written below those of the user, or could not be.
    RuleWritten {
        /// Which.
        rule: RuleNo,
        /// Why not.
        error: Option<String>,
    },
    /// Somebody was told something, or could not be.
    Told {
        /// Which notice.
        notice: NoticeNo,
        /// Why not.
        error: Option<String>,
    },
    /// The holder took a write or the end of input.
    Accepted {
        /// The attempt.
        attempt: AttemptNo,
        /// The outbox number.
        number: u64,
    },
    /// All bytes of a write are in the agent's pipe, or its input is closed.
    Written {
        /// The attempt.
        attempt: AttemptNo,
        /// The outbox number.
        number: u64,
    },
    /// A write failed: the agent no longer reads.
    WriteFailed {
        /// The attempt.
        attempt: AttemptNo,
        /// The outbox number.
        number: u64,
        /// In the system's words.
        error: String,
    },
    /// A signal was sent.
    Signalled {
        /// The attempt.
        attempt: AttemptNo,
        /// The number in the lane of signals.
        number: u64,
        /// To how many processes it went.
        delivered: u32,
    },
    /// The agent said something; told after [`Observation::Spawned`], and after the receipts of what it answers.
    Agent {
        /// The attempt.
        attempt: AttemptNo,
        /// What.
        says: AgentSays,
    },
    /// The process ended, its pipes are drained and its tree is swept.
    Exited {
        /// The attempt.
        attempt: AttemptNo,
        /// What is known.
        exit: Exit,
    },
    /// The holder is gone without a record of the end; its marker's processes are killed and the journal is read.
    HolderLost {
        /// The attempt.
        attempt: AttemptNo,
        /// Whether its journal could be read to its end, so that what it does not tell did not happen.
        journal_whole: bool,
        /// The last lines of standard error.
        stderr: Vec<String>,
    },
}

/// Why a process could not be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpawnError {
    /// A stable word: `agent_not_found`, `workspace_missing`, `not_executable`, `os`.
    pub code: String,
    /// For people: what is missing and what to do.
    pub message: String,
}

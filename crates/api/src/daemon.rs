//! The daemon itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Cursor, Time};

/// The answer to `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DaemonStatus {
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// The machine.
    pub host: String,
    /// When it started.
    #[schema(value_type = String, format = DateTime)]
    pub started: Time,
    /// Whether it takes work.
    pub state: DaemonState,
    /// Who has paused the host, which takes prompts then and begins nothing; absent if nobody has.
    pub paused: Option<Pause>,
    /// The memory that the host has; absent where the configuration names no floor.
    pub memory: Option<MemoryStatus>,
    /// Where it keeps its data.
    pub data_dir: String,
    /// Where it listens.
    pub socket: String,
    /// Where it logs.
    pub log_file: String,
    /// Sessions by status; only those that there are.
    pub sessions: BTreeMap<String, u32>,
    /// Gates that wait for a decision.
    pub open_gates: u32,
    /// Agents' processes that run.
    pub processes: u32,
    /// The store.
    pub store: StoreStatus,
    /// Whether agents get control groups of their own.
    pub cgroup: CgroupState,
    /// The cursor that the answer is true at.
    #[schema(value_type = String)]
    pub cursor: Cursor,
}

/// Whether a daemon takes work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DaemonState {
    /// It is finding out what became of its sessions.
    Starting,
    /// It does.
    Ready,
    /// It waits for the turns that run, starts no others, and ends then.
    Draining,
    /// It ends.
    Stopping,
}

impl DaemonState {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
        }
    }
}

/// A host that somebody has paused: no turn and no process begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pause {
    /// Who did.
    pub by: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Time,
    /// Why, in their words.
    pub reason: Option<String>,
}

/// The body of `POST /v1/daemon/pause`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseRequest {
    /// Why, for those who wait.
    pub reason: Option<String>,
}

/// The answer to `POST /v1/daemon/unpause`: the daemon, and what ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UnpauseReceipt {
    /// The daemon.
    #[serde(flatten)]
    pub status: DaemonStatus,
    /// The pause that ended; absent if the host was not paused.
    pub ended: Option<Pause>,
}

/// The memory of a host that keeps some free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemoryStatus {
    /// What the daemon and its agents could still take, in bytes; absent if that cannot be found out.
    pub available_bytes: Option<u64>,
    /// What has to be available before a session begins to work, in bytes.
    pub floor_bytes: u64,
}

/// The health of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoreStatus {
    /// `sqlite`.
    pub engine: String,
    /// What keeps it from writing; absent if nothing does.
    pub problem: Option<String>,
    /// Events in it.
    pub events: u64,
    /// Its size on disk in bytes.
    pub bytes: u64,
}

/// Whether agents get control groups of their own, so that a kill reaches all of their processes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CgroupState {
    /// They do.
    Used,
    /// A control group is delegated to the daemon's user, and not used.
    Delegated,
    /// None is delegated; descendants are found by their parents and a marker in their environment.
    NotDelegated,
    /// The system has none.
    Absent,
}

/// The answer to `GET /version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Version {
    /// The daemon's version.
    pub version: String,
    /// The versions of the API that it speaks.
    pub api: Vec<String>,
}

/// The body of `POST /v1/daemon/stop`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StopRequest {
    /// What becomes of the agents.
    pub agents: Stop,
}

/// What becomes of the agents when the daemon ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// They stay with their holders; the next daemon takes them over.
    Leave,
    /// The daemon starts no other turns and waits until those that run have ended. Idle agents stay with their holders.
    Drain,
    /// They are killed.
    Kill,
}

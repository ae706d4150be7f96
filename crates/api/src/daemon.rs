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

//! Launches of an agent's process.

use lockkeeper_core::id::{AgentSessionId, AttemptNo};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Exit, Time};

/// One launch of the agent's process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// Its number.
    #[schema(value_type = u32)]
    pub no: AttemptNo,
    /// Its process, once it ran.
    pub pid: Option<u32>,
    /// The agent's version, where it tells.
    pub version: Option<String>,
    /// The conversation that it continues.
    #[schema(value_type = Option<String>)]
    pub resume: Option<AgentSessionId>,
    /// The model that it was launched with.
    pub model: Option<String>,
    /// The permission mode that it was launched with.
    pub mode: Option<String>,
    /// When the launch was decided.
    #[schema(value_type = String, format = DateTime)]
    pub launched: Time,
    /// When it ended, or failed to start.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended: Option<Time>,
    /// How it ended; absent while it runs and when nobody can know.
    pub exit: Option<Exit>,
    /// Why it could not be started, or what is not known of its end.
    pub problem: Option<String>,
}

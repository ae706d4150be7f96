//! Agents.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A coding agent, as the daemon finds it. A session looks in the `PATH` of its own environment, which may differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgentInfo {
    /// Its name: `claude`.
    pub name: String,
    /// Whether sessions can use it. One that is merely found cannot.
    pub supported: bool,
    /// Where its program is; absent if it is not on the `PATH`.
    pub path: Option<String>,
    /// Its version, if the program told it in time.
    pub version: Option<String>,
    /// What keeps it from working, and what to do about it.
    pub problem: Option<String>,
}

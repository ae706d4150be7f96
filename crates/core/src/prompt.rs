//! What waits for its turn.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::PromptNo;
use crate::time::Stamp;

/// How urgent a prompt is. Within a class, first come is first served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Whenever there is nothing else.
    Background,
    /// What people type.
    Normal,
    /// Before all others.
    Urgent,
}

/// A prompt in the queue, or the one that a turn works on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// Its number in the session.
    pub no: PromptNo,
    /// What to tell the agent.
    pub text: Arc<str>,
    /// How urgent it is.
    pub class: Class,
    /// Who sent it.
    pub caller: String,
    /// The caller's idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// When it was accepted.
    pub accepted: Stamp,
}

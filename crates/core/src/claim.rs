//! Claims: the right to a session's next turns, over several prompts.

use std::cmp::Reverse;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::ClaimNo;
use crate::prompt::{Class, OnPreempt};
use crate::time::Stamp;

/// A lease on a session's next turns. It waits in the queue like a prompt of its class; once it is its turn, nobody of
/// its class or below goes before it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Its number in the session.
    pub no: ClaimNo,
    /// Who has it.
    pub owner: Arc<str>,
    /// The class of all its prompts.
    pub class: Class,
    /// Its place within the class until it is its turn: the lowest goes first.
    pub rank: i64,
    /// Whether it cuts a turn of a lower class short.
    pub preempt: bool,
    /// What becomes of its turns if they are cut short.
    pub on_preempt: OnPreempt,
    /// How long it lasts without being renewed, in milliseconds awake.
    pub ttl_ms: u64,
    /// When it was made.
    pub made: Stamp,
    /// When it was last renewed.
    pub renewed: Stamp,
    /// Whether it is its turn. A claim that a higher class goes before is suspended.
    pub state: ClaimState,
}

/// The rank of the claim whose turn it is, or was until a higher class went before it, and of its prompts. No class has two.
pub(crate) const FRONT: i64 = i64::MIN;

impl Claim {
    /// Its place among everything that waits, which is its prompts' too: the least goes first.
    pub fn place(&self) -> (Reverse<Class>, i64) {
        let rank = match self.state {
            ClaimState::Waiting => self.rank,
            ClaimState::Held | ClaimState::Suspended => FRONT,
        };
        (Reverse(self.class), rank)
    }
}

/// How a claim stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimState {
    /// Others go before it.
    Waiting,
    /// The next turns are its own.
    Held,
    /// They were, and a higher class went before it; they will be again.
    Suspended,
}

/// How a claim ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimEnd {
    /// Its owner gave it back.
    Released,
    /// Somebody else ended it.
    Evicted {
        /// Who.
        by: Arc<str>,
    },
    /// It was not renewed in time.
    Expired,
    /// The session ended.
    SessionEnded,
}

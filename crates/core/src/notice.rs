//! What people are told of without looking.

use serde::{Deserialize, Serialize};

use crate::id::{GateNo, NoticeNo};

/// Something that somebody is to be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Its number in the session.
    pub no: NoticeNo,
    /// What happened.
    pub what: NoticeKind,
    /// The gate that it is about.
    pub gate: GateNo,
    /// What is asked or done, in a line, without what looks like a secret.
    pub about: String,
    /// How dangerous that is.
    pub risk: String,
    /// The rule that asked, or let it go on.
    pub rule: String,
}

/// What can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// A gate waits for somebody.
    Asks,
    /// One is about to expire.
    Expiring,
    /// A step went on that a rule wants to be told of.
    WentOn,
}

impl NoticeKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Asks, Self::Expiring, Self::WentOn];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Asks => "asks",
            Self::Expiring => "expiring",
            Self::WentOn => "went_on",
        }
    }

    /// Whether it is pointless once the gate has closed.
    pub fn is_void_when_closed(self) -> bool {
        match self {
            Self::Asks | Self::Expiring => true,
            Self::WentOn => false,
        }
    }
}

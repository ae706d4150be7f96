//! What waits for its turn.

use std::cmp::Reverse;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{ClaimNo, PromptNo, TurnNo};
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

impl Class {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Urgent, Self::Normal, Self::Background];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Background => "background",
            Self::Normal => "normal",
            Self::Urgent => "urgent",
        }
    }
}

/// What becomes of a turn that a more urgent request cuts short, by the choice of whoever prompted it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnPreempt {
    /// A new turn goes on with it, before everything else of its class.
    #[default]
    Continue,
    /// The same, once somebody lets it go.
    Hold,
    /// Nothing: its caller begins anew, or has lost interest.
    Drop,
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
    /// Its place within its class: the lowest goes first. Prompts of one claim share the claim's.
    #[serde(default)]
    pub rank: i64,
    /// Who sent it.
    pub caller: Arc<str>,
    /// The caller's idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Arc<str>>,
    /// The claim that it uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<ClaimNo>,
    /// Whether it cuts a turn of a lower class short.
    #[serde(default)]
    pub preempt: bool,
    /// What becomes of its own turn if that is cut short.
    #[serde(default)]
    pub on_preempt: OnPreempt,
    /// What it is about: while it waits, another prompt of the caller about the same is taken into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<Arc<str>>,
    /// The turn that it goes on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<Continues>,
    /// Why it waits until somebody lets it go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parked: Option<Parked>,
    /// When it was accepted.
    pub accepted: Stamp,
}

/// The turn that a prompt goes on with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Continues {
    /// The turn.
    pub turn: TurnNo,
    /// Whether the agent may have seen the prompt: then it is told to go on, rather than the same again.
    pub begun: bool,
    /// How often something more urgent cut the work short already.
    pub times: u32,
    /// What cut the turn off.
    #[serde(default)]
    pub why: CutBy,
}

/// What cut a turn off that is gone on with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CutBy {
    /// Something more urgent.
    #[default]
    Urgency,
    /// A limit of the agent's account.
    Limit,
    /// Nobody had logged the agent in.
    Login,
}

/// Why a prompt waits until somebody lets it go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parked {
    /// Its caller wanted that, should its turn be cut short.
    ByChoice,
    /// A tool was at work when its turn was cut short: whether it ran to its end is not known.
    ToolUnknown,
}

const GO_ON: &str =
    "Go on with the task that you were at; what is done already need not be done again. The task was:";

impl CutBy {
    /// What the agent is told of it.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Urgency => "You were interrupted, so that something more urgent could go first.",
            Self::Limit => "A limit of the account cut you off; it is over.",
            Self::Login => "A missing login cut you off; it is there now.",
        }
    }
}

impl Prompt {
    /// What is written to the agent.
    pub fn words(&self) -> Arc<str> {
        match &self.continues {
            Some(Continues { begun: true, why, .. }) => {
                format!("{} {GO_ON}\n\n{}", why.words(), self.text).into()
            }
            Some(Continues { begun: false, .. }) | None => self.text.clone(),
        }
    }

    /// Its place among everything that waits: the least goes first, and of one claim's what goes on, then the lowest number.
    pub fn place(&self) -> (Reverse<Class>, i64) {
        (Reverse(self.class), self.rank)
    }

    /// How often the work was cut short already.
    pub fn times_cut(&self) -> u32 {
        self.continues.as_ref().map_or(0, |continues| continues.times)
    }
}

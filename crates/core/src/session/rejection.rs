//! Commands that the rules refuse. A rejection changes nothing.

use std::borrow::Cow;

use thiserror::Error;

use crate::gate::Verdict;
use crate::id::{ClaimNo, GateNo, PromptNo, TurnNo};
use crate::prompt::Class;

/// Why a command was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Rejection {
    /// The prompt has no text.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// The prompt is too long.
    #[error("the prompt has {bytes} bytes, and {limit} is the most that is taken")]
    PromptTooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Too many prompts wait.
    #[error("too much waits already: a session queues {limit} prompts and 64 MiB of text at the most")]
    QueueFull {
        /// The limit.
        limit: usize,
    },
    /// The session is on its way to its end.
    #[error("the session is stopping; send again once it has ended, which opens it again")]
    Stopping,
    /// It has ended.
    #[error("the session has ended; send a prompt or resume it first")]
    Ended,
    /// There is no such claim any more.
    #[error("claim {claim} is over or never was: it expired, was given back, or was ended by somebody")]
    UnknownClaim {
        /// The claim.
        claim: ClaimNo,
    },
    /// Somebody else has the claim.
    #[error("claim {claim} is {owner}'s: nobody else may use or renew it")]
    ForeignClaim {
        /// The claim.
        claim: ClaimNo,
        /// Who has it.
        owner: String,
    },
    /// A prompt has another class than the claim that it uses.
    #[error("claim {claim} is of the class {}; its prompts are too", .class.word())]
    ClaimClass {
        /// The claim.
        claim: ClaimNo,
        /// Its class.
        class: Class,
    },
    /// Too many claims.
    #[error("a session has at most {limit} claims")]
    TooManyClaims {
        /// The limit.
        limit: usize,
    },
    /// A claim that is too short or too long.
    #[error("a claim lasts between {least} and {most} milliseconds; renew it before it is over")]
    BadTtl {
        /// The least.
        least: u64,
        /// The most.
        most: u64,
    },
    /// Steps that go on for too short or too long.
    #[error("a bypass lasts between {least} and {most} milliseconds")]
    BadBypass {
        /// The least.
        least: u64,
        /// The most.
        most: u64,
    },
    /// What is no rule.
    #[error("it is no rule: {why}")]
    BadRule {
        /// Why.
        why: String,
    },
    /// Too many rules.
    #[error("a session has at most {limit} rules of its own")]
    TooManyRules {
        /// The limit.
        limit: usize,
    },
    /// It has a rule of that name.
    #[error("a rule is called {id} already")]
    RuleTaken {
        /// The name.
        id: String,
    },
    /// It has no such rule.
    #[error("the session has no rule that is called {id}")]
    UnknownRule {
        /// The name.
        id: String,
    },
    /// A prompt of a claim keeps the claim's place.
    #[error("prompt {prompt} has its place by claim {claim} and cannot be moved")]
    PromptClaimed {
        /// The prompt.
        prompt: PromptNo,
        /// The claim.
        claim: ClaimNo,
    },
    /// A living session has that name.
    #[error("another living session is called {name}")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The turn has ended.
    #[error("turn {turn} has ended{}", .outcome.as_ref().map(|o| format!(" ({o})")).unwrap_or_default())]
    StaleTurn {
        /// The turn.
        turn: TurnNo,
        /// How, if that is still at hand.
        outcome: Option<String>,
    },
    /// There has been no such turn.
    #[error("there is no turn {turn} in this session")]
    UnknownTurn {
        /// The turn.
        turn: TurnNo,
    },
    /// There is no such gate, or it closed long ago.
    #[error("gate {gate} is not open")]
    UnknownGate {
        /// The gate.
        gate: GateNo,
    },
    /// Somebody was first.
    #[error("gate {gate} was {how} by {by} already")]
    GateDecided {
        /// The gate.
        gate: GateNo,
        /// What was decided, in the past tense.
        how: &'static str,
        /// Who.
        by: String,
    },
    /// The decision does not fit what the gate asks.
    #[error("gate {gate} cannot be decided that way: {why}")]
    DecisionMismatch {
        /// The gate.
        gate: GateNo,
        /// Why not.
        why: Cow<'static, str>,
    },
    /// A rule denies what the decision would let go on.
    #[error("{rule} denies it{}", .reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
    RuleDenies {
        /// Its name.
        rule: String,
        /// What it says of it.
        reason: Option<String>,
    },
    /// The decision is too long.
    #[error("a decision has at most {limit} bytes")]
    DecisionTooLong {
        /// The limit.
        limit: usize,
    },
    /// No such prompt waits.
    #[error("prompt {prompt} does not wait in the queue; it has started, ended or never was")]
    UnknownPrompt {
        /// The prompt.
        prompt: PromptNo,
    },
    /// Nothing was asked for.
    #[error("neither a model nor a mode was named")]
    NothingToSet,
    /// A value is empty or too long.
    #[error("{what} must have between 1 and {limit} bytes")]
    BadValue {
        /// What.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Too many labels.
    #[error("a session has at most {limit} labels")]
    TooManyLabels {
        /// The limit.
        limit: usize,
    },
    /// The state of the session is not known yet.
    #[error("what became of the session's process is being found out; try again in a moment")]
    Unsettled,
}

impl Rejection {
    /// That somebody was first at a gate.
    pub fn gate_decided(gate: GateNo, verdict: &Verdict) -> Self {
        Self::GateDecided { gate, how: verdict.decision.past(), by: verdict.by.clone() }
    }

    /// The stable code of the API.
    pub fn code(&self) -> &'static str {
        match self {
            Self::EmptyPrompt => "prompt_empty",
            Self::PromptTooLong { .. } => "prompt_too_long",
            Self::QueueFull { .. } => "queue_full",
            Self::Stopping => "session_stopping",
            Self::Ended => "session_ended",
            Self::UnknownClaim { .. } => "claim_over",
            Self::ForeignClaim { .. } => "claim_foreign",
            Self::ClaimClass { .. } => "claim_class",
            Self::TooManyClaims { .. } => "too_many_claims",
            Self::BadTtl { .. } => "bad_ttl",
            Self::BadBypass { .. } => "bypass_invalid",
            Self::BadRule { .. } => "rule_invalid",
            Self::TooManyRules { .. } => "too_many_rules",
            Self::RuleTaken { .. } => "rule_name_taken",
            Self::UnknownRule { .. } => "rule_not_found",
            Self::PromptClaimed { .. } => "prompt_claimed",
            Self::NameTaken { .. } => "name_taken",
            Self::StaleTurn { .. } => "turn_ended",
            Self::UnknownTurn { .. } => "turn_unknown",
            Self::UnknownGate { .. } => "gate_not_open",
            Self::GateDecided { .. } => "gate_decided",
            Self::DecisionMismatch { .. } => "decision_mismatch",
            Self::RuleDenies { .. } => "decision_denied",
            Self::DecisionTooLong { .. } => "decision_too_long",
            Self::UnknownPrompt { .. } => "prompt_not_waiting",
            Self::NothingToSet => "nothing_to_set",
            Self::BadValue { .. } => "bad_value",
            Self::TooManyLabels { .. } => "too_many_labels",
            Self::Unsettled => "session_unsettled",
        }
    }

    /// Whether the input itself is wrong, in any state (HTTP 422 rather than 409).
    pub fn is_bad_input(&self) -> bool {
        match self {
            Self::EmptyPrompt
            | Self::PromptTooLong { .. }
            | Self::DecisionMismatch { .. }
            | Self::DecisionTooLong { .. }
            | Self::NothingToSet
            | Self::BadValue { .. }
            | Self::ClaimClass { .. }
            | Self::BadTtl { .. }
            | Self::BadBypass { .. }
            | Self::BadRule { .. }
            | Self::TooManyLabels { .. } => true,
            Self::QueueFull { .. }
            | Self::Stopping
            | Self::Ended
            | Self::UnknownClaim { .. }
            | Self::ForeignClaim { .. }
            | Self::TooManyClaims { .. }
            | Self::TooManyRules { .. }
            | Self::RuleTaken { .. }
            | Self::UnknownRule { .. }
            | Self::PromptClaimed { .. }
            | Self::NameTaken { .. }
            | Self::StaleTurn { .. }
            | Self::UnknownTurn { .. }
            | Self::UnknownGate { .. }
            | Self::GateDecided { .. }
            | Self::RuleDenies { .. }
            | Self::UnknownPrompt { .. }
            | Self::Unsettled => false,
        }
    }
}

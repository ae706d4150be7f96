//! Points that await a decision.

use serde::{Deserialize, Serialize};

use crate::id::{AttemptNo, ControlNo, GateNo, ItemKey, RuleNo, TurnNo};
use crate::json::Json;
use crate::policy::{Layer, Rule, RuleSpec, ToolKind};
use crate::time::Stamp;

/// What a gate asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateKind {
    /// May this tool run with this input?
    #[default]
    Permission,
    /// Questions of the agent to its user.
    Question,
    /// Is this plan right?
    Plan,
    /// A server of the agent asks its user for values, or for a visit to a page: an
    /// [`Elicitation`](crate::elicitation::Elicitation).
    Elicitation,
    /// Somebody must log the agent in, outside Lockkeeper; to allow it says that this is done.
    Login,
}

/// What the agent asked, as the adapter understood it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// The agent's id of its request, its JSON type kept: it must be echoed unchanged.
    pub request: Json,
    /// What it asks for.
    pub kind: GateKind,
    /// The tool, or a short name of what is asked.
    pub tool: String,
    /// The exact input that the decision binds to.
    pub input: Json,
    /// One line for people, where the agent gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The tool call that waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<ItemKey>,
    /// Why the agent asks, where it says so (for example `safetyCheck`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether a task beside the turns asks: the question outlives the turn in which it came.
    #[serde(default)]
    pub beside_turn: bool,
    /// Whether the agent only announces what it is about to do, and would ask by itself or not at all.
    #[serde(default)]
    pub announced: bool,
    /// What the agent would remember on "always", as it offered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestions: Option<Json>,
}

/// A gate that is open, or decided and not yet told to the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// Its number in the session.
    pub no: GateNo,
    /// The launch whose process waits, or whose turn failed.
    pub attempt: AttemptNo,
    /// The turn that waits, if any does, or that failed for want of a login.
    pub turn: Option<TurnNo>,
    /// What is asked.
    pub ask: Ask,
    /// SHA-256 of `ask.input`.
    pub input_hash: String,
    /// Which rule asked, or decided: its name, or `agent` if only the agent's own rules are about it.
    pub rule: String,
    /// How dangerous the step is: `low`, `medium` or `high`; `unrated` for what is no step of a tool.
    pub risk: String,
    /// Why the rule asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule_reason: Option<String>,
    /// Whether the rule decides, in the step that opens it: it never waits for anybody.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_rule: bool,
    /// Whether it keeps turns from beginning, and no process waits for its answer: a login that is missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub before_turns: bool,
    /// When it expires, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry: Option<Expiry>,
    /// When it opened.
    pub opened: Stamp,
    /// Where it stands.
    pub state: GateState,
}

/// When a gate is denied because nobody decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expiry {
    /// How long after it opened, in milliseconds awake.
    pub ms: u64,
    /// How long before that it is told, in milliseconds.
    pub warning_ms: u64,
    /// Whether it was told.
    #[serde(default)]
    pub warned: bool,
}

/// For a while steps go on that would be asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bypass {
    /// Of tools of these kinds; of all, if there are none.
    pub kinds: Vec<ToolKind>,
    /// Who wanted that.
    pub by: String,
    /// How long, in milliseconds awake.
    pub ms: u64,
    /// Since when.
    pub began: Stamp,
}

impl Bypass {
    /// Whether it is about tools of this kind.
    pub fn covers(&self, kind: ToolKind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }
}

/// A rule of one session, or one that was made in it and is to be written below those of the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRule {
    /// Its number in the session.
    pub no: RuleNo,
    /// Its name in all places: `session:r1`, or `user:SESSION.r1`.
    pub id: String,
    /// What it says.
    pub spec: RuleSpec,
    /// Who made it.
    pub by: String,
    /// The gate at which it was made, if it was made of a decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateNo>,
    /// Since when it holds.
    pub since: Stamp,
}

impl SessionRule {
    /// The rule; it was one when it was made, and a later version that does not read it any more has none.
    pub fn compile(&self) -> Option<Rule> {
        let layer = if self.id.starts_with("user:") { Layer::User } else { Layer::Session };
        self.spec.compile(layer, &self.no.to_string()).ok()
    }
}

/// Where a gate stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateState {
    /// It waits for a decision.
    Open,
    /// Decided; the answer is on its way to the agent under this number of the outbox.
    Decided {
        /// By whom, what and when.
        verdict: Verdict,
        /// The outbox number of the answer.
        write: u64,
    },
    /// Decided, and the agent has the answer.
    Delivered {
        /// By whom, what and when.
        verdict: Verdict,
    },
    /// It closed without a decision.
    Withdrawn {
        /// Why.
        why: Withdrawal,
        /// When.
        at: Stamp,
    },
}

/// A decision with its author.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What was decided.
    pub decision: Decision,
    /// Who decided: a caller, or whoever made the rule.
    pub by: String,
    /// By what right.
    #[serde(default, skip_serializing_if = "Through::is_person")]
    pub through: Through,
    /// The rules that were made of it, so that such steps go on from now on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// When.
    pub at: Stamp,
}

/// By what right something was decided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Through {
    /// Somebody looked at it.
    #[default]
    Person,
    /// The gate's rule says so.
    Rule,
    /// Somebody lets such steps go on for a while.
    Bypass,
    /// Nobody decided in time.
    Expiry,
    /// The agent says that what it asked for has been done.
    Agent,
}

impl Through {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
    fn is_person(&self) -> bool {
        *self == Self::Person
    }
}

/// What can be decided at a gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Go on with the input as it is.
    Allow,
    /// Go on with another input.
    Edit {
        /// The input to use instead.
        input: Json,
    },
    /// Do not.
    Deny {
        /// What the agent is told.
        message: String,
    },
    /// The answers to a question, by question, or the values of a form, by field.
    Answer {
        /// A JSON object: question text → answer, or field → value.
        answers: Json,
    },
}

impl Decision {
    /// The word for it in the past tense.
    pub fn past(&self) -> &'static str {
        match self {
            Self::Allow => "allowed",
            Self::Edit { .. } => "allowed with changes",
            Self::Deny { .. } => "denied",
            Self::Answer { .. } => "answered",
        }
    }

    /// Whether the step happens, with the input that it was asked about or with another one.
    pub fn lets_go_on(&self) -> bool {
        match self {
            Self::Allow | Self::Edit { .. } => true,
            Self::Deny { .. } | Self::Answer { .. } => false,
        }
    }
}

/// Why a gate closed without a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Withdrawal {
    /// The agent took its question back.
    ByAgent,
    /// Its turn was interrupted.
    Interrupted,
    /// The session is stopping or was killed.
    Stopped,
    /// The process that asked is gone.
    ProcessGone,
}

/// A request of ours that the agent has not answered yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// Its number in the session; the agent's answer names it.
    pub no: ControlNo,
    /// When it was decided.
    pub asked: Stamp,
}

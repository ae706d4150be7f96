//! What people and programs ask of a session.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::state::Lifetime;
use crate::gate::Decision;
use crate::id::{AgentName, ClaimNo, GateNo, PromptNo, SessionId, SessionName, TurnNo};
use crate::policy::{RuleSpec, ToolKind, ToolUse};
use crate::prompt::{Class, OnPreempt};

/// A command with its author.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who asks.
    pub by: String,
    /// What for.
    pub command: Command,
}

/// A session to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// Its id, drawn by the shell.
    pub id: SessionId,
    /// What people call it.
    pub name: Option<SessionName>,
    /// The agent.
    pub agent: AgentName,
    /// The workspace, an absolute path.
    pub dir: String,
    /// The model to ask for.
    pub model: Option<String>,
    /// The permission mode to ask for.
    pub mode: Option<String>,
    /// Whether it ends with its first turn.
    pub lifetime: Lifetime,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// Where it works: `dev`, `prod`.
    pub environment: Option<String>,
    /// On whose behalf.
    pub submitter: Option<String>,
    /// Limit of a turn in milliseconds.
    pub turn_ms: Option<u64>,
    /// Its first prompt.
    pub prompt: Option<NewPrompt>,
}

/// A prompt to be queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPrompt {
    /// What to tell the agent.
    pub text: Arc<str>,
    /// How urgent it is.
    pub class: Class,
    /// The caller's idempotency key.
    pub key: Option<String>,
    /// The claim that it uses; its class is the claim's then.
    pub claim: Option<ClaimNo>,
    /// Whether it cuts a turn of a lower class short.
    pub preempt: bool,
    /// What becomes of its own turn if that is cut short.
    pub on_preempt: OnPreempt,
    /// What becomes of it if a prompt of the caller about the same waits already.
    pub coalesce: Option<Coalesce>,
}

/// How a burst of prompts about the same becomes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coalesce {
    /// What it is about, in the caller's words.
    pub topic: Arc<str>,
    /// Which text remains.
    pub keep: Keep,
}

/// Which text remains of prompts that become one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The last one: it says all that the ones before did.
    #[default]
    Last,
    /// All of them, one below the other.
    All,
}

impl NewPrompt {
    /// A prompt that waits for its turn.
    pub fn new(text: impl Into<Arc<str>>, class: Class) -> Self {
        Self {
            text: text.into(),
            class,
            key: None,
            claim: None,
            preempt: false,
            on_preempt: OnPreempt::default(),
            coalesce: None,
        }
    }
}

/// A claim to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewClaim {
    /// The class of its prompts.
    pub class: Class,
    /// How long it lasts without being renewed, in milliseconds awake.
    pub ttl_ms: u64,
    /// Whether it cuts a turn of a lower class short.
    pub preempt: bool,
    /// What becomes of its turns if they are cut short.
    pub on_preempt: OnPreempt,
}

/// Where a prompt is moved to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// Before all others of its class.
    First,
    /// Behind all others of its class.
    Last,
}

/// What becomes of a session's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rename {
    /// It stays.
    Keep,
    /// It has none.
    Clear,
    /// It is this.
    To(SessionName),
}

/// What a decision says of the steps to come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Always {
    /// Nothing.
    #[default]
    Once,
    /// The session has these rules from now on.
    Session(Vec<RuleSpec>),
    /// These are written below those of the user.
    User(Vec<RuleSpec>),
}

/// What can be asked of a session that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Queue a prompt. Opens an ended session again, and ends a hold of the same caller.
    Prompt(NewPrompt),
    /// Change the text or the place of a prompt that still waits.
    EditPrompt {
        /// Which.
        prompt: PromptNo,
        /// The text in place of the old one.
        text: Option<Arc<str>>,
        /// Another class: it is the last there, unless `to` says otherwise.
        class: Option<Class>,
        /// Another place within its class.
        to: Option<Move>,
    },
    /// Take a waiting prompt out of the queue.
    DropPrompt {
        /// Which.
        prompt: PromptNo,
    },
    /// Let a prompt go that waits for that.
    ReleasePrompt {
        /// Which.
        prompt: PromptNo,
    },
    /// Claim the next turns.
    Claim(NewClaim),
    /// Let a claim last longer.
    RenewClaim {
        /// Which.
        claim: ClaimNo,
        /// How long from now; none means as long as it was made for.
        ttl_ms: Option<u64>,
    },
    /// End a claim: its owner gives it back, anybody else evicts.
    EndClaim {
        /// Which.
        claim: ClaimNo,
    },
    /// Cancel the turn that runs.
    Interrupt {
        /// The turn that is meant; none means whichever runs.
        turn: Option<TurnNo>,
    },
    /// End the session in order.
    Stop,
    /// End the session's processes by force.
    Kill,
    /// Start the agent again, and let the queue go on.
    Resume,
    /// Decide at a gate.
    Decide {
        /// Which.
        gate: GateNo,
        /// What.
        decision: Decision,
        /// What it says of the steps to come.
        always: Always,
        /// What the step that it lets go on would do, with the input that it would have then; none where rules have no say.
        tool_use: Option<Box<ToolUse>>,
    },
    /// Give the session rules of its own.
    AddRules {
        /// Which.
        rules: Vec<RuleSpec>,
    },
    /// Take one of them away.
    RemoveRule {
        /// Its name.
        id: String,
    },
    /// Let steps go on for a while that would be asked about. It takes the place of one that is there.
    Bypass {
        /// Of tools of these kinds; of all, if there are none.
        kinds: Vec<ToolKind>,
        /// How long, in milliseconds.
        ms: u64,
    },
    /// End that.
    EndBypass,
    /// Change the model or the permission mode.
    Set {
        /// The model to use from the next turn on.
        model: Option<String>,
        /// The mode to use from the next turn on.
        mode: Option<String>,
    },
    /// Change what people call the session and know it by.
    Describe {
        /// What becomes of its name.
        name: Rename,
        /// Labels to be set.
        set: BTreeMap<String, String>,
        /// Labels to be removed.
        remove: BTreeSet<String>,
    },
}

//! What a session is.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::end::{Closing as ClosingWhy, End};
use super::event::Op;
use super::exit::{Exit, Verdict};
use super::queue::{Head, Queue};
use super::status::{Beneath, StatusNow};
use crate::agent::TaskKind;
use crate::claim::{Claim, ClaimState};
use crate::gate::{Bypass, Gate, SessionRule};
use crate::id::{
    AgentName, AgentSessionId, AttemptNo, ClaimNo, ControlNo, GateNo, ItemKey, NoticeNo, PromptNo, RuleNo,
    SessionId, SessionName, TaskKey, TurnNo,
};
use crate::manner::{Manner, Rung, Scope};
use crate::notice::Notice;
use crate::policy::Subject;
use crate::prompt::{Class, Prompt};
use crate::time::{BootId, Stamp};
use crate::turn::{Outcome, Preemptor, Usage};

/// A session, as far as deciding needs it. History is in the log, not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Its id.
    pub id: SessionId,
    /// The number of its last event.
    pub seq: u64,
    /// What it was made with, as changed since.
    pub profile: Arc<Profile>,
    /// When it was made.
    pub created: Stamp,
    /// Whether it is open.
    pub life: Life,
    /// Whether it is known what became of its process; false from a start of the daemon until it has looked.
    pub settled_since_boot: bool,
    /// Its process.
    pub process: Process,
    /// The turn that works on a prompt.
    pub turn: Option<Turn>,
    /// The turn that the agent began itself.
    pub own_turn: Option<OwnTurn>,
    /// A turn that is being cancelled.
    pub interrupt: Option<Interrupt>,
    /// The process is being ended.
    pub closing: Option<Closing>,
    /// Prompts that wait.
    pub queue: Queue,
    /// Who has, or waits for, the right to several turns.
    #[serde(default)]
    pub claims: BTreeMap<ClaimNo, Claim>,
    /// Who keeps the queue from going on.
    pub held: Option<String>,
    /// Somebody wants the process even without a prompt.
    pub launch_wanted: bool,
    /// Gates that are open, or decided and on their way.
    pub gates: BTreeMap<GateNo, Gate>,
    /// The tool calls that gates are, or were, about and that have not ended.
    #[serde(default)]
    pub gated: BTreeMap<GateNo, ItemKey>,
    /// What somebody is to be told, and was not yet.
    #[serde(default)]
    pub notices: BTreeMap<NoticeNo, Notice>,
    /// For a while steps go on that would be asked about.
    #[serde(default)]
    pub bypass: Option<Bypass>,
    /// Rules of its own.
    #[serde(default)]
    pub rules: Vec<SessionRule>,
    /// Rules that are to be written below those of the user. They hold here already.
    #[serde(default)]
    pub wanted_rules: BTreeMap<RuleNo, SessionRule>,
    /// Requests of ours that the agent has not answered.
    pub controls: BTreeMap<ControlNo, Wanted>,
    /// A model or mode to switch to once no turn runs.
    pub wanted: Option<Wanted>,
    /// The agent's conversation.
    pub conversation: Conversation,
    /// The model that the agent says it uses, or was started with.
    pub using_model: Option<String>,
    /// The permission mode that the agent says it uses, or was started in.
    pub using_mode: Option<String>,
    /// Tool calls that have begun and not ended.
    pub open_tools: BTreeMap<ItemKey, OpenTool>,
    /// Tasks that the agent runs beside its turns.
    pub tasks: BTreeMap<TaskKey, Task>,
    /// When the process last ended unasked, newest last; those within the window count.
    pub crashes: VecDeque<Stamp>,
    /// No launch before then.
    pub backoff_until: Option<Stamp>,
    /// The limit that the agent's account has reached: no turn before then.
    #[serde(default)]
    pub limited_until: Option<Stamp>,
    /// The last turn that ended.
    pub last_turn: Option<(TurnNo, Outcome)>,
    /// The last turn that had ended when the session was opened again: it does not end it once more.
    #[serde(default)]
    pub opened_after: Option<TurnNo>,
    /// Whether somebody asked to cancel it, or what the agent began by itself after it, whatever came of that.
    #[serde(default)]
    pub cut: bool,
    /// When it ended.
    pub last_turn_ended: Option<Stamp>,
    /// When a delegated task last ended.
    #[serde(default)]
    pub last_task_ended: Option<Stamp>,
    /// Since when a daemon watches without a break, if one had to find out what had become of the process.
    #[serde(default)]
    pub watched_since: Option<Stamp>,
    /// The last end of the process.
    pub last_exit: Option<Exit>,
    /// The verdict on it.
    pub last_verdict: Option<Verdict>,
    /// Turns that came to any end.
    pub turns_ended: u32,
    /// How many of them ended before the last launch.
    #[serde(default)]
    pub turns_before: u32,
    /// Tokens of all turns.
    pub usage: Usage,
    /// Cost of the earlier attempts, in millionths of a US dollar; `None` if none of them told one.
    pub cost_before_micro_usd: Option<u64>,
    /// Cost of the present attempt.
    pub cost_attempt_micro_usd: Option<u64>,
    /// The next numbers to give.
    pub next_turn: TurnNo,
    /// See `next_turn`.
    pub next_prompt: PromptNo,
    /// See `next_turn`.
    pub next_gate: GateNo,
    /// See `next_turn`.
    #[serde(default = "first_claim")]
    pub next_claim: ClaimNo,
    /// See `next_turn`.
    #[serde(default = "first_notice")]
    pub next_notice: NoticeNo,
    /// See `next_turn`.
    #[serde(default = "first_rule")]
    pub next_rule: RuleNo,
    /// See `next_turn`.
    pub next_control: ControlNo,
    /// See `next_turn`.
    pub next_attempt: AttemptNo,
    /// The status that the last `session.status_changed` told.
    pub status: StatusNow,
    /// While that is `unknown`: what it is as far as the log tells.
    #[serde(default)]
    pub beneath: Option<Beneath>,
}

fn first_claim() -> ClaimNo {
    ClaimNo(1)
}

fn first_notice() -> NoticeNo {
    NoticeNo(1)
}

fn first_rule() -> RuleNo {
    RuleNo(1)
}

/// What a session was made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
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
    /// Whether it ends with its turn.
    pub lifetime: Lifetime,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// Where it works: `dev`, `prod`.
    pub environment: Option<String>,
    /// On whose behalf.
    pub submitter: Option<String>,
    /// Limit of a turn in milliseconds.
    pub turn_ms: Option<u64>,
}

/// Whether a session ends with its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifetime {
    /// It ends as its turn did, once settled.
    OneShot,
    /// It stays until it is stopped.
    Kept,
}

/// Whether a session is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Life {
    /// It is.
    Open,
    /// It has ended; a prompt or a resume opens it again.
    Ended {
        /// How.
        end: End,
        /// When.
        at: Stamp,
    },
}

/// The session's process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Process {
    /// There is none.
    Absent,
    /// It is to be started; whether it runs is not known.
    Launching(Attempt),
    /// It runs, and the handshake is not done.
    Opening(Attempt),
    /// It runs and takes prompts.
    Live(Attempt),
}

impl Process {
    /// The attempt, if there is a process.
    pub fn attempt(&self) -> Option<&Attempt> {
        match self {
            Self::Absent => None,
            Self::Launching(attempt) | Self::Opening(attempt) | Self::Live(attempt) => Some(attempt),
        }
    }

    /// See [`Process::attempt`].
    pub(super) fn attempt_mut(&mut self) -> Option<&mut Attempt> {
        match self {
            Self::Absent => None,
            Self::Launching(attempt) | Self::Opening(attempt) | Self::Live(attempt) => Some(attempt),
        }
    }
}

/// One launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its number.
    pub no: AttemptNo,
    /// How the agent wants to be treated.
    pub manner: Arc<Manner>,
    /// The conversation that it continues.
    pub resume: Option<AgentSessionId>,
    /// The model it was launched with.
    pub model: Option<String>,
    /// The mode it was launched with.
    pub mode: Option<String>,
    /// Where the workspace led then, behind all links: what becomes of them later changes nothing for its rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<Arc<str>>,
    /// When the launch was decided.
    pub asked: Stamp,
    /// The process, once it runs.
    pub process: Option<ProcessIdentity>,
    /// When it was seen to run.
    pub spawned: Option<Stamp>,
    /// The agent's version, where it tells.
    pub version: Option<String>,
    /// What is written to it.
    pub outbox: Lane<Outgoing>,
    /// Signals sent to it.
    pub signals: Lane<SignalOut>,
    /// All signals of this attempt, for the verdict on its exit.
    pub sent: Vec<SignalOut>,
    /// Whether the end of its input is decided.
    pub stdin_closed: bool,
    /// When it last did anything.
    pub active: Stamp,
    /// Events that told of lines that could not be read.
    #[serde(default)]
    pub unreadable: u32,
}

impl Attempt {
    /// Whether it is on its way out, so that no turn may begin.
    pub fn leaving(&self) -> bool {
        self.stdin_closed || !self.sent.is_empty()
    }
}

/// A process that can be told from another one with the same number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since the boot; 0 where the system does not tell.
    pub start_ticks: u64,
    /// The boot that both belong to.
    pub boot: BootId,
}

/// A numbered lane to the holder: 1, 2, 3 … without gaps, each at most once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane<T> {
    /// The number that comes next.
    pub next: u64,
    /// What is decided and not known to be done.
    pub pending: VecDeque<T>,
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self { next: 1, pending: VecDeque::new() }
    }
}

/// An entry of the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outgoing {
    /// Its number.
    pub number: u64,
    /// What it is.
    pub op: Op,
    /// When it was decided.
    pub asked: Stamp,
    /// Whether the holder has it.
    pub accepted: bool,
}

/// A signal to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalOut {
    /// Its number.
    pub number: u64,
    /// To whom.
    pub scope: Scope,
    /// Which.
    pub signal: Signal,
}

/// The signals that are ever sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// As by Ctrl-C.
    Int,
    /// Ask to end.
    Term,
    /// Force.
    Kill,
}

impl Signal {
    /// Its number, the same on Linux and macOS.
    pub fn number(self) -> i32 {
        match self {
            Self::Int => 2,
            Self::Term => 15,
            Self::Kill => 9,
        }
    }
}

/// A turn that works on a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Its number.
    pub no: TurnNo,
    /// What it works on.
    pub prompt: Prompt,
    /// When it was decided.
    pub started: Stamp,
    /// How far it came.
    pub stage: Stage,
}

/// How far a turn came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Its prompt is to be written.
    Sending,
    /// The holder has the prompt; whether the agent got it is not known.
    Accepted,
    /// The prompt is in the agent's pipe.
    Written,
    /// The agent works on it.
    Running,
}

/// A turn that the agent began itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnTurn {
    /// Its number.
    pub no: TurnNo,
    /// When it began.
    pub started: Stamp,
}

/// A turn that is being cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interrupt {
    /// The turn; the cancel dies with it.
    pub turn: TurnNo,
    /// Why.
    pub cause: InterruptCause,
    /// How far the ladder is climbed.
    pub climb: Climb,
}

/// Why a turn is cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InterruptCause {
    /// Somebody asked.
    Asked {
        /// Who.
        by: String,
    },
    /// A deadline of ours passed.
    Deadline {
        /// Which, for people.
        what: String,
    },
    /// Something more urgent goes first.
    Preempted {
        /// What.
        by: Preemptor,
    },
}

/// The process is being ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// Why, and what comes after it.
    pub why: ClosingWhy,
    /// How far the ladder is climbed.
    pub climb: Climb,
}

/// A ladder with the steps that were taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Climb {
    /// The steps, in order.
    pub rungs: Vec<Rung>,
    /// How many were taken.
    pub taken: usize,
    /// When the last was taken, or the climb was decided.
    pub since: Stamp,
}

/// A model or mode that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// An interrupt that is not answered yet.
    Interrupt,
    /// A switch.
    Settings {
        /// The model.
        model: Option<String>,
        /// The mode.
        mode: Option<String>,
        /// When it was asked for.
        asked: Stamp,
    },
}

/// The agent's conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conversation {
    /// There has been none yet.
    None,
    /// It has this id.
    Known(AgentSessionId),
    /// The agent no longer has it.
    Lost {
        /// In the agent's words.
        message: String,
    },
}

/// A tool call that has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenTool {
    /// The tool.
    pub tool: String,
    /// When it began.
    pub started: Stamp,
}

/// A task that the agent runs beside its turns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// What it is.
    pub kind: TaskKind,
    /// For people.
    pub title: String,
    /// When it began.
    pub started: Stamp,
}

impl State {
    /// The model: what the agent says it uses, or the one that it is started with next.
    pub fn model(&self) -> Option<&str> {
        self.used(self.using_model.as_deref(), self.profile.model.as_deref())
    }

    /// The permission mode; see [`State::model`].
    pub fn mode(&self) -> Option<&str> {
        self.used(self.using_mode.as_deref(), self.profile.mode.as_deref())
    }

    fn used<'a>(&self, using: Option<&'a str>, wanted: Option<&'a str>) -> Option<&'a str> {
        match self.process {
            Process::Absent => wanted.or(using),
            Process::Launching(_) | Process::Opening(_) | Process::Live(_) => using.or(wanted),
        }
    }

    /// Whether no delegated work and no turn is under way.
    pub fn settled(&self) -> bool {
        self.turn.is_none()
            && self.own_turn.is_none()
            && !self.tasks.values().any(|task| task.kind == TaskKind::Delegated)
    }

    /// The number of the turn that an interrupt without a name would mean.
    pub fn running_turn(&self) -> Option<TurnNo> {
        self.turn.as_ref().map(|t| t.no).or(self.own_turn.as_ref().map(|t| t.no))
    }

    /// What is served next, at the next boundary of a turn.
    pub fn head(&self) -> Option<Head<'_>> {
        let claim = self.claims.values().min_by_key(|claim| claim.place());
        match (claim, self.queue.first()) {
            // A prompt that uses the claim shares its place.
            (Some(claim), Some(prompt)) if prompt.place() > claim.place() => Some(Head::Claim(claim)),
            (Some(claim), None) => Some(Head::Claim(claim)),
            (_, prompt) => prompt.map(Head::Prompt),
        }
    }

    /// The prompt that gets the next turn, unless somebody holds the queue.
    pub fn next_prompt_to_serve(&self) -> Option<&Prompt> {
        match self.head()? {
            Head::Prompt(prompt) if self.held.is_none() => Some(prompt),
            Head::Prompt(_) | Head::Claim(_) => None,
        }
    }

    /// The claim whose turn it is.
    pub fn holder(&self) -> Option<&Claim> {
        self.claims.values().find(|claim| claim.state == ClaimState::Held)
    }

    /// The class of the turn that runs. What the agent began itself may always be cut short.
    pub fn running_class(&self) -> Option<Class> {
        let own = self.own_turn.as_ref().map(|_| Class::Background);
        self.turn.as_ref().map(|turn| turn.prompt.class).or(own)
    }

    /// What rules look at in this session.
    pub fn subject(&self) -> Subject<'_> {
        Subject {
            agent: self.profile.agent.as_str(),
            labels: &self.profile.labels,
            environment: self.profile.environment.as_deref(),
            submitter: self.profile.submitter.as_deref(),
        }
    }

    /// Whether a gate waits for somebody.
    pub fn has_open_gate(&self) -> bool {
        self.gates.values().any(|gate| matches!(gate.state, crate::gate::GateState::Open))
    }

    /// Cost of all attempts in millionths of a US dollar; `None` if no agent ever told one.
    pub fn cost_micro_usd(&self) -> Option<u64> {
        match (self.cost_before_micro_usd, self.cost_attempt_micro_usd) {
            (None, None) => None,
            (before, now) => Some(before.unwrap_or(0).saturating_add(now.unwrap_or(0))),
        }
    }
}

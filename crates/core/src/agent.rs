//! What adapters and the core say to each other.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::gate::{Ask, Decision, GateKind};
use crate::id::{AgentSessionId, ControlNo, GateNo, ItemKey, PromptNo, TaskKey, TurnNo};
use crate::item::{Item, ToolOutcome};
use crate::json::Json;
use crate::policy::ToolUse;
use crate::turn::{Ending, TurnBy, Usage};

/// Something that the agent told us, without the agent's dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentSays {
    /// The handshake is done: prompts may be written.
    Ready {
        /// Its version, where it tells.
        version: Option<String>,
    },
    /// Its name for the conversation; may change in the life of a process.
    Conversation {
        /// The name.
        id: AgentSessionId,
    },
    /// The conversation that we asked it to resume does not exist.
    ConversationLost {
        /// In the agent's words.
        message: String,
    },
    /// The model and mode that it works with.
    Using {
        /// The model.
        model: Option<String>,
        /// The permission mode.
        mode: Option<String>,
    },
    /// It has the prompt that is in flight.
    PromptTaken,
    /// A turn began.
    TurnBegan {
        /// Whose idea it was.
        by: TurnBy,
    },
    /// A turn ended.
    TurnEnded {
        /// Whose idea it had been.
        by: TurnBy,
        /// How.
        ending: Ending,
        /// What it cost.
        usage: Usage,
    },
    /// A piece of content is finished (messages, reasoning, notices).
    Item {
        /// The content.
        item: Item,
    },
    /// A tool call began.
    ToolStarted {
        /// The call; its body is [`ItemBody::ToolCall`](crate::item::ItemBody::ToolCall).
        item: Item,
    },
    /// A tool call ended.
    ToolEnded {
        /// The call.
        call: ItemKey,
        /// How.
        outcome: ToolOutcome,
        /// What came of it.
        text: Arc<str>,
    },
    /// It waits for a decision.
    Asked {
        /// What it asks.
        ask: Ask,
        /// What the tool is about to do, for the rules.
        tool_use: Box<ToolUse>,
    },
    /// It takes a question back.
    AskWithdrawn {
        /// Its id of the request.
        request: Json,
    },
    /// What it asks for has been done, and it waits for an answer all the same.
    AskFulfilled {
        /// Its id of the request.
        request: Json,
    },
    /// It asks something that the adapter cannot put to anybody; it waits for a refusal, which
    /// [`Action::Refuse`] writes.
    UnknownRequest {
        /// Its id of the request.
        request: Json,
        /// What it asks, in its own word.
        subtype: String,
    },
    /// It asks something that is too long to be read; it waits for a refusal.
    AskedTooMuch {
        /// Its id of the request.
        request: Json,
        /// Whether it only announces what it is about to do.
        announced: bool,
    },
    /// It answers a request of ours.
    ControlAnswered {
        /// Our number for the request.
        control: ControlNo,
        /// What it answers.
        answer: ControlAnswer,
    },
    /// It began a task that may outlive the turn.
    TaskStarted {
        /// Its name for the task.
        task: TaskKey,
        /// What the task is.
        kind: TaskKind,
        /// For people.
        title: String,
    },
    /// Such a task ended.
    TaskEnded {
        /// Its name for the task.
        task: TaskKey,
        /// In the agent's words: `completed`, `failed`, `stopped`.
        how: String,
    },
    /// It failed to reach its model and tries again.
    Retrying {
        /// Which try.
        attempt: u32,
        /// How many there will be.
        of: u32,
        /// How long it waits, in milliseconds.
        delay_ms: u64,
        /// In the agent's words.
        reason: String,
    },
    /// Its account has reached a limit, and until when: turns fail before that.
    Limited {
        /// The moment on the wall clock, in milliseconds since 1970-01-01 UTC.
        until_ms: i64,
        /// Which limit, in its own word: `five_hour`.
        what: String,
    },
    /// It is alive and says nothing that matters. Counts as activity; never stored.
    Alive,
    /// A line that is not what the protocol allows. The raw bytes stay in the journal.
    Malformed {
        /// What is wrong with it.
        why: String,
        /// Its length in bytes.
        bytes: u64,
    },
    /// A message of a kind that the adapter does not know. The raw bytes stay in the journal.
    Unrecognized {
        /// The kind, as far as it can be told.
        kind: String,
    },
}

/// An answer to a request of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlAnswer {
    /// Done; with the value that the agent settled on, where it says so (the resolved model).
    Done {
        /// The value.
        value: Option<String>,
    },
    /// Refused.
    Refused {
        /// The agent's code, where it has one.
        code: Option<String>,
        /// In the agent's words.
        message: String,
    },
}

/// What a task beside the turns is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// Work that the turn delegated: a subagent. A session is not settled while one runs.
    Delegated,
    /// A shell in the background, such as a dev server, which may run for ever.
    Shell,
}

/// Something to write to the agent's standard input. The adapter makes bytes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Open the protocol.
    Initialize,
    /// The same, and have it announce every step of its tools before it takes it: rules may hold up what it would not ask
    /// about.
    InitializeGuarded,
    /// Begin a turn. The text is the prompt's; it is looked up when the bytes are made.
    Prompt {
        /// The turn.
        turn: TurnNo,
        /// The prompt.
        prompt: PromptNo,
    },
    /// Cancel what runs.
    Interrupt {
        /// Our number for the request.
        control: ControlNo,
    },
    /// Answer a gate.
    Answer {
        /// The gate.
        gate: GateNo,
        /// The agent's id of its request.
        request: Json,
        /// The input that was asked about.
        input: Json,
        /// What was decided.
        decision: Decision,
        /// What it had asked for. Kinds are answered in different ways.
        #[serde(default)]
        kind: GateKind,
        /// Whether it was announced, and not asked about.
        #[serde(default)]
        announced: bool,
    },
    /// Let the agent go on as it would with a step that it announced: it may still ask.
    Pass {
        /// The agent's id of its request.
        request: Json,
    },
    /// Keep the agent from a step that it announced, without a gate: its turn is ending.
    Stay {
        /// The agent's id of its request.
        request: Json,
        /// What it is told.
        message: String,
    },
    /// Answer an elicitation that nobody answers: its user went away without a word.
    Dismiss {
        /// The agent's id of its request.
        request: Json,
    },
    /// Refuse a request of the agent that nobody here can answer
    /// (see [`AgentSays::UnknownRequest`]).
    Refuse {
        /// The agent's id of its request.
        request: Json,
        /// Why, for the agent.
        message: String,
    },
    /// Use another model from now on.
    SetModel {
        /// Our number for the request.
        control: ControlNo,
        /// The model.
        model: String,
    },
    /// Use another permission mode from now on.
    SetMode {
        /// Our number for the request.
        control: ControlNo,
        /// The mode.
        mode: String,
    },
}

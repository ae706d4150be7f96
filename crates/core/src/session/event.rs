//! Stored facts, in the past tense.
//!
//! An event is a kind (its serde name) and data; the two are kept apart in the store, so that kinds can be filtered
//! and an unknown kind can be kept. Kinds and members are never renamed: old logs must fold for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::end::{Closing, End, SettingsResult};
use super::exit::{Exit, Verdict as ExitVerdict};
use super::observation::SpawnError;
use super::state::{InterruptCause, Lifetime, ProcessIdentity, Profile, Signal};
use super::status::{Cause, Status};
use crate::agent::{Action, ControlAnswer, TaskKind};
use crate::claim::{Claim, ClaimEnd};
use crate::gate::{Bypass, Gate, SessionRule, Verdict, Withdrawal};
use crate::id::{
    AgentSessionId, AttemptNo, ClaimNo, ControlNo, GateNo, ItemKey, NoticeNo, PromptNo, RuleNo, SessionId,
    SessionName, TaskKey, TurnNo,
};
use crate::item::{Item, ToolOutcome};
use crate::json::Json;
use crate::manner::{Manner, Rung, Scope};
use crate::notice::Notice;
use crate::prompt::{Class, Prompt};
use crate::time::Stamp;
use crate::turn::{Outcome, Usage};

/// An event in its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Its number in the session, from 1 without gaps.
    pub seq: u64,
    /// When it happened.
    pub at: Stamp,
    /// What happened.
    pub event: Event,
}

/// What is written to an agent's standard input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Bytes that the adapter makes.
    Write(Action),
    /// Nothing more: the end of input.
    Close,
}

macro_rules! events {
    ($( $(#[$doc:meta])* $kind:literal $name:ident { $( $(#[$field_doc:meta])* $field:ident : $type:ty ),* $(,)? } )*) => {
        /// What happened.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Event {
            $( $(#[$doc])* #[serde(rename = $kind)] $name { $( $(#[$field_doc])* $field: $type ),* }, )*
            /// An event of a later version. Kept as it is; it changes nothing.
            #[serde(skip)]
            Unknown {
                /// Its kind.
                kind: String,
                /// Its data.
                data: Json,
            },
        }

        /// All kinds of events, in the order of their declaration.
        pub const KINDS: &[&str] = &[$($kind),*];

        impl Event {
            /// The stable name of the kind.
            pub fn kind(&self) -> &str {
                match self {
                    $( Self::$name { .. } => $kind, )*
                    Self::Unknown { kind, .. } => kind,
                }
            }
        }
    };
}

events! {
    /// A session was made.
    "session.created" SessionCreated {
        /// Its id.
        id: SessionId,
        /// What it was made with.
        profile: Profile,
        /// Who made it.
        by: String,
    }
    /// It got another name, or none.
    "session.renamed" SessionRenamed {
        /// The name.
        name: Option<SessionName>,
        /// Who did.
        by: String,
    }
    /// Its labels changed.
    "session.labelled" SessionLabelled {
        /// Labels that were set.
        set: BTreeMap<String, String>,
        /// Labels that were removed.
        remove: BTreeSet<String>,
        /// Who did.
        by: String,
    }
    /// Its status changed. Always the last event of the step that changed it.
    "session.status_changed" StatusChanged {
        /// Before the step.
        from: Option<Status>,
        /// After it.
        to: Status,
        /// The event that led here.
        cause: Cause,
    }
    /// The daemon started and did not know what had become of the process.
    "session.unsettled" Unsettled {}
    /// It knows now.
    "session.settled" Settled {}
    /// The queue stopped.
    "session.held" Held {
        /// Who did.
        by: String,
    }
    /// The queue goes on.
    "session.released" Released {
        /// Who did.
        by: String,
    }
    /// Somebody wants the agent's process.
    "session.resume_asked" ResumeAsked {
        /// Who.
        by: String,
    }
    /// It ended.
    "session.ended" SessionEnded {
        /// How.
        end: End,
    }
    /// It was opened again.
    "session.reopened" SessionReopened {
        /// Who did.
        by: String,
        /// Whether it ends with its next turn.
        lifetime: Lifetime,
    }
    /// A prompt was queued.
    "prompt.accepted" PromptAccepted {
        /// The prompt.
        prompt: Prompt,
    }
    /// A waiting prompt got another text.
    "prompt.edited" PromptEdited {
        /// Which.
        prompt: PromptNo,
        /// The text.
        text: Arc<str>,
        /// Who did.
        by: String,
    }
    /// A waiting prompt was taken out of the queue.
    "prompt.dropped" PromptDropped {
        /// Which.
        prompt: PromptNo,
        /// Who did, or what.
        by: String,
    }
    /// A waiting prompt got another place.
    "prompt.moved" PromptMoved {
        /// Which.
        prompt: PromptNo,
        /// Its class.
        class: Class,
        /// Its rank within the class.
        rank: i64,
        /// Who did.
        by: String,
    }
    /// A prompt that waited for that was let go.
    "prompt.released" PromptReleased {
        /// Which.
        prompt: PromptNo,
        /// Who did.
        by: String,
    }
    /// Somebody claimed the next turns.
    "claim.made" ClaimMade {
        /// The claim.
        claim: Claim,
    }
    /// A claim lasts longer.
    "claim.renewed" ClaimRenewed {
        /// Which.
        claim: ClaimNo,
        /// How long from then, in milliseconds awake.
        ttl_ms: u64,
    }
    /// It is a claim's turn.
    "claim.granted" ClaimGranted {
        /// Which.
        claim: ClaimNo,
    }
    /// A higher class goes before a claim whose turn it was.
    "claim.suspended" ClaimSuspended {
        /// Which.
        claim: ClaimNo,
    }
    /// A claim ended. What it had queued keeps its place.
    "claim.ended" ClaimEnded {
        /// Which.
        claim: ClaimNo,
        /// How.
        how: ClaimEnd,
    }
    /// A prompt got its turn; its text is to be written to the agent.
    "turn.started" TurnStarted {
        /// The turn.
        turn: TurnNo,
        /// The prompt.
        prompt: PromptNo,
        /// The attempt.
        attempt: AttemptNo,
    }
    /// The agent works on the prompt.
    "turn.taken" TurnTaken {
        /// The turn.
        turn: TurnNo,
    }
    /// The agent began a turn itself.
    "turn.begun_by_agent" OwnTurnBegun {
        /// The turn.
        turn: TurnNo,
        /// The attempt.
        attempt: AttemptNo,
    }
    /// A turn ended.
    "turn.ended" TurnEnded {
        /// The turn.
        turn: TurnNo,
        /// The prompt that it worked on, if it was not the agent's own.
        prompt: Option<PromptNo>,
        /// How.
        outcome: Outcome,
        /// What it cost.
        usage: Usage,
    }
    /// A cancel was decided.
    "interrupt.asked" InterruptAsked {
        /// The turn.
        turn: TurnNo,
        /// Why.
        cause: InterruptCause,
    }
    /// The next step of a cancel was decided.
    "interrupt.step" InterruptStep {
        /// The turn.
        turn: TurnNo,
        /// The step.
        rung: Rung,
    }
    /// The end of the process was decided.
    "closing.asked" ClosingAsked {
        /// Why.
        why: Closing,
        /// The steps to take.
        rungs: Vec<Rung>,
    }
    /// The next step towards it was decided.
    "closing.step" ClosingStep {
        /// The step.
        rung: Rung,
    }
    /// A launch was decided.
    "attempt.launched" AttemptLaunched {
        /// Its number.
        attempt: AttemptNo,
        /// How the agent wants to be treated.
        manner: Arc<Manner>,
        /// The conversation to continue.
        resume: Option<AgentSessionId>,
        /// The model to ask for.
        model: Option<String>,
        /// The mode to ask for.
        mode: Option<String>,
        /// Where the workspace leads at that time, behind all links.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        workspace: Option<Arc<str>>,
    }
    /// The process runs.
    "attempt.spawned" AttemptSpawned {
        /// Its number.
        attempt: AttemptNo,
        /// The process.
        process: ProcessIdentity,
    }
    /// The process could not be started.
    "attempt.launch_failed" AttemptLaunchFailed {
        /// Its number.
        attempt: AttemptNo,
        /// Why.
        error: SpawnError,
    }
    /// The handshake is done.
    "attempt.ready" AttemptReady {
        /// Its number.
        attempt: AttemptNo,
        /// The agent's version.
        version: Option<String>,
    }
    /// The process ended.
    "attempt.exited" AttemptExited {
        /// Its number.
        attempt: AttemptNo,
        /// How.
        exit: Exit,
        /// The verdict.
        verdict: ExitVerdict,
    }
    /// The holder ended without a record; what became of the process is not known, only that it is gone.
    "attempt.lost" AttemptLost {
        /// Its number.
        attempt: AttemptNo,
        /// The last lines of its standard error.
        stderr: Vec<String>,
    }
    /// An unasked end counts against the budget, and the next launch waits.
    "attempt.backoff" BackoffSet {
        /// Unasked ends in the window.
        crashes: u32,
        /// The wait in milliseconds.
        wait_ms: u64,
    }
    /// That wait is over; the launch waits for nothing but its slot.
    "attempt.backoff_over" BackoffOver {}
    /// Something is to be written to the agent.
    "outbox.intended" OutboxIntended {
        /// The attempt.
        attempt: AttemptNo,
        /// Its number.
        number: u64,
        /// What.
        op: Op,
    }
    /// The holder has it.
    "outbox.accepted" OutboxAccepted {
        /// The attempt.
        attempt: AttemptNo,
        /// Its number.
        number: u64,
    }
    /// The agent has it.
    "outbox.written" OutboxWritten {
        /// The attempt.
        attempt: AttemptNo,
        /// Its number.
        number: u64,
    }
    /// It could not be written.
    "outbox.failed" OutboxFailed {
        /// The attempt.
        attempt: AttemptNo,
        /// Its number.
        number: u64,
        /// Why.
        error: String,
    }
    /// A signal is to be sent.
    "signal.intended" SignalIntended {
        /// The attempt.
        attempt: AttemptNo,
        /// Its number.
        number: u64,
        /// To whom.
        scope: Scope,
        /// Which.
        signal: Signal,
    }
    /// It was sent.
    "signal.sent" SignalSent {
        /// The attempt.
        attempt: AttemptNo,
        /// Its number.
        number: u64,
        /// To how many processes.
        delivered: u32,
    }
    /// The agent told the id of its conversation.
    "conversation.known" ConversationKnown {
        /// The id.
        id: AgentSessionId,
    }
    /// The agent does not have the conversation.
    "conversation.lost" ConversationLost {
        /// In the agent's words.
        message: String,
    }
    /// A piece of content is finished.
    "item.added" ItemAdded {
        /// The turn.
        turn: Option<TurnNo>,
        /// The content.
        item: Item,
    }
    /// A tool call began.
    "tool.started" ToolStarted {
        /// The turn.
        turn: Option<TurnNo>,
        /// The call.
        item: Item,
    }
    /// A tool call ended.
    "tool.ended" ToolEnded {
        /// The turn.
        turn: Option<TurnNo>,
        /// The call.
        call: ItemKey,
        /// How.
        outcome: ToolOutcome,
        /// What came of it.
        text: Arc<str>,
    }
    /// A gate opened.
    "gate.opened" GateOpened {
        /// The gate.
        gate: Box<Gate>,
    }
    /// It was decided; the answer is on its way.
    "gate.decided" GateDecided {
        /// The gate.
        gate: GateNo,
        /// What was decided and by whom.
        verdict: Verdict,
        /// The outbox number of the answer.
        write: u64,
    }
    /// The agent has the answer.
    "gate.delivered" GateDelivered {
        /// The gate.
        gate: GateNo,
    }
    /// A gate is about to expire.
    "gate.expiring" GateExpiring {
        /// The gate.
        gate: GateNo,
    }
    /// It closed without a decision.
    "gate.withdrawn" GateWithdrawn {
        /// The gate.
        gate: GateNo,
        /// Why.
        why: Withdrawal,
    }
    /// What was decided about has ended.
    "gate.outcome" GateOutcome {
        /// The gate.
        gate: GateNo,
        /// How its tool ended.
        outcome: ToolOutcome,
    }
    /// Somebody is to be told something.
    "notice.wanted" NoticeWanted {
        /// What.
        notice: Notice,
    }
    /// They were told, or could not be.
    "notice.told" NoticeTold {
        /// Which notice.
        notice: NoticeNo,
        /// Why it could not be told.
        error: Option<String>,
    }
    /// The session has a rule of its own.
    "rule.added" RuleAdded {
        /// Which.
        rule: Box<SessionRule>,
    }
    /// A rule is to be written below those of the user.
    "rule.wanted" RuleWanted {
        /// Which.
        rule: Box<SessionRule>,
    }
    /// It was, or could not be.
    "rule.written" RuleWritten {
        /// Which.
        rule: RuleNo,
        /// Why it could not be written.
        error: Option<String>,
    }
    /// It has it no more.
    "rule.removed" RuleRemoved {
        /// Which.
        id: String,
        /// Who took it away.
        by: String,
    }
    /// For a while steps go on that would be asked about.
    "bypass.began" BypassBegan {
        /// Which, and how long. It takes the place of one that was there.
        bypass: Bypass,
    }
    /// They do not any more.
    "bypass.ended" BypassEnded {
        /// Who ended it; nobody if its time was over.
        by: Option<String>,
    }
    /// The agent answered a request of ours.
    "control.answered" ControlAnswered {
        /// The request.
        control: ControlNo,
        /// The answer.
        answer: ControlAnswer,
    }
    /// It did not, in time.
    "control.expired" ControlExpired {
        /// The request.
        control: ControlNo,
    }
    /// Somebody wants another model or mode.
    "settings.wanted" SettingsWanted {
        /// The model.
        model: Option<String>,
        /// The mode.
        mode: Option<String>,
        /// Who.
        by: String,
    }
    /// The wish was sent to the agent.
    "settings.asked" SettingsAsked {
        /// The number of the request.
        control: ControlNo,
        /// The model.
        model: Option<String>,
        /// The mode.
        mode: Option<String>,
    }
    /// What came of it.
    "settings.resolved" SettingsResolved {
        /// The model.
        model: Option<String>,
        /// The mode.
        mode: Option<String>,
        /// What came of it.
        result: SettingsResult,
    }
    /// The agent told what it uses.
    "settings.using" SettingsUsing {
        /// The model.
        model: Option<String>,
        /// The permission mode.
        mode: Option<String>,
    }
    /// The agent began a task beside its turns.
    "task.started" TaskStarted {
        /// Its name.
        task: TaskKey,
        /// What it is.
        kind: TaskKind,
        /// For people.
        title: String,
    }
    /// Such a task ended.
    "task.ended" TaskEnded {
        /// Its name.
        task: TaskKey,
        /// How.
        how: String,
    }
    /// The agent could not reach its model and tries again.
    "agent.retrying" Retrying {
        /// Which try.
        attempt: u32,
        /// How many there will be.
        of: u32,
        /// The wait in milliseconds.
        delay_ms: u64,
        /// In the agent's words.
        reason: String,
    }
    /// The agent's account has reached a limit; its turns wait until that is over.
    "agent.limited" Limited {
        /// Until when, in milliseconds since 1970-01-01 UTC.
        until_ms: i64,
        /// Which limit, in the agent's word.
        what: String,
    }
    /// That moment has come, or a turn went through before.
    "agent.limit_over" LimitOver {}
    /// The agent sent a line that its protocol does not allow. Its bytes are in the journal.
    "agent.malformed" Malformed {
        /// What is wrong with it.
        why: String,
        /// Its length.
        bytes: u64,
    }
    /// The agent sent a message of an unknown kind. Its bytes are in the journal.
    "agent.unrecognized" Unrecognized {
        /// The kind.
        kind: String,
    }
    /// Too many lines of the agent could not be read: further ones are in its journal alone.
    "agent.muted" Muted {
        /// How many were told.
        after: u32,
    }
    /// The agent was active. Told now and then, so that a watch over silence survives a restart of the daemon.
    "agent.active" Active {}
}

/// Why a stored event could not be read.
#[derive(Debug, Error)]
#[error("event {kind:?} cannot be read: {source}")]
pub struct DecodeError {
    /// Its kind.
    pub kind: String,
    /// Why.
    pub source: serde_json::Error,
}

impl Event {
    /// The data as JSON, without the kind.
    pub fn data(&self) -> String {
        if let Self::Unknown { data, .. } = self {
            return data.as_str().to_owned();
        }
        // `{"kind":data}` with a known kind that needs no escapes. An event holds only strings, numbers, lists and
        // maps with string keys, so printing it cannot fail.
        let text = serde_json::to_string(self).unwrap_or_default();
        text.get(self.kind().len() + 4..text.len().saturating_sub(1)).unwrap_or("{}").to_owned()
    }

    /// Reads an event back. A kind that is not known is kept as [`Event::Unknown`]; one that is known and does not
    /// read is an error: the log is damaged, or older than this program understands.
    pub fn decode(kind: &str, data: &str) -> Result<Self, DecodeError> {
        let fail = |source| DecodeError { kind: kind.to_owned(), source };
        if KINDS.contains(&kind) {
            return serde_json::from_str(&format!("{{\"{kind}\":{data}}}")).map_err(fail);
        }
        Ok(Self::Unknown { kind: kind.to_owned(), data: Json::parse(data).map_err(fail)? })
    }
}

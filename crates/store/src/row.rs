//! The summary of a session.

use std::collections::BTreeMap;

use lockkeeper_core::agent::TaskKind;
use lockkeeper_core::gate::{Bypass, GateState};
use lockkeeper_core::id::{
    AgentName, AgentSessionId, AttemptNo, PromptNo, SessionId, SessionName, TaskKey, TurnNo,
};
use lockkeeper_core::prompt::Class;
use lockkeeper_core::session::{
    Cause, Conversation, Deadline, End, Exit, ExitVerdict, Life, Lifetime, Stage, State, Status, Waits,
    deadline, waits,
};
use lockkeeper_core::time::Stamp;
use lockkeeper_core::turn::{Outcome, TurnBy, Usage};
use serde::{Deserialize, Serialize};

/// The version of what a stored row means. To be raised when a state makes another row than it did: stored rows are then
/// made anew from the log when they are read.
pub(crate) const ROW_FORMAT: i64 = 2;

/// What a list shows of a session. A function of its state and of nothing else, so no engine computes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRow {
    /// Its id.
    pub id: SessionId,
    /// The number of its last event.
    pub seq: u64,
    /// Its name.
    pub name: Option<SessionName>,
    /// The agent.
    pub agent: AgentName,
    /// The workspace, an absolute path.
    pub dir: String,
    /// Its status.
    pub status: Status,
    /// Since when.
    pub since: Stamp,
    /// The event that led there.
    pub cause: Cause,
    /// When it was made.
    pub created: Stamp,
    /// When it ended, if it has.
    pub ended_at: Option<Stamp>,
    /// How.
    pub end: Option<End>,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// Where it works.
    pub environment: Option<String>,
    /// On whose behalf.
    pub submitter: Option<String>,
    /// Whether it ends with its turn.
    pub lifetime: Lifetime,
    /// See `State::model`.
    pub model: Option<String>,
    /// See `State::mode`.
    pub mode: Option<String>,
    /// The number of the present attempt.
    pub attempt: Option<AttemptNo>,
    /// How many attempts there have been.
    pub attempts: u32,
    /// The process, while it is known to run.
    pub pid: Option<u32>,
    /// The turn that runs.
    pub turn: Option<RunningTurn>,
    /// The turn that ended last.
    pub last_turn: Option<LastTurn>,
    /// Turns that came to any end.
    pub turns_ended: u32,
    /// Prompts that wait.
    pub queued: usize,
    /// Claims that are held or wait.
    #[serde(default)]
    pub claims: usize,
    /// Gates that wait for a decision.
    pub open_gates: usize,
    /// Steps that go on for a while.
    #[serde(default)]
    pub bypass: Option<Bypass>,
    /// What the agent runs beside its turns.
    pub tasks: Vec<TaskRow>,
    /// Tokens of all turns.
    pub usage: Usage,
    /// Cost of all attempts in millionths of a US dollar, if an agent told one.
    pub cost_micro_usd: Option<u64>,
    /// Whether no turn and no delegated work is under way.
    pub settled: bool,
    /// The agent's name for the conversation.
    pub agent_session_id: Option<AgentSessionId>,
    /// The last end of a process.
    pub last_exit: Option<Exit>,
    /// The verdict on that end.
    #[serde(default)]
    pub last_verdict: Option<ExitVerdict>,
    /// Who keeps the queue from going on.
    pub held: Option<String>,
    /// What it waits for, if it is queued.
    #[serde(default)]
    pub waits: Option<Waits>,
    /// Limit of a turn in milliseconds.
    #[serde(default)]
    pub turn_ms: Option<u64>,
    /// The next deadline.
    #[serde(default)]
    pub until: Option<Deadline>,
    /// Whether a starting daemon must look at it: it has a process, or something that waits.
    pub live: bool,
}

/// A turn that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningTurn {
    /// Its number.
    pub no: TurnNo,
    /// Whose idea it was.
    pub by: TurnBy,
    /// The prompt that it works on, unless the agent began it itself.
    pub prompt: Option<PromptNo>,
    /// Who sent that prompt.
    pub caller: Option<String>,
    /// How urgent that prompt is.
    pub class: Option<Class>,
    /// How far it came, if it works on a prompt.
    pub stage: Option<Stage>,
    /// When it began.
    pub started: Stamp,
}

/// A turn that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastTurn {
    /// Its number.
    pub no: TurnNo,
    /// How it ended.
    pub outcome: Outcome,
    /// When.
    pub ended: Option<Stamp>,
}

/// A task that the agent runs beside its turns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRow {
    /// The agent's name for it.
    pub key: TaskKey,
    /// What it is.
    pub kind: TaskKind,
    /// For people.
    pub title: String,
    /// When it began.
    pub started: Stamp,
}

impl SessionRow {
    /// Summarizes a state.
    pub fn of(state: &State) -> Self {
        let profile = &state.profile;
        let attempt = state.process.attempt();
        let (ended_at, end) = match &state.life {
            Life::Open => (None, None),
            Life::Ended { end, at } => (Some(at.clone()), Some(end.clone())),
        };
        Self {
            id: state.id.clone(),
            seq: state.seq,
            name: profile.name.clone(),
            agent: profile.agent.clone(),
            dir: profile.dir.clone(),
            status: state.status.status,
            since: state.status.since.clone(),
            cause: state.status.cause.clone(),
            created: state.created.clone(),
            ended_at,
            end,
            labels: profile.labels.clone(),
            environment: profile.environment.clone(),
            submitter: profile.submitter.clone(),
            lifetime: profile.lifetime,
            model: state.model().map(str::to_owned),
            mode: state.mode().map(str::to_owned),
            attempt: attempt.map(|attempt| attempt.no),
            attempts: state.next_attempt.0.saturating_sub(1),
            pid: attempt.and_then(|attempt| attempt.process.as_ref()).map(|process| process.pid),
            turn: running_turn(state),
            last_turn: state.last_turn.as_ref().map(|(no, outcome)| LastTurn {
                no: *no,
                outcome: outcome.clone(),
                ended: state.last_turn_ended.clone(),
            }),
            turns_ended: state.turns_ended,
            queued: state.queue.len(),
            claims: state.claims.len(),
            open_gates: state.gates.values().filter(|gate| matches!(gate.state, GateState::Open)).count(),
            bypass: state.bypass.clone(),
            tasks: tasks(state),
            usage: state.usage.clone(),
            cost_micro_usd: state.cost_micro_usd(),
            settled: state.settled(),
            agent_session_id: match &state.conversation {
                Conversation::Known(id) => Some(id.clone()),
                Conversation::None | Conversation::Lost { .. } => None,
            },
            last_exit: state.last_exit.clone(),
            last_verdict: state.last_verdict,
            held: state.held.clone(),
            waits: waits(state),
            turn_ms: profile.turn_ms,
            until: deadline(state, &state.status.since.boot),
            live: live(state),
        }
    }

    /// Whether it has ended.
    pub fn ended(&self) -> bool {
        self.end.is_some()
    }
}

fn running_turn(state: &State) -> Option<RunningTurn> {
    let ours = state.turn.as_ref().map(|turn| RunningTurn {
        no: turn.no,
        by: TurnBy::Prompt,
        prompt: Some(turn.prompt.no),
        caller: Some(turn.prompt.caller.to_string()),
        class: Some(turn.prompt.class),
        stage: Some(turn.stage),
        started: turn.started.clone(),
    });
    ours.or_else(|| {
        state.own_turn.as_ref().map(|turn| RunningTurn {
            no: turn.no,
            by: TurnBy::Agent,
            prompt: None,
            caller: None,
            class: None,
            stage: None,
            started: turn.started.clone(),
        })
    })
}

fn tasks(state: &State) -> Vec<TaskRow> {
    let task = |(key, task): (&TaskKey, &lockkeeper_core::session::Task)| TaskRow {
        key: key.clone(),
        kind: task.kind,
        title: task.title.clone(),
        started: task.started.clone(),
    };
    state.tasks.iter().map(task).collect()
}

fn live(state: &State) -> bool {
    state.process.attempt().is_some()
        || !state.settled_since_boot
        || !state.queue.is_empty()
        || !state.claims.is_empty()
        || !state.gates.is_empty()
        || state.bypass.is_some()
        || !state.notices.is_empty()
        || !state.wanted_rules.is_empty()
        || !state.controls.is_empty()
        || state.launch_wanted
        || state.wanted.is_some()
        || state.running_turn().is_some()
        || state.interrupt.is_some()
        || state.closing.is_some()
}

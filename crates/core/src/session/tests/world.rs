//! A session with a clock that the test moves, an agent that the test plays, and a log.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::agent::{Action, AgentSays, TaskKind};
use crate::gate::{Ask, Decision, GateKind};
use crate::id::{AgentSessionId, AttemptNo, GateNo, ItemKey, SessionId, TaskKey, TurnNo};
use crate::item::{Item, ItemBody};
use crate::json::Json;
use crate::manner::{Handshake, Manner, Resumes, Rung, Scope};
use crate::notice::NoticeKind;
use crate::policy::{Effect, Layer, Policy, RuleSpec, ToolKind, ToolUse};
use crate::prompt::{Class, OnPreempt};
use crate::session::laws::Laws;
use crate::session::{
    Always, Command, Deadline, Duty, Env, Envelope, Event, Exit, ExitHint, ExitStatus, ExitVerdict, Input,
    Lifetime, NewClaim, NewPrompt, NewSession, Observation, Op, ProcessIdentity, Rejection, Request,
    SpawnError, State, Status, Why, create, deadline, duties, step,
};
use crate::time::{AwakeMs, BootId, Stamp};
use crate::turn::{Ending, Outcome, TurnBy, Usage};

/// What Claude Code wants.
pub(super) fn manner() -> Manner {
    Manner {
        handshake: Handshake::Initialize,
        interrupt: vec![Rung::Request, Rung::CloseStdin, Rung::Sigint(Scope::Leader), Rung::Kill],
        stop: vec![Rung::CloseStdin, Rung::Sigint(Scope::Leader), Rung::Kill],
        rung_ms: 5_000,
        settle_ms: 250,
        spawn_ms: 10_000,
        handshake_ms: 30_000,
        write_ms: 15_000,
        control_ms: 20_000,
        silence_ms: 600_000,
        drain_ms: 2_000,
        turn_ms: None,
        gate_ms: None,
        gate_warning_ms: 0,
        resumes: Resumes::ById,
    }
}

pub(super) fn new_session(lifetime: Lifetime, prompt: Option<&str>) -> NewSession {
    NewSession {
        id: SessionId::from_random(7),
        name: Some("fix-tests".parse().unwrap()),
        agent: "claude".parse().unwrap(),
        dir: "/work".to_owned(),
        model: None,
        mode: None,
        lifetime,
        labels: BTreeMap::new(),
        environment: None,
        submitter: None,
        turn_ms: None,
        prompt: prompt.map(|text| new_prompt(text, Class::Normal)),
    }
}

pub(super) fn new_prompt(text: &str, class: Class) -> NewPrompt {
    NewPrompt::new(text, class)
}

/// A rule about a command.
pub(super) fn about(command: &str, effect: Effect) -> RuleSpec {
    RuleSpec { command: Some(command.to_owned()), ..RuleSpec::new(effect) }
}

/// `git` goes on by itself, `rm` does not happen.
fn policy() -> Arc<Policy> {
    let rule = |effect, command: &str| {
        Arc::new(about(command, effect).compile(Layer::User, command.split(' ').next().unwrap()).unwrap())
    };
    let rules = vec![rule(Effect::Allow, "git *"), rule(Effect::Deny, "rm *")];
    Arc::new(Policy { workspace: "/work".into(), rules, ratings: Vec::new() })
}

/// What running a command is.
fn to_run(command: &str) -> ToolUse {
    ToolUse { command: Some(command.into()), ..ToolUse::of("Bash", ToolKind::Execute) }
}

/// A decision about a step that runs a command.
pub(super) fn deciding_to_run(gate: u32, decision: Decision, always: Always, command: &str) -> Command {
    Command::Decide { gate: GateNo(gate), decision, always, tool_use: Some(to_run(command).into()) }
}

/// The same with a command that no rule is about.
pub(super) fn deciding(gate: u32, decision: Decision, always: Always) -> Command {
    deciding_to_run(gate, decision, always, "make")
}

/// The agent asks whether it may run a command.
pub(super) fn asking_to_run(ask: Ask, command: &str) -> AgentSays {
    AgentSays::Asked { ask, tool_use: to_run(command).into() }
}

/// The same with one that no rule is about.
pub(super) fn asking(ask: Ask) -> AgentSays {
    asking_to_run(ask, "make")
}

pub(super) fn new_claim(class: Class) -> NewClaim {
    NewClaim { class, ttl_ms: 60_000, preempt: false, on_preempt: OnPreempt::Continue }
}

pub(super) fn stamp(ms: u64) -> Stamp {
    let wall_ms = 1_700_000_000_000 + i64::try_from(ms).unwrap();
    Stamp { wall_ms, awake: AwakeMs(ms), boot: BootId("boot-1".into()) }
}

pub(super) fn process(no: AttemptNo) -> ProcessIdentity {
    ProcessIdentity { pid: 1000 + no.0, start_ticks: 5, boot: BootId("boot-1".into()) }
}

pub(super) fn exit(status: ExitStatus) -> Exit {
    Exit { status, stderr: vec!["last words".to_owned()], swept: 0, left: 0, hint: None }
}

pub(super) fn tool(key: &str) -> Item {
    let body = ItemBody::ToolCall { tool: "Bash".to_owned(), input: Json::parse("{}").unwrap() };
    Item { key: key.parse().unwrap(), parent: None, body }
}

pub(super) fn ask(request: &str) -> Ask {
    Ask {
        request: Json::parse(&format!("\"{request}\"")).unwrap(),
        kind: GateKind::Permission,
        tool: "Bash".to_owned(),
        input: Json::parse(r#"{"command": "rm x"}"#).unwrap(),
        title: None,
        call: Some("toolu_1".parse::<ItemKey>().unwrap()),
        reason: None,
        beside_turn: false,
        announced: false,
        suggestions: None,
    }
}

/// A session under test.
#[derive(Clone)]
pub(super) struct World {
    pub(super) state: State,
    pub(super) log: Vec<Envelope>,
    pub(super) env: Env,
    /// The events of the last step.
    pub(super) last: Vec<Envelope>,
    /// The numbers of the last events of all steps: what a store can hold.
    pub(super) ends: Vec<u64>,
    pub(super) laws: Laws,
}

// Given.
impl World {
    /// A session that has just been made.
    pub(super) fn of(new: NewSession, manner: Manner) -> Self {
        let env = Env {
            at_launch: Arc::default(),
            notices: Arc::default(),
            now: stamp(100_000),
            policy: Arc::default(),
            manner: Arc::new(manner),
            name_taken: false,
            paused: false,
            admits: true,
        };
        Self::made(new, env)
    }

    fn made(new: NewSession, env: Env) -> Self {
        let (state, log) = create(new, "ann", &env).unwrap();
        let mut laws = Laws::default();
        laws.created(&state, &log);
        Self { ends: vec![state.seq], state, last: log.clone(), log, env, laws }
    }

    /// A one-shot session whose prompt waits for a slot of the host.
    pub(super) fn without_a_slot() -> Self {
        let env = Env { admits: false, ..Self::suspended().env };
        Self::made(new_session(Lifetime::OneShot, Some("first")), env)
    }

    /// A session whose agent has to announce its steps.
    pub(super) fn guarded() -> Self {
        let expiring = Manner { gate_ms: Some(700_000), gate_warning_ms: 30_000, ..manner() };
        let env = Env {
            policy: policy(),
            at_launch: policy(),
            manner: Arc::new(expiring),
            ..Self::suspended().env
        };
        let mut w = Self::made(new_session(Lifetime::Kept, Some("first")), env);
        w.comes_up();
        w.works();
        w
    }

    /// The same, where somebody wants to be told of everything.
    pub(super) fn told() -> Self {
        let mut w = Self::guarded();
        w.env.notices = NoticeKind::ALL.into();
        w
    }

    /// A kept session without a prompt: suspended.
    pub(super) fn suspended() -> Self {
        Self::of(new_session(Lifetime::Kept, None), manner())
    }

    /// A kept session with a prompt, whose process is to be started.
    pub(super) fn launching() -> Self {
        Self::of(new_session(Lifetime::Kept, Some("first")), manner())
    }

    /// A kept session whose process waits for a prompt.
    pub(super) fn idle() -> Self {
        let mut w = Self::suspended();
        w.resume();
        w.comes_up();
        w
    }

    /// A kept session in its first turn.
    pub(super) fn running() -> Self {
        let mut w = Self::launching();
        w.comes_up();
        w.works();
        w
    }

    /// A one-shot session in its turn.
    pub(super) fn one_shot() -> Self {
        let mut w = Self::of(new_session(Lifetime::OneShot, Some("first")), manner());
        w.comes_up();
        w.works();
        w
    }

    /// A kept session that ran one turn in conversation `c-1` and then left its process.
    pub(super) fn with_history() -> Self {
        let mut w = Self::running();
        w.says(AgentSays::Conversation { id: conversation("c-1") });
        w.ends(Ending::Completed);
        w.wait(1_000);
        w.exits(ExitStatus::Code(0));
        w
    }
}

pub(super) fn conversation(id: &str) -> AgentSessionId {
    id.parse().unwrap()
}

// When.
impl World {
    pub(super) fn input(&mut self, input: Input) -> Result<(), Rejection> {
        let before = self.state.clone();
        let told = input.clone();
        let result = step(&mut self.state, input, &self.env);
        self.laws.stepped(&before, &told, &result, &self.state, &self.env);
        self.last = result?;
        self.log.extend(self.last.clone());
        self.ends.push(self.state.seq);
        Ok(())
    }

    pub(super) fn command(&mut self, by: &str, command: Command) -> Result<(), Rejection> {
        self.input(Input::Command(Request { by: by.to_owned(), command }))
    }

    pub(super) fn asks(&mut self, command: Command) {
        let told = format!("{command:?}");
        self.command("ann", command).unwrap_or_else(|why| panic!("{told} was refused: {why}"));
    }

    pub(super) fn refused(&mut self, command: Command) -> Rejection {
        self.command("ann", command).unwrap_err()
    }

    pub(super) fn prompt(&mut self, text: &str) {
        self.asks(Command::Prompt(new_prompt(text, Class::Normal)));
    }

    pub(super) fn prompt_as(&mut self, class: Class, text: &str) {
        self.asks(Command::Prompt(new_prompt(text, class)));
    }

    pub(super) fn interrupt(&mut self) {
        self.asks(Command::Interrupt { turn: None });
    }

    pub(super) fn interrupt_turn(&mut self, turn: u32) -> Result<(), Rejection> {
        self.command("ann", Command::Interrupt { turn: Some(TurnNo(turn)) })
    }

    pub(super) fn stop(&mut self) {
        self.asks(Command::Stop);
    }

    pub(super) fn kill(&mut self) {
        self.asks(Command::Kill);
    }

    pub(super) fn resume(&mut self) {
        self.asks(Command::Resume);
    }

    pub(super) fn decide(&mut self, gate: u32, decision: Decision) -> Result<(), Rejection> {
        self.command("ann", deciding(gate, decision, Always::Once))
    }

    pub(super) fn set_model(&mut self, model: &str) {
        self.asks(Command::Set { model: Some(model.to_owned()), mode: None });
    }

    pub(super) fn sees(&mut self, observation: Observation) {
        self.input(Input::Observation(observation)).unwrap();
    }

    /// The attempt at hand, or the last one.
    pub(super) fn attempt(&self) -> AttemptNo {
        self.state.process.attempt().map_or(AttemptNo(self.state.next_attempt.0 - 1), |attempt| attempt.no)
    }

    pub(super) fn says(&mut self, says: AgentSays) {
        let attempt = self.attempt();
        self.sees(Observation::Agent { attempt, says });
    }

    pub(super) fn spawns(&mut self) {
        let attempt = self.attempt();
        self.sees(Observation::Spawned { attempt, process: process(attempt) });
    }

    pub(super) fn spawn_fails(&mut self) {
        let error =
            SpawnError { code: "agent_not_found".to_owned(), message: "no claude on PATH".to_owned() };
        let attempt = self.attempt();
        self.sees(Observation::SpawnFailed { attempt, error });
    }

    pub(super) fn ready(&mut self) {
        self.says(AgentSays::Ready { version: Some("2.1.329".to_owned()) });
    }

    /// The holder takes all that is intended, and the agent's pipe has it.
    pub(super) fn writes(&mut self) {
        let Some(attempt) = self.state.process.attempt() else { return };
        let (attempt, pending): (_, Vec<u64>) =
            (attempt.no, attempt.outbox.pending.iter().map(|out| out.number).collect());
        for number in pending {
            self.sees(Observation::Accepted { attempt, number });
            self.sees(Observation::Written { attempt, number });
        }
    }

    /// From the launch to a process that takes prompts.
    pub(super) fn comes_up(&mut self) {
        self.spawns();
        self.writes();
        self.ready();
    }

    /// The prompt in flight reaches the agent, which works on it.
    pub(super) fn works(&mut self) {
        self.writes();
        self.says(AgentSays::PromptTaken);
    }

    pub(super) fn ends(&mut self, ending: Ending) {
        self.says(AgentSays::TurnEnded { by: TurnBy::Prompt, ending, usage: Usage::default() });
    }

    pub(super) fn begins_itself(&mut self) {
        self.says(AgentSays::TurnBegan { by: TurnBy::Agent });
    }

    pub(super) fn ends_itself(&mut self, ending: Ending) {
        self.says(AgentSays::TurnEnded { by: TurnBy::Agent, ending, usage: Usage::default() });
    }

    pub(super) fn requests(&mut self, request: &str) {
        self.says(asking(ask(request)));
    }

    pub(super) fn starts_tool(&mut self, key: &str) {
        self.says(AgentSays::ToolStarted { item: tool(key) });
    }

    pub(super) fn starts_task(&mut self, task: &str, kind: TaskKind) {
        self.says(AgentSays::TaskStarted { task: task.parse().unwrap(), kind, title: task.to_owned() });
    }

    pub(super) fn ends_task(&mut self, task: &str) {
        let task: TaskKey = task.parse().unwrap();
        self.says(AgentSays::TaskEnded { task, how: "completed".to_owned() });
    }

    pub(super) fn exits(&mut self, status: ExitStatus) {
        let attempt = self.attempt();
        self.sees(Observation::Exited { attempt, exit: exit(status) });
    }

    pub(super) fn exits_saying(&mut self, status: ExitStatus, hint: ExitHint) {
        let attempt = self.attempt();
        self.sees(Observation::Exited { attempt, exit: Exit { hint: Some(hint), ..exit(status) } });
    }

    pub(super) fn holder_lost(&mut self) {
        let attempt = self.attempt();
        self.sees(Observation::HolderLost {
            attempt,
            journal_whole: true,
            stderr: vec!["last words".to_owned()],
        });
    }

    pub(super) fn daemon_restarts(&mut self) {
        self.sees(Observation::Unsettled);
    }

    pub(super) fn adopted(&mut self) {
        let attempt = self.attempt();
        self.sees(Observation::Adopted { attempt });
    }

    /// Time passes, and nobody looks.
    pub(super) fn wait(&mut self, ms: u64) {
        self.env.now.awake = self.env.now.awake.plus(ms);
        self.env.now.wall_ms += i64::try_from(ms).unwrap();
    }

    pub(super) fn tick(&mut self) {
        self.input(Input::Tick).unwrap();
    }

    /// The machine is started again.
    pub(super) fn reboots(&mut self) {
        self.env.now.boot = BootId(format!("{}x", self.env.now.boot.0).into());
        self.env.now.awake = AwakeMs(1_000);
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        deadline(&self.state, &self.env.now.boot)
    }

    /// How long until the next deadline, and its name.
    pub(super) fn due(&self) -> Option<(u64, Why)> {
        self.deadline().map(|due| (due.at.since(self.env.now.awake), due.why))
    }

    /// Time passes until the next deadline; one millisecond before it, nothing happens.
    pub(super) fn falls_due(&mut self, why: Why) {
        let (left, name) = self.due().unwrap_or_else(|| panic!("{why:?} is not awaited, nor anything else"));
        assert_eq!(name, why, "the next deadline");
        if left > 0 {
            self.wait(left - 1);
            self.tick();
            assert_eq!(self.kinds(), NOTHING, "before {why:?} was due");
            self.wait(1);
        }
        self.tick();
    }
}

pub(super) const NOTHING: Vec<&str> = Vec::new();

// Then.
impl World {
    pub(super) fn status(&self) -> Status {
        assert_eq!(
            crate::session::status(&self.state),
            self.state.status.status,
            "the status told is the status"
        );
        self.state.status.status
    }

    /// The kinds of the last step's events, without the change of status.
    pub(super) fn kinds(&self) -> Vec<&str> {
        self.last.iter().map(|e| e.event.kind()).filter(|kind| *kind != "session.status_changed").collect()
    }

    /// All statuses that were ever told, in order.
    pub(super) fn path(&self) -> Vec<Status> {
        self.log
            .iter()
            .filter_map(|e| match &e.event {
                Event::StatusChanged { to, .. } => Some(*to),
                _ => None,
            })
            .collect()
    }

    /// The statuses told since the session had run for the first time.
    pub(super) fn path_since_running(&self) -> Vec<Status> {
        self.path().into_iter().skip_while(|status| *status != Status::Running).collect()
    }

    pub(super) fn outcome(&self, turn: u32) -> Outcome {
        self.log
            .iter()
            .find_map(|e| match &e.event {
                Event::TurnEnded { turn: no, outcome, .. } if no.0 == turn => Some(outcome.clone()),
                _ => None,
            })
            .unwrap_or_else(|| panic!("turn {turn} has not ended"))
    }

    pub(super) fn verdict(&self) -> ExitVerdict {
        self.log
            .iter()
            .rev()
            .find_map(|e| match &e.event {
                Event::AttemptExited { verdict, .. } => Some(*verdict),
                _ => None,
            })
            .unwrap()
    }

    pub(super) fn count(&self, kind: &str) -> usize {
        self.log.iter().filter(|e| e.event.kind() == kind).count()
    }

    /// What the shell has to do, besides watching.
    pub(super) fn todo(&self) -> Vec<String> {
        duties(&self.state)
            .iter()
            .filter_map(|duty| match duty {
                Duty::Launch(plan) => Some(match &plan.resume {
                    Some(id) => format!("launch {} resuming {}", plan.attempt, id.as_str()),
                    None => format!("launch {}", plan.attempt),
                }),
                Duty::Watch { .. } => None,
                Duty::Write { op: Op::Close, .. } => Some("close stdin".to_owned()),
                Duty::Write { op: Op::Write(action), text, .. } => Some(match action {
                    Action::Initialize => "initialize".to_owned(),
                    Action::InitializeGuarded => "initialize guarded".to_owned(),
                    Action::Pass { .. } => "pass".to_owned(),
                    Action::Stay { .. } => "stay".to_owned(),
                    Action::Prompt { .. } => format!("prompt {}", text.as_deref().unwrap()),
                    Action::Interrupt { .. } => "interrupt".to_owned(),
                    Action::Answer { gate, .. } => format!("answer {gate}"),
                    Action::Dismiss { .. } => "dismiss".to_owned(),
                    Action::Refuse { .. } => "refuse".to_owned(),
                    Action::SetModel { model, .. } => format!("set model {model}"),
                    Action::SetMode { mode, .. } => format!("set mode {mode}"),
                }),
                Duty::WriteRule { rule } => Some(format!("write {}", rule.id)),
                Duty::Tell { notice } => Some(format!("tell {} {}", notice.no, notice.what.word())),
                Duty::Signal { out, .. } => Some(format!("signal {} {:?}", out.signal.number(), out.scope)),
            })
            .collect()
    }

    /// The same session with what only its log says.
    pub(super) fn folded(&self) -> State {
        State::fold(&self.state.id, &self.log).unwrap()
    }
}

pub(super) fn interrupted_by(by: &str) -> Outcome {
    Outcome::Interrupted { by: by.to_owned() }
}

pub(super) fn failing(message: &str) -> Ending {
    Ending::Failed { kind: crate::turn::FailureKind::Agent, message: message.to_owned() }
}

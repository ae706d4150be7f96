//! A holder with its agent, which does as Claude Code does, and now and then as no agent should.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use lockkeeper_core::agent::{Action, AgentSays, ControlAnswer, TaskKind};
use lockkeeper_core::gate::{Ask, GateKind};
use lockkeeper_core::id::{AgentSessionId, ItemKey, TaskKey};
use lockkeeper_core::item::{Extent, Item, ItemBody, ToolOutcome};
use lockkeeper_core::json::Json;
use lockkeeper_core::policy::{ToolKind, ToolUse};
use lockkeeper_core::session::{Exit, ExitStatus, Observation, Op, ProcessIdentity, Signal};
use lockkeeper_core::time::Stamp;
use lockkeeper_core::turn::{Ending, FailureKind, TurnBy, Usage};

use super::fault::Fault;
use super::store::{Intent, Stored};
use super::world::{Happening, Key, Sim, broken};

/// A holder, what it has written down, and its agent.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) journal: Vec<(Stamp, Observation)>,
    /// Whether it runs.
    pub(super) alive: bool,
    next_write: u64,
    next_signal: u64,
    agent: Agent,
    /// When what was last sent to it arrives: a socket keeps the order.
    pub(super) last_arrival: u64,
}

/// What a daemon asks of a holder.
#[derive(Debug, Clone)]
pub(super) enum Request {
    Write { number: u64, op: Op },
    Signal { number: u64, signal: Signal },
    Quit,
}

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
struct Agent {
    /// What it is about to say.
    plan: VecDeque<Say>,
    /// Plans that were given up: what was scheduled for them does not happen.
    plans: u64,
    is_guarded: bool,
    dead: bool,
    /// It heeds neither interrupts nor the end of its input nor SIGINT.
    deaf: bool,
    /// Whose turn it works on.
    work: Option<TurnBy>,
    /// The request that it waits for an answer to.
    waits: Option<Json>,
    /// It was given a prompt while it did something by itself.
    has_waiting_prompt: bool,
    tool: Option<ItemKey>,
    tasks: BTreeSet<String>,
    count: u32,
}

#[derive(Debug, Clone)]
enum Say {
    Ready,
    Conversation,
    Taken,
    OwnTurn,
    Message,
    ToolStarts,
    ToolEnds(ToolOutcome),
    Asks(GateKind, &'static str),
    TaskStarts(TaskKind),
    TaskEnds,
    Garbage,
    Ends(Ending),
    Exits(ExitStatus),
}

impl Sim {
    /// A holder is started, unless one ran there.
    pub(super) fn start_holder(&mut self, key: &Key) {
        self.allowed(key, &Intent::Launch(key.1));
        if self.holders.contains_key(key) {
            return;
        }
        let deaf = self.mischief(8);
        let holder = Holder {
            journal: Vec::new(),
            alive: true,
            next_write: 1,
            next_signal: 1,
            agent: Agent { deaf, ..Agent::default() },
            last_arrival: 0,
        };
        self.holders.insert(key.clone(), holder);
        let boot = self.now().boot;
        let process = ProcessIdentity { pid: 1000 + key.1.0, start_ticks: 5, boot };
        self.write_down(key, Observation::Spawned { attempt: key.1, process });
        if self.mischief(12) {
            self.plan(key, [Say::Exits(ExitStatus::Code(1))]);
        }
    }

    /// A holder and its agent are gone in an instant, and nothing tells why.
    pub(super) fn kill_holder(&mut self, key: &Key) {
        if let Some(holder) = self.holders.get_mut(key).filter(|holder| holder.alive) {
            (holder.alive, holder.agent.dead) = (false, true);
            self.link_breaks(key);
        }
    }

    /// What does not come back from a power loss.
    pub(super) fn lose_tail(&mut self, key: &Key) {
        let lost = self.choices.below(6) as usize;
        if let Some(holder) = self.holders.get_mut(key) {
            let kept = holder.journal.len().saturating_sub(lost);
            holder.journal.truncate(kept);
        }
    }

    /// A request arrives.
    pub(super) fn takes(&mut self, key: &Key, request: Request) {
        let Some(holder) = self.holders.get_mut(key).filter(|holder| holder.alive) else { return };
        match request {
            Request::Write { number, op } => {
                if number != holder.next_write && self.fault != Some(Fault::HolderRepeats) {
                    return self.refuse(key);
                }
                holder.next_write = number + 1;
                self.allowed(key, &Intent::write(key.1, number, &op));
                if !self.taken.insert((key.clone(), number)) {
                    broken(&format!(
                        "what has the number {number} is written to {} of {} twice",
                        key.1, key.0
                    ));
                }
                self.write_down(key, Observation::Accepted { attempt: key.1, number });
                if self.holders[key].agent.dead {
                    let error = "Broken pipe".to_owned();
                    return self.write_down(key, Observation::WriteFailed { attempt: key.1, number, error });
                }
                self.write_down(key, Observation::Written { attempt: key.1, number });
                self.hears(key, &op);
            }
            Request::Signal { number, signal } => {
                if number != holder.next_signal {
                    return self.refuse(key);
                }
                holder.next_signal = number + 1;
                let delivered = u32::from(!holder.agent.dead);
                self.allowed(key, &Intent::Signal(key.1, number, signal.number()));
                self.write_down(key, Observation::Signalled { attempt: key.1, number, delivered });
                let deaf = self.holders[key].agent.deaf;
                match signal {
                    Signal::Kill => self.exits(key, ExitStatus::Signal(9)),
                    Signal::Int | Signal::Term if !deaf => self.exits(key, ExitStatus::Code(130)),
                    Signal::Int | Signal::Term => {}
                }
            }
            Request::Quit => self.exits(key, ExitStatus::Signal(9)),
        }
    }

    /// Nothing is done that was not stored before.
    fn allowed(&self, key: &Key, intent: &Intent) {
        let intended = self.store.sessions.get(&key.0).is_some_and(|stored| stored.intended.contains(intent));
        if !intended {
            broken(&format!("{intent:?} of {} happens, and no event allows it", key.0));
        }
    }

    /// Something is in the agent's pipe.
    fn hears(&mut self, key: &Key, op: &Op) {
        if let Some(prompt) = Stored::prompt_of(op)
            && !self.given.insert((key.0.clone(), prompt))
        {
            broken(&format!("{prompt} of {} is given to an agent twice", key.0));
        }
        self.note(|| format!("{} hears {op:?}", key.1));
        let Op::Write(action) = op else {
            if !self.holders[key].agent.deaf {
                self.plan(key, [Say::Exits(ExitStatus::Code(0))]);
            }
            return;
        };
        match action {
            Action::Initialize | Action::InitializeGuarded => {
                self.agent(key).is_guarded = matches!(action, Action::InitializeGuarded);
                let plan: &[Say] = match self.mischief_below(12) {
                    0 => &[Say::Exits(ExitStatus::Code(1))],
                    1 => &[],
                    2 => &[Say::Garbage, Say::Ready, Say::Conversation],
                    _ => &[Say::Ready, Say::Conversation],
                };
                self.plan(key, plan.iter().cloned());
            }
            Action::Prompt { .. } => {
                if self.agent(key).work == Some(TurnBy::Prompt) {
                    broken(&format!("a prompt of {} is written while another one has its turn", key.0));
                }
                if self.agent(key).work.is_some() {
                    // It goes on with that once what it began by itself is over.
                    self.agent(key).has_waiting_prompt = true;
                    return;
                }
                self.works(key);
            }
            Action::Interrupt { control } => {
                let control = *control;
                if self.agent(key).deaf {
                    return;
                }
                self.say(
                    key,
                    AgentSays::ControlAnswered { control, answer: ControlAnswer::Done { value: None } },
                );
                if self.agent(key).work.is_some() {
                    self.give_up(key);
                    let ending = self.choices.one_of(&[Ends::Aborted, Ends::Completed]);
                    self.plan(key, [Say::Ends(ending.ending())]);
                }
            }
            Action::Answer { gate, request, decision, .. } => {
                let stored = self.store.sessions.get(&key.0).and_then(|stored| stored.decided.get(gate));
                if stored != Some(decision) {
                    broken(&format!("{gate} of {} is answered otherwise than it was decided", key.0));
                }
                if !self.answered.insert((key.0.clone(), *gate)) {
                    broken(&format!("{gate} of {} is answered twice", key.0));
                }
                self.is_answered(key, request);
            }
            Action::Pass { request }
            | Action::Stay { request, .. }
            | Action::Dismiss { request }
            | Action::Refuse { request, .. } => {
                self.is_answered(key, request);
            }
            Action::SetModel { control, .. } | Action::SetMode { control, .. } => {
                let control = *control;
                let answer = match self.mischief_below(4) {
                    0 => return,
                    1 => ControlAnswer::Refused { code: None, message: "no".to_owned() },
                    _ => ControlAnswer::Done { value: None },
                };
                self.say(key, AgentSays::ControlAnswered { control, answer });
            }
        }
    }

    fn is_answered(&mut self, key: &Key, request: &Json) {
        let agent = self.agent(key);
        if agent.waits.as_ref() == Some(request) {
            agent.waits = None;
            self.goes_on(key);
        }
    }

    fn works(&mut self, key: &Key) {
        self.agent(key).work = Some(TurnBy::Prompt);
        let plan = self.turn();
        self.plan(key, plan);
    }

    /// What a turn brings.
    fn turn(&mut self) -> Vec<Say> {
        let mut plan = vec![Say::Taken];
        for _ in 0..self.choices.below(4) {
            match self.choices.below(8) {
                0 | 1 => plan.push(Say::Message),
                2 => plan.extend([Say::ToolStarts, Say::ToolEnds(ToolOutcome::Ok)]),
                3 | 4 => {
                    let command = self.choices.one_of(&["make", "git status", "rm x"]);
                    plan.extend([
                        Say::ToolStarts,
                        Say::Asks(GateKind::Permission, command),
                        Say::ToolEnds(ToolOutcome::Ok),
                    ]);
                }
                5 => plan.push(Say::Asks(GateKind::Question, "which?")),
                6 => plan.push(Say::TaskStarts(self.choices.one_of(&[TaskKind::Delegated, TaskKind::Shell]))),
                _ => plan.push(Say::Garbage),
            }
        }
        match self.mischief_below(10) {
            // It says nothing more.
            0 => {}
            1 => plan.push(Say::Exits(self.choices.one_of(&[
                ExitStatus::Code(1),
                ExitStatus::Signal(9),
                ExitStatus::Code(0),
            ]))),
            _ => {
                let ending =
                    self.choices.one_of(&[Ends::Completed, Ends::Completed, Ends::Failed, Ends::Aborted]);
                plan.push(Say::Ends(ending.ending()));
            }
        }
        plan
    }

    /// What an agent is about to say, instead of what it was.
    fn plan(&mut self, key: &Key, plan: impl IntoIterator<Item = Say>) {
        let agent = self.agent(key);
        agent.plan = plan.into_iter().collect();
        agent.plans += 1;
        self.goes_on(key);
    }

    fn goes_on(&mut self, key: &Key) {
        let plans = self.agent(key).plans;
        let after = self.choices.one_of(&[1, 20, 400, 0, 5_000]);
        self.later(after, Happening::Agent { key: key.clone(), plans });
    }

    /// An agent says what comes next.
    pub(super) fn agent_acts(&mut self, key: &Key, plans: u64) {
        let Some(holder) = self.holders.get_mut(key) else { return };
        let agent = &mut holder.agent;
        if agent.dead || agent.plans != plans || agent.waits.is_some() {
            return;
        }
        let Some(say) = agent.plan.pop_front() else { return };
        agent.count += 1;
        let count = agent.count;
        let name = format!("{}-{count}", key.1);
        match say {
            Say::Ready => self.say(key, AgentSays::Ready { version: None }),
            Say::Conversation => {
                let id: Result<AgentSessionId, _> = format!("c-{}", key.0).parse();
                if let Ok(id) = id {
                    self.say(key, AgentSays::Conversation { id });
                }
            }
            Say::Taken => self.say(key, AgentSays::PromptTaken),
            Say::OwnTurn => {
                self.agent(key).work = Some(TurnBy::Agent);
                self.say(key, AgentSays::TurnBegan { by: TurnBy::Agent });
            }
            Say::Message => {
                let body = ItemBody::Message { text: "hello".into(), extent: Extent::Whole };
                if let Some(item) = item(&format!("m{name}"), body) {
                    self.say(key, AgentSays::Item { item });
                }
            }
            Say::ToolStarts => {
                let body = ItemBody::ToolCall { tool: "Bash".to_owned(), input: json("{}") };
                if let Some(item) = item(&format!("t{name}"), body) {
                    self.agent(key).tool = Some(item.key.clone());
                    self.say(key, AgentSays::ToolStarted { item });
                }
            }
            Say::ToolEnds(outcome) => self.tool_ends(key, outcome),
            Say::Asks(kind, what) => {
                let request = json(&format!("\"r{name}\""));
                let agent = self.agent(key);
                agent.waits = Some(request.clone());
                let announced = agent.is_guarded && kind == GateKind::Permission && count % 2 == 0;
                let call = agent.tool.clone();
                let ask = Ask {
                    request,
                    kind,
                    tool: "Bash".to_owned(),
                    input: json(&format!("{{\"command\":\"{what}\"}}")),
                    title: None,
                    call,
                    reason: None,
                    beside_turn: false,
                    announced,
                    suggestions: None,
                };
                self.say(key, AgentSays::Asked { ask, tool_use: Box::new(to_run(what)) });
            }
            Say::TaskStarts(kind) => {
                self.agent(key).tasks.insert(name.clone());
                if let Ok(task) = name.parse::<TaskKey>() {
                    self.say(key, AgentSays::TaskStarted { task, kind, title: "work".to_owned() });
                }
            }
            Say::TaskEnds => self.task_ends(key),
            Say::Garbage => {
                self.say(key, AgentSays::Malformed { why: "no JSON".to_owned(), bytes: 7 });
            }
            Say::Ends(ending) => self.turn_ends(key, ending),
            Say::Exits(status) => self.exits(key, status),
        }
        self.goes_on(key);
    }

    fn turn_ends(&mut self, key: &Key, ending: Ending) {
        let Some(by) = self.agent(key).work.take() else { return };
        self.say(key, AgentSays::TurnEnded { by, ending, usage: Usage::default() });
        if std::mem::take(&mut self.agent(key).has_waiting_prompt) {
            return self.works(key);
        }
        let mut plan = vec![Say::TaskEnds; self.agent(key).tasks.len()];
        if self.mischief(5) {
            plan.extend([Say::OwnTurn, Say::Message, Say::Ends(Ending::Completed)]);
        }
        self.agent(key).plan = plan.into();
    }

    fn task_ends(&mut self, key: &Key) {
        if let Some(task) = self.agent(key).tasks.pop_first()
            && let Ok(task) = task.parse::<TaskKey>()
        {
            self.say(key, AgentSays::TaskEnded { task, how: "completed".to_owned() });
        }
    }

    fn tool_ends(&mut self, key: &Key, outcome: ToolOutcome) {
        if let Some(call) = self.agent(key).tool.take() {
            self.say(key, AgentSays::ToolEnded { call, outcome, text: Arc::from("") });
        }
    }

    /// What it was about to do does not happen.
    fn give_up(&mut self, key: &Key) {
        self.tool_ends(key, ToolOutcome::Cut);
        if let Some(request) = self.agent(key).waits.take()
            && self.choices.once_in(2)
        {
            self.say(key, AgentSays::AskWithdrawn { request });
        }
    }

    fn say(&mut self, key: &Key, says: AgentSays) {
        self.write_down(key, Observation::Agent { attempt: key.1, says });
    }

    /// The end of an agent, and of its holder once that has written it down.
    fn exits(&mut self, key: &Key, status: ExitStatus) {
        if self.agent(key).dead {
            return;
        }
        self.agent(key).dead = true;
        let exit = Exit { status, stderr: Vec::new(), swept: 0, left: 0, hint: None };
        self.write_down(key, Observation::Exited { attempt: key.1, exit });
        if let Some(holder) = self.holders.get_mut(key) {
            holder.alive = false;
        }
        self.link_breaks(key);
    }

    fn write_down(&mut self, key: &Key, observation: Observation) {
        self.note(|| format!("{} of {}: {observation:?}", key.1, key.0));
        let at = self.now();
        if let Some(holder) = self.holders.get_mut(key) {
            holder.journal.push((at, observation));
        }
        self.journal_grew(key);
    }

    fn agent(&mut self, key: &Key) -> &mut Agent {
        match self.holders.get_mut(key) {
            Some(holder) => &mut holder.agent,
            None => broken("an agent without a holder"),
        }
    }
}

/// How turns end.
#[derive(Debug, Clone, Copy)]
enum Ends {
    Completed,
    Aborted,
    Failed,
}

impl Ends {
    fn ending(self) -> Ending {
        match self {
            Self::Completed => Ending::Completed,
            Self::Aborted => Ending::Aborted,
            Self::Failed => Ending::Failed { kind: FailureKind::Agent, message: "overloaded".to_owned() },
        }
    }
}

fn item(key: &str, body: ItemBody) -> Option<Item> {
    Some(Item { key: key.parse().ok()?, parent: None, body })
}

pub(super) fn json(text: &str) -> Json {
    match Json::parse(text) {
        Ok(json) => json,
        Err(error) => broken(&format!("{text} is no JSON: {error}")),
    }
}

/// What running a command is.
pub(super) fn to_run(command: &str) -> ToolUse {
    ToolUse { command: Some(command.into()), ..ToolUse::of("Bash", ToolKind::Execute) }
}

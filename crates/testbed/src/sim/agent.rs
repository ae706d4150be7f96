//! An agent, which does as Claude Code does, and now and then as no agent should.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use lockkeeper_core::agent::{Action, AgentSays, ControlAnswer, TaskKind};
use lockkeeper_core::gate::{Ask, Decision, GateKind};
use lockkeeper_core::id::{AgentSessionId, ControlNo, GateNo, ItemKey, PromptNo, TaskKey};
use lockkeeper_core::item::{Extent, Item, ItemBody, ToolOutcome};
use lockkeeper_core::json::Json;
use lockkeeper_core::policy::{ToolKind, ToolUse};
use lockkeeper_core::session::{ExitStatus, Observation, Op};
use lockkeeper_core::turn::{Ending, FailureKind, TurnBy, Usage};

use super::look_back::once;
use super::world::{Happening, Key, Sim, broken};

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub(super) struct Agent {
    /// What it is about to say.
    plan: VecDeque<Say>,
    /// Plans that were given up: what was scheduled for them does not happen.
    plans: u64,
    is_guarded: bool,
    pub(super) dead: bool,
    /// It heeds neither interrupts nor the end of its input nor SIGINT.
    pub(super) deaf: bool,
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
pub(super) enum Say {
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

impl Agent {
    pub(super) fn new(deaf: bool) -> Self {
        Self { deaf, ..Self::default() }
    }
}

impl Sim {
    /// Something is in the agent's pipe.
    pub(super) fn hears(&mut self, key: &Key, op: &Op) {
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
                self.shakes_hands(key);
            }
            Action::Prompt { prompt, .. } => self.is_given(key, *prompt),
            Action::Interrupt { control } => self.is_interrupted(key, *control),
            Action::Answer { gate, request, decision, .. } => {
                self.is_decided(key, *gate, decision);
                self.is_answered(key, request);
            }
            Action::Pass { request }
            | Action::Stay { request, .. }
            | Action::Dismiss { request }
            | Action::Refuse { request, .. } => self.is_answered(key, request),
            Action::SetModel { control, .. } | Action::SetMode { control, .. } => {
                let answer = match self.mischief_below(4) {
                    0 => return,
                    1 => ControlAnswer::Refused { code: None, message: "no".to_owned() },
                    _ => ControlAnswer::Done { value: None },
                };
                self.say(key, AgentSays::ControlAnswered { control: *control, answer });
            }
        }
    }

    fn shakes_hands(&mut self, key: &Key) {
        let plan: &[Say] = match self.mischief_below(12) {
            0 => &[Say::Exits(ExitStatus::Code(1))],
            1 => &[],
            2 => &[Say::Garbage, Say::Ready, Say::Conversation],
            _ => &[Say::Ready, Say::Conversation],
        };
        self.plan(key, plan.iter().cloned());
    }

    fn is_given(&mut self, key: &Key, prompt: PromptNo) {
        once(self.given.insert((key.0.clone(), prompt)), || {
            format!("{prompt} of {} is given to an agent twice", key.0)
        });
        let work = self.agent(key).work;
        once(work != Some(TurnBy::Prompt), || {
            format!("a prompt of {} is written while another one has its turn", key.0)
        });
        if work.is_some() {
            // It goes on with that once what it began by itself is over.
            self.agent(key).has_waiting_prompt = true;
            return;
        }
        self.works(key);
    }

    fn is_interrupted(&mut self, key: &Key, control: ControlNo) {
        if self.agent(key).deaf {
            return;
        }
        self.say(key, AgentSays::ControlAnswered { control, answer: ControlAnswer::Done { value: None } });
        if self.agent(key).work.is_some() {
            self.give_up(key);
            let ending = self.choices.one_of(&[Ends::Aborted, Ends::Completed]);
            self.plan(key, [Say::Ends(ending.ending())]);
        }
    }

    /// An answer is given once, as it was decided.
    fn is_decided(&mut self, key: &Key, gate: GateNo, decision: &Decision) {
        let stored = self.store.sessions.get(&key.0).and_then(|stored| stored.decided.get(&gate));
        once(stored == Some(decision), || {
            format!("{gate} of {} is answered otherwise than it was decided", key.0)
        });
        once(self.answered.insert((key.0.clone(), gate)), || {
            format!("{gate} of {} is answered twice", key.0)
        });
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
    pub(super) fn plan(&mut self, key: &Key, plan: impl IntoIterator<Item = Say>) {
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
        self.comes_to(key, say);
        self.goes_on(key);
    }

    fn comes_to(&mut self, key: &Key, say: Say) {
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
                if let Some(item) = item(&format!("m{}", self.name(key)), body) {
                    self.say(key, AgentSays::Item { item });
                }
            }
            Say::ToolStarts => self.tool_starts(key),
            Say::ToolEnds(outcome) => self.tool_ends(key, outcome),
            Say::Asks(kind, what) => self.wants_to_know(key, kind, what),
            Say::TaskStarts(kind) => self.task_starts(key, kind),
            Say::TaskEnds => self.task_ends(key),
            Say::Garbage => {
                self.say(key, AgentSays::Malformed { why: "no JSON".to_owned(), bytes: 7 });
            }
            Say::Ends(ending) => self.turn_ends(key, ending),
            Say::Exits(status) => self.exits(key, status),
        }
    }

    /// A name for what comes next, which nothing else of the session has.
    fn name(&mut self, key: &Key) -> String {
        format!("{}-{}", key.1, self.agent(key).count)
    }

    fn tool_starts(&mut self, key: &Key) {
        let body = ItemBody::ToolCall { tool: "Bash".to_owned(), input: json("{}") };
        if let Some(item) = item(&format!("t{}", self.name(key)), body) {
            self.agent(key).tool = Some(item.key.clone());
            self.say(key, AgentSays::ToolStarted { item });
        }
    }

    fn wants_to_know(&mut self, key: &Key, kind: GateKind, what: &str) {
        let request = json(&format!("\"r{}\"", self.name(key)));
        let agent = self.agent(key);
        agent.waits = Some(request.clone());
        let announced = agent.is_guarded && kind == GateKind::Permission && agent.count.is_multiple_of(2);
        let ask = Ask {
            request,
            kind,
            tool: "Bash".to_owned(),
            input: json(&format!("{{\"command\":\"{what}\"}}")),
            title: None,
            call: agent.tool.clone(),
            reason: None,
            beside_turn: false,
            announced,
            suggestions: None,
        };
        self.say(key, AgentSays::Asked { ask, tool_use: Box::new(to_run(what)) });
    }

    fn task_starts(&mut self, key: &Key, kind: TaskKind) {
        let name = self.name(key);
        if let Ok(task) = name.parse::<TaskKey>() {
            self.agent(key).tasks.insert(name);
            self.say(key, AgentSays::TaskStarted { task, kind, title: "work".to_owned() });
        }
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

    pub(super) fn agent(&mut self, key: &Key) -> &mut Agent {
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

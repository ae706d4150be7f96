//! Whoever asks for something, what they were told, and whether that is true.

use lockkeeper_core::gate::{Decision, GateKind};
use lockkeeper_core::id::{SessionId, TurnNo};
use lockkeeper_core::policy::{Effect, RuleSpec};
use lockkeeper_core::prompt::{Class, OnPreempt};
use lockkeeper_core::session::{
    Always, Command, Envelope, Life, NewClaim, NewPrompt, Process, Request as Asked,
};

use super::agent::json;
use super::store::Stored;
use super::task::{Message, Task};
use super::world::{Happening, Key, REST_MS, Sim};

/// How often whoever means well looks.
const HELP_MS: u64 = 5_000;

/// Something that was asked for.
#[derive(Debug)]
pub(super) struct Op {
    pub(super) session: SessionId,
    pub(super) command: Command,
    pub(super) told: Told,
}

impl Op {
    /// Whether it is a prompt of which nobody knows what became.
    fn is_lost_prompt(&self) -> bool {
        self.told == Told::Lost && self.is_prompt()
    }

    pub(super) fn is_prompt(&self) -> bool {
        matches!(self.command, Command::Prompt(_))
    }
}

/// What whoever asked knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing yet.
    Nothing,
    /// It is done, and led to these events.
    Done(Vec<Envelope>),
    /// The rules refuse it.
    Refused,
    /// Nothing happened, for the store could not.
    Failed,
    /// Nobody will ever answer: the daemon died.
    Lost,
}

impl Sim {
    /// Somebody does something, or something happens to the machine.
    pub(super) fn acts(&mut self) {
        self.acts_left = self.acts_left.saturating_sub(1);
        if self.acts_left == 0 {
            self.note(|| "nothing more is done to it".to_owned());
            self.calm = true;
            self.rest_by = self.awake + REST_MS;
            self.later(HELP_MS, Happening::Helper);
            if self.daemon.is_none() {
                self.later(0, Happening::Boots);
            }
            return;
        }
        match self.choices.below(30) {
            27 => self.crash(),
            24 => {
                let lost = self.ops.iter().position(Op::is_lost_prompt);
                if let Some(op) = lost {
                    self.note(|| format!("op {op} is asked for again"));
                    self.sends(op);
                }
            }
            25 => {
                self.wall_offset += self.choices.one_of(&[3_600_000, -3_600_000, 86_400_000]);
                self.note(|| "the wall clock jumps".to_owned());
            }
            26 => self.with_a_holder("the link is cut to", Self::cut_link),
            28 => self.with_a_holder("killed is the holder of", Self::kill_holder),
            23 => self.loses_a_task(),
            29 if self.choices.once_in(3) => self.loses_power(),
            _ => self.asks(),
        }
        let after = self.choices.one_of(&[50, 1, 2_000, 0, 300_000, 20]);
        self.later(after, Happening::Client);
    }

    /// Does something to one of the holders that run.
    fn with_a_holder(&mut self, what: &str, act: impl FnOnce(&mut Self, &Key)) {
        let alive: Vec<Key> =
            self.holders.iter().filter(|(_, holder)| holder.alive).map(|(key, _)| key.clone()).collect();
        if let Some(last) = alive.len().checked_sub(1) {
            let at = self.choices.below(u32::try_from(last).unwrap_or(0) + 1) as usize;
            self.note(|| format!("{what} {} of {}", alive[at].1, alive[at].0));
            act(self, &alive[at]);
        }
    }

    /// A session's task dies alone, if there is one with a commit on its way.
    fn loses_a_task(&mut self) {
        let tasks = self.daemon.iter().flat_map(|daemon| daemon.tasks.values());
        let committing =
            tasks.filter(|task| task.committing.is_some()).map(|task| task.state.id.clone()).next();
        let id = committing.unwrap_or_else(|| self.some_session());
        self.note(|| format!("the task of {id} dies"));
        self.reload(&id);
    }

    fn some_session(&mut self) -> SessionId {
        let ids: Vec<SessionId> = self.store.sessions.keys().cloned().collect();
        ids[self.choices.below(u32::try_from(ids.len()).unwrap_or(1)) as usize].clone()
    }

    fn asks(&mut self) {
        let id = self.some_session();
        let op = self.ops.len();
        let class = self.choices.one_of(&[Class::Normal, Class::Background, Class::Urgent]);
        let command = match self.choices.below(16) {
            0..4 => Command::Prompt(NewPrompt::new(text(op), class)),
            4 => Command::Prompt(NewPrompt { preempt: true, ..NewPrompt::new(text(op), Class::Urgent) }),
            5 | 6 => Command::Interrupt { turn: self.some_turn(&id) },
            7 => Command::Resume,
            8 => Command::Stop,
            9 => Command::Kill,
            10 => Command::Claim(NewClaim {
                class,
                ttl_ms: 5_000,
                preempt: false,
                on_preempt: OnPreempt::Continue,
            }),
            11 => Command::Set { model: Some("other".to_owned()), mode: None },
            12 => match self.store.sessions.get(&id).and_then(|stored| stored.row.queue.iter().next()) {
                Some(prompt) => Command::DropPrompt { prompt: prompt.no },
                None => Command::Resume,
            },
            _ => {
                let gates = self.store.sessions.get(&id).map(Stored::open_gates).unwrap_or_default();
                match gates.first() {
                    Some(gate) => {
                        let deny = Decision::Deny { message: "no".to_owned() };
                        let decision = if self.choices.once_in(3) { deny } else { self.yes(&id, *gate) };
                        let always = self.always(&decision);
                        Command::Decide { gate: *gate, decision, always, tool_use: None }
                    }
                    None => Command::Prompt(NewPrompt::new(text(op), class)),
                }
            }
        };
        self.ask(id, command);
    }

    /// Whichever turn runs, or by its name, or one that is over.
    fn some_turn(&mut self, id: &SessionId) -> Option<TurnNo> {
        let row = self.store.sessions.get(id).map(|stored| &stored.row)?;
        let (running, over) = (row.running_turn(), row.last_turn.as_ref().map(|(turn, _)| *turn));
        self.choices.one_of(&[None, running, over])
    }

    /// What a decision says of the steps to come.
    fn always(&mut self, decision: &Decision) -> Always {
        let make = RuleSpec { command: Some("make".to_owned()), ..RuleSpec::new(Effect::Allow) };
        match self.choices.below(4) {
            2 if *decision == Decision::Allow => Always::Session(vec![make]),
            3 if *decision == Decision::Allow => Always::User(vec![make]),
            _ => Always::Once,
        }
    }

    /// What lets a gate go on.
    fn yes(&self, id: &SessionId, gate: lockkeeper_core::id::GateNo) -> Decision {
        let kind = self
            .store
            .sessions
            .get(id)
            .and_then(|stored| stored.row.gates.get(&gate))
            .map(|gate| gate.ask.kind);
        match kind {
            Some(GateKind::Question) => Decision::Answer { answers: json("{}") },
            Some(GateKind::Permission | GateKind::Plan | GateKind::Login | GateKind::Elicitation) | None => {
                Decision::Allow
            }
        }
    }

    fn ask(&mut self, session: SessionId, command: Command) {
        let op = self.ops.len();
        self.note(|| format!("op {op}: {session} is asked for {command:?}"));
        self.ops.push(Op { session, command, told: Told::Nothing });
        self.sends(op);
    }

    fn sends(&mut self, op: usize) {
        if self.daemon.is_none() {
            self.ops[op].told = Told::Lost;
            return;
        }
        self.ops[op].told = Told::Nothing;
        let asked = Asked { by: "ann".to_owned(), command: self.ops[op].command.clone() };
        let session = self.ops[op].session.clone();
        self.send(&session, Message::Command { op, asked });
    }

    /// Whoever asked hears what became of it.
    pub(super) fn told(&mut self, op: usize, told: Told) {
        self.note(|| format!("op {op} is answered: {told:?}"));
        self.ops[op].told = told;
    }

    /// Whoever waits for an answer will have none.
    pub(super) fn lose_replies(&mut self, of: impl Fn(&SessionId) -> bool) {
        let waiting = self.ops.iter_mut().filter(|op| op.told == Told::Nothing && of(&op.session));
        waiting.for_each(|op| op.told = Told::Lost);
    }

    /// Somebody who means well decides what waits, and asks again what was lost, until everything rests.
    pub(super) fn helps(&mut self) {
        if self.daemon.is_some() {
            let again: Vec<usize> = (0..self.ops.len()).filter(|op| self.ops[*op].is_lost_prompt()).collect();
            for op in again {
                self.sends(op);
            }
            let wishes: Vec<(SessionId, Command)> = self
                .store
                .sessions
                .iter()
                .filter_map(|(id, stored)| Some((id.clone(), self.wish(id, stored)?)))
                .collect();
            for (id, command) in wishes {
                self.ask(id, command);
            }
            if self.is_at_rest() {
                self.over = true;
                return;
            }
        }
        self.later(HELP_MS, Happening::Helper);
    }

    /// What a session waits for that only somebody can give.
    fn wish(&self, id: &SessionId, stored: &Stored) -> Option<Command> {
        if self.ops.iter().any(|op| op.session == *id && op.told == Told::Nothing) {
            return None;
        }
        if let Some(gate) = stored.open_gates().first() {
            let decision = self.yes(id, *gate);
            return Some(Command::Decide { gate: *gate, decision, always: Always::Once, tool_use: None });
        }
        let row = &stored.row;
        if row.life != Life::Open {
            return None;
        }
        if row.held.is_some() {
            return Some(Command::Resume);
        }
        let parked = row.queue.iter().find(|prompt| prompt.parked.is_some());
        parked.map(|prompt| Command::ReleasePrompt { prompt: prompt.no })
    }

    fn is_at_rest(&self) -> bool {
        let waits = self.ops.iter().any(|op| op.told == Told::Nothing);
        let busy = self.daemon.iter().flat_map(|daemon| daemon.tasks.values()).any(Task::is_busy);
        let all_read = self.store.sessions.keys().all(|id| self.has_read_all(id));
        !waits && !busy && all_read && self.late.is_empty() && self.store.sessions.values().all(rests)
    }

    /// Whether everything is taken in that a session's process has said.
    fn has_read_all(&self, id: &SessionId) -> bool {
        let process = |stored: &Stored| stored.row.process.attempt().map(|attempt| attempt.no);
        let Some(attempt) = self.store.sessions.get(id).and_then(process) else { return true };
        let written = self.holders.get(&(id.clone(), attempt)).map_or(0, |holder| holder.journal.len());
        let task = self.daemon.as_ref().and_then(|daemon| daemon.tasks.get(id));
        task.is_some_and(|task| task.read >= written)
    }

    /// Why it does not rest, for people.
    pub(super) fn unrest(&self) -> String {
        let told = |(id, stored): (&SessionId, &Stored)| {
            let row = &stored.row;
            let waiting = row.queue.iter().count();
            format!(
                "{id} is {}, with {waiting} prompts, {:?}, {:?}, {:?}, {:?}, {:?}, {:?}, {:?}",
                row.status.status,
                row.last_turn,
                row.turn,
                row.own_turn,
                row.interrupt,
                row.closing,
                row.wanted,
                row.tasks
            )
        };
        let restless = self.store.sessions.iter().filter(|(_, stored)| !rests(stored));
        restless.map(told).collect::<Vec<_>>().join("\n")
    }
}

fn rests(stored: &Stored) -> bool {
    let row = &stored.row;
    let works =
        row.turn.is_some() || row.own_turn.is_some() || row.interrupt.is_some() || row.closing.is_some();
    let waits =
        row.queue.iter().next().is_some() || row.has_open_gate() || row.held.is_some() || row.launch_wanted;
    let up = row.process.attempt().is_none() || matches!(row.process, Process::Live(_));
    let ended = row.life != Life::Open;
    ended || (row.settled_since_boot && !works && !waits && up && row.claims.is_empty())
}

/// A text that no other prompt has.
pub(super) fn text(op: usize) -> std::sync::Arc<str> {
    format!("do {op}").into()
}

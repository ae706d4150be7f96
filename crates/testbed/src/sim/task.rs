//! The loop of a session's task, as `crates/daemon/src/session/task` has it: read, decide, commit, adopt, do.

use std::collections::BTreeSet;

use lockkeeper_core::gate::{Decision, GateKind, GateState};
use lockkeeper_core::id::{AttemptNo, SessionId};
use lockkeeper_core::session::laws::Laws;
use lockkeeper_core::session::{
    Command, Duty, DutyId, Env, Envelope, Event, Input, Observation, Rejection, Request as Asked, SlotUse,
    State, deadline, duties, reconcile, slot_use, step,
};
use lockkeeper_core::time::Stamp;

use super::agent::to_run;
use super::clients::Told;
use super::daemon::RETRY_MS;
use super::fault::Fault;
use super::holder::Request;
use super::store::{Commit, Refusal, Stored};
use super::world::{Happening, Sim, broken};

/// The owner of one session's state.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other, as in the real one")]
pub(super) struct Task {
    pub(super) state: State,
    pub(super) laws: Laws,
    pub(super) in_flight: BTreeSet<DutyId>,
    pub(super) linked: bool,
    pub(super) gone: bool,
    pub(super) adopting: bool,
    /// It has a process, and how that stands is not known.
    pub(super) unknown: bool,
    /// How many records of the journal were handed out.
    pub(super) read: usize,
    pub(super) ingested: Option<(AttemptNo, usize)>,
    pub(super) retry_at: Option<u64>,
    pub(super) mailbox: Vec<Message>,
    pub(super) committing: Option<Decided>,
    pub(super) last_at: Option<Stamp>,
}

#[derive(Debug)]
pub(super) enum Message {
    Command { op: usize, asked: Asked },
    Observed(Observation),
    Look,
}

/// Inputs that were decided, and whose commit is under way.
#[derive(Debug)]
pub(super) struct Decided {
    fault: Option<Fault>,
    scratch: State,
    laws: Laws,
    events: Vec<Envelope>,
    read: usize,
    answers: Vec<Answer>,
    admits: bool,
    adopted: bool,
    /// What came of duties beside the process.
    beside: Vec<Observation>,
}

#[derive(Debug)]
struct Answer {
    op: usize,
    /// The numbers of its first event and of that behind the last; none if it was refused.
    events: Option<(u64, u64)>,
    /// It was done before, under the same key.
    again: bool,
}

/// What becomes of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Stored,
    /// The disk is full: nothing is stored.
    Refused,
    /// Nobody knows, and the daemon ends.
    Unknown {
        stored: bool,
    },
}

impl Sim {
    /// One round of a task: read, decide, commit.
    pub(super) fn round(&mut self, id: &SessionId) {
        let Some(mut task) = self.take_task(id) else { return };
        if task.committing.is_some() {
            return self.put_task(task);
        }
        if task.retry_at.is_some_and(|at| at <= self.awake) {
            task.retry_at = None;
        }
        let (inputs, read, more) = self.read(&task);
        let boot = self.now().boot;
        let due = deadline(&task.state, &boot);
        // What happened before a deadline has to be taken in before it counts.
        let upto = inputs.last().map(|(at, _)| at.awake);
        let is_due = task.retry_at.is_none()
            && due.as_ref().is_some_and(|due| {
                due.at.0 <= self.awake && (!more || upto.is_some_and(|upto| upto >= due.at))
            });
        let tick = is_due && self.fault != Some(Fault::NoTicks);
        let decided = self.decide(&mut task, inputs, read, more, tick);
        if tick && decided.events.is_empty() {
            broken(&format!("{due:?} of {id} passed, and nothing followed"));
        }
        let keyed = decided.answers.iter().any(|answer| answer.events.is_some());
        if decided.events.is_empty() && !keyed {
            self.answer(id, &decided);
            self.adopt(&mut task, decided);
            self.do_duties(&mut task);
        } else {
            if self.fault == Some(Fault::EffectsFirst) {
                let before = std::mem::replace(&mut task.state, decided.scratch.clone());
                self.do_duties(&mut task);
                task.state = before;
            }
            if self.fault == Some(Fault::AnswersFirst) {
                self.answer(id, &decided);
            }
            let fate = match self.mischief_below(60) {
                0 => Fate::Refused,
                1 => Fate::Unknown { stored: self.choices.once_in(2) },
                _ => Fate::Stored,
            };
            task.committing = Some(decided);
            if let Some(epoch) = self.daemon.as_ref().map(|daemon| daemon.epoch) {
                let after = self.choices.one_of(&[0, 1, 3, 200]);
                self.later(after, Happening::Committed { epoch, session: id.clone(), fate });
            }
        }
        let again = more && task.committing.is_none();
        let retry = task.retry_at.map(|at| at.saturating_sub(self.awake));
        let due = deadline(&task.state, &boot).map(|due| due.at.0.saturating_sub(self.awake));
        let due = due.filter(|_| self.fault != Some(Fault::NoTicks));
        self.put_task(task);
        if again {
            self.soon(id);
        }
        if let Some(after) = retry.or(due) {
            self.round_after(id, after);
        }
    }

    /// What the journal holds that was not handed out yet, how far that goes, and whether there is more.
    fn read(&mut self, task: &Task) -> (Vec<(Stamp, Input)>, usize, bool) {
        let now = self.now();
        let batch = self.choices.one_of(&[64_usize, 1, 2, 8]);
        let Some(attempt) = task.state.process.attempt().map(|attempt| attempt.no) else {
            return (Vec::new(), 0, false);
        };
        if (!task.linked && !task.gone) || task.retry_at.is_some() {
            return (Vec::new(), task.read, false);
        }
        if task.gone && self.fault == Some(Fault::StopsReading) {
            let lost = Observation::HolderLost { attempt, journal_whole: true, stderr: Vec::new() };
            return (vec![(now, Input::Observation(lost))], task.read, false);
        }
        let journal = self.holders.get(&(task.state.id.clone(), attempt)).map(|holder| &holder.journal[..]);
        let all = journal.unwrap_or_default();
        let from = task.read.min(all.len());
        let upto = (from + batch).min(all.len());
        let input =
            |(at, observation): &(Stamp, Observation)| (at.clone(), Input::Observation(observation.clone()));
        let mut inputs: Vec<(Stamp, Input)> = all[from..upto].iter().map(input).collect();
        let more = upto < all.len();
        let ended = matches!(all.last(), Some((_, Observation::Exited { .. })));
        if !more && task.gone && !ended {
            let journal_whole = journal.is_some() && all.len() >= task.read;
            inputs.push((
                now,
                Input::Observation(Observation::HolderLost { attempt, journal_whole, stderr: Vec::new() }),
            ));
        }
        (inputs, upto.max(task.read), more)
    }

    fn decide(
        &mut self,
        task: &mut Task,
        inputs: Vec<(Stamp, Input)>,
        read: usize,
        more: bool,
        tick: bool,
    ) -> Decided {
        let mut messages = std::mem::take(&mut task.mailbox);
        let admits = self.admits(&task.state);
        let mut decided = Decided {
            fault: self.fault,
            scratch: task.state.clone(),
            laws: task.laws.clone(),
            events: Vec::new(),
            read,
            answers: Vec::new(),
            admits,
            adopted: task.adopting && !more && task.linked && task.retry_at.is_none(),
            beside: Vec::new(),
        };
        let mut env = self.env(admits);
        let last_at = task.last_at.clone();
        if task.unknown {
            env.now = not_before(self.now(), &decided, last_at.as_ref());
            decided.step(Input::Observation(Observation::Unsettled), &env);
        }
        for (at, input) in inputs {
            env.now = not_before(at, &decided, last_at.as_ref());
            decided.step(input, &env);
        }
        if let Some(attempt) =
            decided.adopted.then(|| task.state.process.attempt()).flatten().map(|attempt| attempt.no)
        {
            messages.push(Message::Observed(Observation::Adopted { attempt }));
        }
        for message in messages {
            env.now = not_before(self.now(), &decided, last_at.as_ref());
            match message {
                Message::Command { op, asked } => self.command(&mut decided, task, op, asked, &env),
                Message::Observed(observation) => {
                    if matches!(observation, Observation::Told { .. } | Observation::RuleWritten { .. }) {
                        decided.beside.push(observation.clone());
                    }
                    decided.step(Input::Observation(observation), &env);
                }
                Message::Look => {}
            }
        }
        let begins = env.admits && matches!(slot_use(&decided.scratch), SlotUse::Wants { .. });
        if tick || begins {
            env.now = not_before(self.now(), &decided, last_at.as_ref());
            decided.step(Input::Tick, &env);
        }
        decided
    }

    fn command(&mut self, decided: &mut Decided, task: &Task, op: usize, mut asked: Asked, env: &Env) {
        let under_way = decided.answers.iter().find(|answer| answer.op == op).map(|answer| answer.events);
        let known = self.store.keys.get(&op).map(|events| Some(*events)).or(under_way);
        if let Some(events) = known.filter(|_| self.fault != Some(Fault::ForgetsKeys)) {
            decided.answers.push(Answer { op, events, again: true });
            return;
        }
        if let Command::Decide { gate, decision, tool_use, .. } = &mut asked.command
            && let Some(ask) =
                task.state.gates.get(gate).filter(|gate| gate.state == GateState::Open).map(|gate| &gate.ask)
            && ask.kind == GateKind::Permission
            && matches!(decision, Decision::Allow)
        {
            let input = ask.input.value();
            let words =
                input.get("command").and_then(|command| command.as_str()).unwrap_or_default().to_owned();
            *tool_use = Some(Box::new(to_run(&words)));
        }
        Fault::of_what_is_asked(self.fault, &mut asked.command);
        let from = decided.scratch.seq + 1;
        let done = decided.try_step(Input::Command(asked), env);
        let events = done.ok().map(|()| (from, decided.scratch.seq + 1));
        decided.answers.push(Answer { op, events, again: false });
    }

    /// A commit is over.
    pub(super) fn committed(&mut self, id: &SessionId, fate: Fate) {
        let Some(mut task) = self.take_task(id) else { return };
        let Some(decided) = task.committing.take() else { return self.put_task(task) };
        let epoch = self.daemon.as_ref().map_or(0, |daemon| daemon.epoch);
        self.catch_up(id, epoch);
        let stored = match fate {
            Fate::Stored | Fate::Unknown { stored: true } => self.store_step(epoch, &task, &decided),
            Fate::Refused | Fate::Unknown { stored: false } => Ok(()),
        };
        match (stored, fate) {
            (Err(Refusal::Conflict), _) => {
                self.note(|| format!("the log of {id} is not where its task left it"));
                self.put_task(task);
                self.reload(id);
            }
            (Err(Refusal::Fenced), _) => {
                broken(&format!("a daemon that nobody has replaced is fenced from {id}"))
            }
            (Ok(()), Fate::Stored) => {
                task.ingested = position(&task.state, &decided).or(task.ingested);
                self.answer(id, &decided);
                self.adopt(&mut task, decided);
                self.do_duties(&mut task);
                self.put_task(task);
                self.soon(id);
                self.is_booted();
            }
            (Ok(()), Fate::Refused) => self.is_refused(task, &decided),
            (Ok(()), Fate::Unknown { .. }) => {
                self.note(|| format!("nobody knows about a commit of {id}"));
                self.put_task(task);
                self.crash();
            }
        }
    }

    fn store_step(&mut self, epoch: u64, task: &Task, decided: &Decided) -> Result<(), Refusal> {
        let mut commit = commit(&task.state.id, epoch, &task.state, decided, task.ingested);
        match (self.fault, &mut commit.ingested) {
            (Some(Fault::ForgetsWhatWasRead), ingested) => *ingested = None,
            (Some(Fault::ReadsTooFar), Some((_, read))) => *read += 1,
            _ => {}
        }
        if self.fault == Some(Fault::LosesEvents) && commit.events.len() > 2 {
            commit.events.pop();
        }
        self.store.commit(commit)
    }

    /// Nothing of a step happened.
    fn is_refused(&mut self, mut task: Task, decided: &Decided) {
        let id = task.state.id.clone();
        self.note(|| format!("a commit of {id} is refused"));
        if self.fault == Some(Fault::AnswersRefused) {
            self.answer(&id, decided);
        } else {
            for answer in &decided.answers {
                // What was done before stays done.
                let before = self.store.keys.get(&answer.op).copied();
                let told = before.map_or(Told::Failed, |range| Told::Done(self.told_of(&id, &[], range)));
                self.told(answer.op, told);
            }
        }
        self.settle(&task.state, decided.admits);
        // What was done beside the process was done.
        task.mailbox.splice(0..0, decided.beside.iter().cloned().map(Message::Observed));
        rewind(&mut task);
        task.retry_at = Some(self.awake + RETRY_MS);
        self.put_task(task);
        self.round_after(&id, RETRY_MS);
    }

    fn answer(&mut self, id: &SessionId, decided: &Decided) {
        for answer in &decided.answers {
            let told = answer
                .events
                .map_or(Told::Refused, |range| Told::Done(self.told_of(id, &decided.events, range)));
            self.told(answer.op, told);
        }
    }

    /// The events that somebody is told of: those that were decided, or what is stored of something that was done before.
    fn told_of(&self, id: &SessionId, decided: &[Envelope], (from, to): (u64, u64)) -> Vec<Envelope> {
        let log = self.store.sessions.get(id).map(|stored| &stored.log[..]).unwrap_or_default();
        let begun = decided.first().map_or(u64::MAX, |first| first.seq);
        let all = log.iter().take_while(|envelope| envelope.seq < begun).chain(decided);
        all.filter(|envelope| (from..to).contains(&envelope.seq)).cloned().collect()
    }

    fn adopt(&mut self, task: &mut Task, decided: Decided) {
        let attempt = |state: &State| state.process.attempt().map(|attempt| attempt.no);
        self.settle(&decided.scratch, decided.admits);
        let before = attempt(&task.state);
        let other = before != attempt(&decided.scratch);
        for envelope in &decided.events {
            self.note(|| format!("{}: {} {:?}", task.state.id, envelope.seq, envelope.event));
            if let Event::AttemptLaunchFailed { attempt, .. } = &envelope.event {
                // A launch that was given up must not come to life later.
                let key = (task.state.id.clone(), *attempt);
                self.sealed.insert(key.clone());
                self.takes(&key, Request::Quit);
            }
        }
        task.last_at = decided.events.last().map(|last| last.at.clone()).or(task.last_at.take());
        task.laws = decided.laws;
        task.state = decided.scratch;
        task.read = decided.read;
        if decided.adopted && task.state.settled_since_boot {
            task.adopting = false;
        }
        if other {
            (task.linked, task.gone, task.adopting, task.read) = (false, false, false, 0);
            task.in_flight.retain(is_beside_process);
        }
        task.unknown = false;
        if let Some(daemon) = &mut self.daemon {
            daemon.booting.remove(&task.state.id);
        }
    }

    pub(super) fn do_duties(&mut self, task: &mut Task) {
        if task.retry_at.is_some() {
            return;
        }
        let wanted = if self.fault == Some(Fault::NoDuties) { Vec::new() } else { duties(&task.state) };
        let todo = reconcile(wanted, &task.in_flight);
        for id in todo.drop {
            task.in_flight.remove(&id);
        }
        let Some(epoch) = self.daemon.as_ref().map(|daemon| daemon.epoch) else { return };
        for duty in todo.start {
            let id = duty.id();
            let session = task.state.id.clone();
            match duty {
                Duty::Launch(plan) => {
                    task.in_flight.extend([id, DutyId::Watch(plan.attempt)]);
                    let after = self.choices.one_of(&[5, 0, 500, 20_000]);
                    self.later(after, Happening::Found { epoch, key: (session, plan.attempt), launch: true });
                }
                Duty::Watch { attempt } => {
                    if task.in_flight.contains(&id) || task.linked || task.gone {
                        continue;
                    }
                    task.in_flight.insert(id);
                    let after = self.choices.one_of(&[1, 0, 100]);
                    self.later(after, Happening::Found { epoch, key: (session, attempt), launch: false });
                }
                Duty::Write { attempt, number, op, text } => {
                    let missing = Stored::prompt_of(&op).is_some() && text.is_none();
                    if task.linked && !missing {
                        task.in_flight.insert(id);
                        self.hand_over((session, attempt), Request::Write { number, op });
                    }
                }
                Duty::Signal { attempt, out } => {
                    if task.linked {
                        task.in_flight.insert(id);
                        self.hand_over(
                            (session, attempt),
                            Request::Signal { number: out.number, signal: out.signal },
                        );
                    }
                }
                Duty::Tell { notice } => {
                    task.in_flight.insert(id);
                    let told = Observation::Told { notice: notice.no, error: None };
                    self.later(3, Happening::Told { epoch, session, observation: told });
                }
                Duty::WriteRule { rule } => {
                    task.in_flight.insert(id);
                    let written = Observation::RuleWritten { rule: rule.no, error: None };
                    self.later(3, Happening::Told { epoch, session, observation: written });
                }
            }
        }
    }
}

impl Task {
    /// Whether it is about to decide or to adopt something.
    pub(super) fn is_busy(&self) -> bool {
        self.committing.is_some() || !self.mailbox.is_empty()
    }
}

impl Decided {
    fn step(&mut self, input: Input, env: &Env) {
        if let Err(rejection) = self.try_step(input, env) {
            broken(&format!("what happened was refused: {rejection}"));
        }
    }

    fn try_step(&mut self, input: Input, env: &Env) -> Result<(), Rejection> {
        let (before, told) = (self.scratch.clone(), input.clone());
        let mut result = step(&mut self.scratch, input, env);
        if let Ok(events) = &mut result
            && Fault::of_what_is_decided(self.fault, events)
        {
            self.scratch = before.clone();
            for envelope in &*events {
                self.scratch.evolve(envelope);
            }
        }
        self.laws.stepped(&before, &told, &result, &self.scratch, env);
        self.events.extend(result?);
        Ok(())
    }
}

pub(super) fn commit(
    id: &SessionId,
    epoch: u64,
    before: &State,
    decided: &Decided,
    ingested: Option<(AttemptNo, usize)>,
) -> Commit {
    Commit {
        session: id.clone(),
        epoch,
        expected: before.seq,
        events: decided.events.clone(),
        row: decided.scratch.clone(),
        laws: decided.laws.clone(),
        ingested: position(before, decided).or(ingested),
        keys: decided
            .answers
            .iter()
            .filter(|answer| !answer.again)
            .filter_map(|answer| Some((answer.op, answer.events?)))
            .collect(),
    }
}

/// Reads the journal again from where the last commit left it.
pub(super) fn rewind(task: &mut Task) {
    let attempt = task.state.process.attempt().map(|attempt| attempt.no);
    task.read = task.ingested.filter(|(of, _)| Some(*of) == attempt).map_or(0, |(_, read)| read);
}

/// How far the journal was taken in of the process that there was.
fn position(before: &State, decided: &Decided) -> Option<(AttemptNo, usize)> {
    before.process.attempt().map(|attempt| (attempt.no, decided.read))
}

/// Times in a log do not go back.
fn not_before(at: Stamp, decided: &Decided, last_at: Option<&Stamp>) -> Stamp {
    match decided.events.last().map(|last| &last.at).or(last_at) {
        Some(last) if last.boot == at.boot && last.awake > at.awake => last.clone(),
        Some(_) | None => at,
    }
}

pub(super) fn is_beside_process(duty: &DutyId) -> bool {
    matches!(duty, DutyId::Tell(_) | DutyId::WriteRule(_))
}

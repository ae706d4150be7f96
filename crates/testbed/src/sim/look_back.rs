//! What holds in the end: what was told is true, and nothing was lost or done twice.

use std::collections::{BTreeMap, BTreeSet};

use lockkeeper_core::agent::AgentSays;
use lockkeeper_core::id::{ItemKey, PromptNo, SessionId};
use lockkeeper_core::session::{Command, Envelope, Event, Observation};

use super::clients::{Op, Told, text};
use super::store::Stored;
use super::world::{Sim, broken};

/// The prompts that are in a log: in which, and the numbers of their events.
type Accepted = BTreeMap<String, (SessionId, u64)>;

impl Sim {
    /// What was told is true, and nothing was lost or done twice.
    pub(super) fn look_back(&self) {
        let mut accepted = Accepted::new();
        for (id, stored) in &self.store.sessions {
            look_back_on(id, stored, &mut accepted);
        }
        for (no, op) in self.ops.iter().enumerate() {
            self.look_at_answer(no, op, &accepted);
        }
        self.look_at_journals();
        self.look_at_tasks();
        self.look_at_processes();
    }

    /// What was acknowledged is in the log as it was told, and what was refused is not.
    fn look_at_answer(&self, no: usize, op: &Op, accepted: &Accepted) {
        let is_there = accepted.get(&*text(no)).filter(|_| op.is_prompt());
        match &op.told {
            Told::Done(events) => {
                let log = &self.store.sessions[&op.session].log;
                once(events.iter().all(|told| is_in(log, told)), || {
                    format!("op {no} was told to have led to events that the log has not: {events:?}")
                });
                let told = |(session, seq): &(SessionId, u64)| {
                    *session == op.session && events.iter().any(|event| event.seq == *seq)
                };
                once(!op.is_prompt() || is_there.is_some_and(told), || {
                    format!("the prompt of op {no} was acknowledged and is lost")
                });
                look_at_target(&op.command, events);
            }
            Told::Refused | Told::Failed => {
                once(is_there.is_none(), || format!("the prompt of op {no} was refused, and it is there"));
            }
            Told::Lost | Told::Nothing => {}
        }
    }

    /// Every line of an agent whose process was seen to run has led to its event once.
    fn look_at_journals(&self) {
        for ((id, attempt), holder) in &self.holders {
            let log = &self.store.sessions[id].log;
            let ran =
                |event: &Event| matches!(event, Event::AttemptSpawned { attempt: no, .. } if no == attempt);
            if !log.iter().any(|envelope| ran(&envelope.event)) {
                continue;
            }
            for item in holder.journal.iter().filter_map(|(_, observation)| item_of(observation)) {
                let told = log.iter().filter(|envelope| tells(&envelope.event, item)).count();
                once(told == 1, || format!("{item} of {id} was written down once, and is told {told} times"));
            }
        }
    }

    /// What a daemon goes by is what is stored.
    pub(super) fn look_at_tasks(&self) {
        for task in self.daemon.iter().flat_map(|daemon| daemon.tasks.values()) {
            let id = &task.state.id;
            once(task.state == self.store.sessions[id].row, || {
                format!("the task of {id} goes by another log")
            });
        }
    }

    /// No process runs that no session knows, and no slot is taken by nobody.
    fn look_at_processes(&self) {
        for (key, holder) in self.holders.iter().filter(|(_, holder)| holder.alive) {
            let row = &self.store.sessions[&key.0].row;
            let known = row.process.attempt().is_some_and(|attempt| attempt.no == key.1);
            once(known, || format!("{} of {} runs, and nobody knows: {holder:?}", key.1, key.0));
        }
        let taken = self.daemon.as_ref().map_or(0, |daemon| daemon.machine.taken());
        once(taken == 0, || format!("{taken} slots are taken by nobody"));
    }
}

fn is_in(log: &[Envelope], told: &Envelope) -> bool {
    let at = usize::try_from(told.seq).ok().and_then(|seq| seq.checked_sub(1));
    at.and_then(|at| log.get(at)) == Some(told)
}

/// What was said of one turn, gate or prompt was done to that one and to no other, as it was said.
#[expect(clippy::wildcard_enum_match_arm, reason = "it looks at what names a target; others have none")]
fn look_at_target(command: &Command, events: &[Envelope]) {
    match command {
        Command::Interrupt { turn: Some(meant) } => {
            for envelope in events {
                if let Event::InterruptAsked { turn, .. } = &envelope.event {
                    once(turn == meant, || format!("{turn} is interrupted, and {meant} was meant"));
                }
            }
        }
        Command::Decide { gate: meant, decision, .. } => {
            let is = |event: &Event| {
                matches!(event, Event::GateDecided { gate, verdict, .. }
                    if gate == meant && verdict.decision == *decision)
            };
            once(events.iter().any(|envelope| is(&envelope.event)), || {
                format!("{decision:?} was said at {meant}, and that was not decided: {events:?}")
            });
        }
        Command::DropPrompt { prompt: meant } => {
            let is = |event: &Event| matches!(event, Event::PromptDropped { prompt, .. } if prompt == meant);
            once(events.iter().any(|envelope| is(&envelope.event)), || {
                format!("{meant} was to be dropped, and was not: {events:?}")
            });
        }
        _ => {}
    }
}

/// What an agent says that leads to an event of its own.
#[expect(clippy::wildcard_enum_match_arm, reason = "it looks for items; others have no name")]
fn item_of(observation: &Observation) -> Option<&ItemKey> {
    match observation {
        Observation::Agent { says: AgentSays::Item { item } | AgentSays::ToolStarted { item }, .. } => {
            Some(&item.key)
        }
        _ => None,
    }
}

fn tells(event: &Event, key: &ItemKey) -> bool {
    matches!(event, Event::ItemAdded { item, .. } | Event::ToolStarted { item, .. } if item.key == *key)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "it looks for what has to be there once")]
fn look_back_on(id: &SessionId, stored: &Stored, accepted: &mut Accepted) {
    let mut waits: BTreeSet<PromptNo> = BTreeSet::new();
    let mut items = BTreeSet::new();
    for envelope in &stored.log {
        match &envelope.event {
            Event::PromptAccepted { prompt } => {
                waits.insert(prompt.no);
                let first = prompt.continues.is_some()
                    || accepted.insert(prompt.text.to_string(), (id.clone(), envelope.seq)).is_none();
                if !first {
                    broken(&format!("{:?} was taken twice", prompt.text));
                }
            }
            Event::TurnEnded { prompt: Some(prompt), .. } | Event::PromptDropped { prompt, .. } => {
                once(waits.remove(prompt), || format!("{prompt} of {id} has two outcomes"));
            }
            Event::ItemAdded { item, .. } => {
                once(items.insert(item.key.clone()), || format!("{} of {id} is told twice", item.key));
            }
            _ => {}
        }
    }
    // What waits in a session that has ended is still there when that is opened again.
    let in_queue: BTreeSet<PromptNo> = stored.row.queue.iter().map(|prompt| prompt.no).collect();
    if let Some(prompt) = waits.difference(&in_queue).next() {
        broken(&format!("{prompt} of {id} has no outcome"));
    }
}

/// Ends the schedule unless it holds.
pub(super) fn once(holds: bool, law: impl FnOnce() -> String) {
    if !holds {
        broken(&law());
    }
}

//! The daemon: which sessions have a task, how it reaches their holders, and who has a slot.

use std::collections::{BTreeMap, BTreeSet};

use lockkeeper_core::admission::{Admission, Slots, Want};
use lockkeeper_core::id::SessionId;
use lockkeeper_core::prompt::Class;
use lockkeeper_core::session::{DutyId, Env, Observation, SlotUse, SpawnError, State, slot_use};

use super::fault::Fault;
use super::holder::Request;
use super::task::{Message, Task, commit, is_beside_process, rewind};
use super::world::{Happening, Key, Sim, broken};

/// How long a task waits before it tries again what failed, as the real one does.
pub(super) const RETRY_MS: u64 = 1000;

/// A daemon that runs.
#[derive(Debug)]
pub(super) struct Daemon {
    pub(super) epoch: u64,
    pub(super) machine: Admission,
    pub(super) tasks: BTreeMap<SessionId, Task>,
    /// Sessions that it has not said yet that it does not know about; nothing begins before.
    pub(super) booting: BTreeSet<SessionId>,
    /// Sessions whose task has died, of which something may be on its way to the store.
    abandoned: BTreeSet<SessionId>,
}

impl Sim {
    /// A daemon starts, and looks what runs.
    pub(super) fn boot(&mut self) {
        if self.daemon.is_some() {
            return;
        }
        self.store.epoch += 1;
        let epoch = self.store.epoch;
        self.note(|| format!("daemon {epoch} starts"));
        let mut machine = Admission::new(Slots { all: self.slots, ..Slots::default() });
        let granted = machine.pause(true);
        debug_assert!(granted.is_empty(), "nobody waits yet");
        let live: BTreeSet<SessionId> = self
            .store
            .sessions
            .iter()
            .filter(|(_, stored)| stored.row.process.attempt().is_some())
            .map(|(id, _)| id.clone())
            .collect();
        let (tasks, abandoned) = (BTreeMap::new(), BTreeSet::new());
        self.daemon = Some(Daemon { epoch, machine, tasks, booting: live.clone(), abandoned });
        for id in &live {
            self.rouse(id);
        }
        // Launches that were given up when an earlier daemon died.
        let given_up =
            if self.fault == Some(Fault::ForgetsLaunches) { Vec::new() } else { self.store.given_up() };
        for key in given_up {
            self.sealed.insert(key.clone());
            self.takes(&key, Request::Quit);
        }
        self.is_booted();
    }

    /// Lets turns begin once it is known which run.
    pub(super) fn is_booted(&mut self) {
        let Some(daemon) = self.daemon.as_mut().filter(|daemon| daemon.booting.is_empty()) else { return };
        let granted = daemon.machine.pause(false);
        self.grant(granted);
        // What waits for a launch or a slot without a process has a task again.
        let waits: Vec<SessionId> = self.store.sessions.keys().cloned().collect();
        for id in waits {
            self.rouse(&id);
        }
    }

    /// The daemon is gone in an instant, or sleeps until another one has replaced it. What it had asked of the store and of
    /// holders may get through or not, and late.
    pub(super) fn crash(&mut self) {
        let Some(daemon) = self.daemon.take() else { return };
        self.note(|| format!("daemon {} dies", daemon.epoch));
        for (id, task) in daemon.tasks {
            let key = task.state.process.attempt().map(|attempt| (id.clone(), attempt.no));
            self.leaves_a_commit(&task, daemon.epoch, [20, 100_000]);
            if let Some(key) = key
                && self.choices.once_in(2)
            {
                self.lost_links.insert((key, daemon.epoch));
            }
        }
        let late = self.choices.one_of(&[0, 0, 200, 20_000]);
        self.delay_requests(daemon.epoch, late);
        self.lose_replies(|_| true);
        let after = self.choices.one_of(&[0, 10, 3_000, 100_000]);
        self.later(after, Happening::Boots);
    }

    /// What a daemon has sent to holders comes later than it did, in the same order.
    fn delay_requests(&mut self, of: u64, by: u64) {
        let its = |happening: &Happening| matches!(happening, Happening::Taken { epoch, .. } if *epoch == of);
        let ahead = std::mem::take(&mut self.ahead).into_iter();
        self.ahead = ahead
            .map(|((at, order), happening)| ((at + if its(&happening) { by } else { 0 }, order), happening))
            .collect();
    }

    /// What a task was committing when it died is lost, or stored at once, or on its way for one of these times.
    fn leaves_a_commit(&mut self, task: &Task, epoch: u64, later: [u64; 2]) {
        let Some(decided) = &task.committing else { return };
        let commit = commit(&task.state.id, epoch, &task.state, decided, task.ingested);
        let [soon, late] = later.map(Some);
        let Some(after) = self.choices.one_of(&[None, Some(0), soon, late]) else { return };
        self.count += 1;
        let no = self.count;
        self.late.insert(no, commit);
        if after == 0 {
            return self.arrives(no);
        }
        self.later(after, Happening::Arrives { no });
    }

    /// A session's task is gone, and another one begins with what is stored.
    #[expect(clippy::wildcard_enum_match_arm, reason = "it looks for what is on its way to one task")]
    pub(super) fn reload(&mut self, id: &SessionId) {
        let Some(task) = self.take_task(id) else { return };
        let Some(epoch) = self.daemon.as_ref().map(|daemon| daemon.epoch) else { return };
        self.leaves_a_commit(&task, epoch, [1, 2 * RETRY_MS]);
        self.lose_replies(|of| of == id);
        if let Some(daemon) = &mut self.daemon {
            daemon.abandoned.insert(id.clone());
        }
        let key = task.state.process.attempt().map(|attempt| (id.clone(), attempt.no));
        let cut = self.choices.once_in(2);
        self.ahead.retain(|_, happening| match happening {
            Happening::Committed { session, .. } => session != id,
            Happening::Taken { key: of, .. } => !cut || Some(&*of) != key.as_ref(),
            _ => true,
        });
        for happening in self.ahead.values_mut() {
            // Nobody hears of what is found out, or of a launch that is under way.
            if let Happening::Found { epoch, key, .. } = happening
                && key.0 == *id
            {
                *epoch = 0;
            }
        }
        self.later(RETRY_MS, Happening::Rouses { epoch, session: id.clone() });
    }

    /// Sends a session's task something, and starts it if it does not run.
    pub(super) fn send(&mut self, id: &SessionId, message: Message) {
        self.rouse(id);
        if let Some(task) = self.task(id) {
            task.mailbox.push(message);
            self.soon(id);
        }
    }

    pub(super) fn rouse(&mut self, id: &SessionId) {
        let Some(daemon) = &mut self.daemon else { return };
        if daemon.tasks.contains_key(id) {
            return;
        }
        let epoch = daemon.epoch;
        let early = matches!(self.fault, Some(Fault::LoadsEarly | Fault::ForgetsNumbers));
        if daemon.abandoned.remove(id) && !early {
            // What the task that died has handed to the store is stored first.
            self.catch_up(id, epoch);
        }
        let Some(stored) = self.store.sessions.get(id) else { return };
        let Ok(state) = State::fold(id, &stored.log) else { broken("a log cannot be folded") };
        if state != stored.row {
            broken(&format!("the row of {id} is not the fold of its log"));
        }
        let task = Task {
            laws: stored.laws.clone(),
            in_flight: BTreeSet::new(),
            linked: false,
            gone: false,
            adopting: false,
            unknown: state.process.attempt().is_some(),
            read: 0,
            ingested: stored.ingested,
            retry_at: None,
            mailbox: Vec::new(),
            committing: None,
            last_at: None,
            state,
        };
        self.put_task(task);
        let Some(mut task) = self.take_task(id) else { return };
        rewind(&mut task);
        self.settle(&task.state, false);
        if !task.unknown {
            self.do_duties(&mut task);
        }
        self.put_task(task);
        self.soon(id);
    }

    pub(super) fn task(&mut self, id: &SessionId) -> Option<&mut Task> {
        self.daemon.as_mut()?.tasks.get_mut(id)
    }

    pub(super) fn take_task(&mut self, id: &SessionId) -> Option<Task> {
        self.daemon.as_mut()?.tasks.remove(id)
    }

    pub(super) fn put_task(&mut self, task: Task) {
        if let Some(daemon) = &mut self.daemon {
            daemon.tasks.insert(task.state.id.clone(), task);
        }
    }

    pub(super) fn soon(&mut self, id: &SessionId) {
        let after = self.choices.one_of(&[0, 0, 1, 30]);
        self.round_after(id, after);
    }

    pub(super) fn round_after(&mut self, id: &SessionId, after: u64) {
        if let Some(epoch) = self.daemon.as_ref().map(|daemon| daemon.epoch) {
            self.later(after, Happening::Round { epoch, session: id.clone() });
        }
    }

    /// A journal has more in it.
    pub(super) fn journal_grew(&mut self, (id, attempt): &Key) {
        let reads =
            |task: &Task| task.linked && task.state.process.attempt().is_some_and(|now| now.no == *attempt);
        if self.task(id).is_some_and(|task| reads(task)) {
            self.soon(id);
        }
    }

    /// A connection is cut, and what is on its way is lost.
    pub(super) fn cut_link(&mut self, key: &Key) {
        self.ahead.retain(|_, happening| !matches!(happening, Happening::Taken { key: of, .. } if of == key));
        self.link_breaks(key);
    }

    /// A holder is gone, or the way to it.
    pub(super) fn link_breaks(&mut self, (id, attempt): &Key) {
        let Some(task) = self.task(id) else { return };
        if task.linked && task.state.process.attempt().is_some_and(|now| now.no == *attempt) {
            task.linked = false;
            task.in_flight.retain(is_beside_process);
            self.soon(id);
        }
    }

    /// A holder takes no request with that number.
    pub(super) fn refuse(&mut self, (id, _): &Key) {
        let retry = self.awake + RETRY_MS;
        if let Some(task) = self.task(id) {
            task.in_flight.retain(|duty| {
                matches!(duty, DutyId::Launch(_) | DutyId::Watch(_)) || is_beside_process(duty)
            });
            task.retry_at.get_or_insert(retry);
            self.round_after(id, RETRY_MS);
        }
    }

    /// It was found out how an attempt stands.
    pub(super) fn found(&mut self, key: &Key, launch: bool) {
        let (id, attempt) = key;
        let wanted = self
            .task(id)
            .is_some_and(|task| task.state.process.attempt().is_some_and(|now| now.no == *attempt));
        let launch = launch && !self.sealed.contains(key);
        if launch && wanted && !self.holders.contains_key(key) && self.mischief(12) {
            let error = SpawnError { code: "agent_not_found".to_owned(), message: "no claude".to_owned() };
            if let Some(task) = self.task(id) {
                task.in_flight.retain(is_beside_process);
            }
            return self.send(id, Message::Observed(Observation::SpawnFailed { attempt: *attempt, error }));
        }
        if launch {
            self.start_holder(key);
        }
        if !wanted {
            // Nobody waits for this attempt any more.
            return self.takes(key, Request::Quit);
        }
        let alive = self.holders.get(key).is_some_and(|holder| holder.alive);
        if !alive {
            self.sealed.insert(key.clone());
        }
        let Some(task) = self.task(id) else { return };
        if alive {
            (task.linked, task.gone, task.adopting) = (true, false, true);
        } else {
            task.gone = true;
            task.in_flight.remove(&DutyId::Watch(*attempt));
        }
        self.soon(id);
    }

    /// Sends a request on its way. A socket keeps the order.
    pub(super) fn hand_over(&mut self, key: Key, request: Request) {
        let Some(epoch) = self.daemon.as_ref().map(|daemon| daemon.epoch) else { return };
        let after = self.choices.one_of(&[0, 1, 40, 2_000]);
        let earliest = self.holders.get(&key).map_or(0, |holder| holder.last_arrival + 1);
        let at = (self.awake + after).max(earliest);
        if let Some(holder) = self.holders.get_mut(&key) {
            holder.last_arrival = at;
        }
        self.later(at - self.awake, Happening::Taken { epoch, key, request });
    }

    /// What a step is decided with.
    pub(super) fn env(&self, admits: bool) -> Env {
        Env {
            now: self.now(),
            policy: self.policy.clone(),
            at_launch: self.policy.clone(),
            notices: self.notices.clone(),
            manner: self.manner.clone(),
            name_taken: false,
            paused: false,
            admits,
        }
    }

    /// Whether something of a session may begin, as the real host's slots tell it.
    pub(super) fn admits(&mut self, state: &State) -> bool {
        let Some(daemon) = &mut self.daemon else { return false };
        let machine = &mut daemon.machine;
        if machine.is_unlimited() {
            return true;
        }
        match slot_use(state) {
            SlotUse::Takes if state.turn.is_some() => machine.is_free_for_all(),
            SlotUse::Takes => true,
            SlotUse::Wants { class, since } => machine.take_if_free(&state.id, &want(state, class, since)),
            SlotUse::Nothing => machine.take_if_free(&state.id, &want(state, Class::Background, i64::MAX)),
        }
    }

    /// Takes in what a session has to do with the slots from now on.
    pub(super) fn settle(&mut self, state: &State, admitted: bool) {
        let Some(daemon) = &mut self.daemon else { return };
        let machine = &mut daemon.machine;
        let unlimited = machine.is_unlimited();
        let granted = match slot_use(state) {
            SlotUse::Takes => {
                if !unlimited {
                    machine.hold(&state.id, &want(state, Class::Normal, 0));
                }
                Vec::new()
            }
            SlotUse::Wants { class, since } => {
                let mut granted = machine.leave(&state.id);
                if !machine.is_unlimited() {
                    granted.extend(machine.want(&state.id, &want(state, class, since)));
                } else if !admitted {
                    granted.push(state.id.clone());
                }
                granted
            }
            SlotUse::Nothing if self.fault == Some(Fault::KeepsSlots) => Vec::new(),
            SlotUse::Nothing => machine.leave(&state.id),
        };
        self.grant(granted);
    }

    pub(super) fn grant(&mut self, granted: Vec<SessionId>) {
        for id in granted {
            if let Some(epoch) = self.daemon.as_ref().map(|daemon| daemon.epoch) {
                self.later(0, Happening::Granted { epoch, session: id });
            }
        }
    }
}

fn want(state: &State, class: Class, since: i64) -> Want {
    Want { class, since, agent: state.profile.agent.clone(), labels: state.profile.labels.clone() }
}

//! The slots of this host: who may begin a turn, and who is told when one is free.
//!
//! The machine is [`Admission`]; here are its lock, what keeps it closed, and the way from the sessions to it and back.
//! See `docs/design/0003-turns-and-claims.md`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use lockkeeper_api::Pause;
use lockkeeper_core::admission::{Admission, Slots as Limits, Wait, Want};
use lockkeeper_core::id::{AgentName, SessionId};
use lockkeeper_core::prompt::Class;
use lockkeeper_core::session::{NewSession, SlotUse, State, slot_use};
use lockkeeper_core::time::AwakeMs;

use crate::memory::Gauge;

/// The slots of this host.
#[derive(Debug)]
pub(crate) struct Slots {
    inside: Mutex<Inside>,
    /// The memory that has to be free before a session begins to work, in bytes.
    floor: Option<u64>,
    gauge: Gauge,
}

#[derive(Debug)]
struct Inside {
    machine: Admission,
    /// The sessions that run since before the daemon's start do not all have their slots yet.
    starting: bool,
    draining: bool,
    pause: Option<Pause>,
    /// Somebody looks at the memory again after a while.
    looks_again: bool,
}

/// Why nothing begins on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The daemon looks first what runs.
    Starting,
    /// It is being drained.
    Draining,
    /// Somebody has paused the host.
    Paused(Pause),
}

/// Why a session waits for a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SlotWait {
    /// Nothing begins for now.
    Closed(Closed),
    /// Something is taken, short or limited.
    For(Wait),
}

impl Slots {
    /// Slots that nobody gets before the sessions that run already have theirs; see [`open`](Slots::open).
    pub(crate) fn new(limits: Limits, pause: Option<Pause>, gauge: Gauge) -> Self {
        let floor = limits.memory_floor;
        let mut machine = Admission::new(limits);
        let granted = machine.pause(true);
        debug_assert!(granted.is_empty(), "nobody waits yet");
        let inside = Inside { machine, starting: true, draining: false, pause, looks_again: false };
        Self { inside: Mutex::new(inside), floor, gauge }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same after a look at the memory, for somebody who may get a slot.
    fn after_a_look(&self) -> MutexGuard<'_, Inside> {
        let mut inside = self.inside();
        // While it is short, the look that is about to come is soon enough: others would cost every step of every session,
        // and let the next one begin before the last one has what it needs.
        let soon = inside.looks_again && inside.machine.is_short_of_memory();
        if self.floor.is_some()
            && !soon
            && let Some(free) = self.gauge.read()
        {
            inside.machine.memory(free);
        }
        inside
    }

    /// The sessions that run have their slots: lets turns begin. Tells who got a slot by that.
    #[must_use]
    pub(crate) fn open(&self) -> Vec<SessionId> {
        self.change(|inside| inside.starting = false)
    }

    /// Lets no other turn begin, for the daemon ends once those that run are over.
    pub(crate) fn drain(&self) {
        let granted = self.change(|inside| inside.draining = true);
        debug_assert!(granted.is_empty(), "nothing begins");
    }

    /// Whether the daemon is being drained.
    pub(crate) fn is_draining(&self) -> bool {
        self.inside().draining
    }

    /// Pauses the host for somebody, or lets it go on. Tells who got a slot by that.
    #[must_use]
    pub(crate) fn set_pause(&self, pause: Option<Pause>) -> Vec<SessionId> {
        self.change(|inside| inside.pause = pause)
    }

    /// Who has paused the host, if somebody has.
    pub(crate) fn pause(&self) -> Option<Pause> {
        self.inside().pause.clone()
    }

    /// Whether no turn and no process may begin, whatever is free.
    pub(crate) fn is_paused(&self) -> bool {
        let inside = self.inside();
        inside.draining || inside.pause.is_some()
    }

    fn change(&self, change: impl FnOnce(&mut Inside)) -> Vec<SessionId> {
        let mut inside = self.after_a_look();
        change(&mut inside);
        let closed = inside.closed().is_some();
        inside.machine.pause(closed)
    }

    /// Whether something of a session may begin in the step that is about to be decided. A slot that is taken here and
    /// not used is given back by [`settle`](Slots::settle).
    pub(crate) fn admits(&self, state: &State) -> bool {
        if self.inside().machine.is_unlimited() {
            return true;
        }
        let take =
            |class, since| self.after_a_look().machine.take_if_free(&state.id, &want(state, class, since));
        match slot_use(state) {
            // The turn that runs has one; the next one competes with those that wait.
            SlotUse::Takes if state.turn.is_some() => self.is_free_for_all(),
            SlotUse::Takes => true,
            SlotUse::Wants { class, since } => take(class, since),
            // What comes is not known yet.
            SlotUse::Nothing => take(Class::Background, i64::MAX),
        }
    }

    /// Whether a session that is at work may keep its slot for its next turn. This is asked often, so the memory is looked
    /// at only if it was short and somebody waits, who goes first if it is back.
    fn is_free_for_all(&self) -> bool {
        let inside = self.inside();
        let doubtful = inside.machine.is_waited_for() && inside.machine.is_short_of_memory();
        drop(inside);
        let inside = if doubtful { self.after_a_look() } else { self.inside() };
        inside.machine.is_free_for_all()
    }

    /// Whether a session that is about to be made may begin; one that is not made has to be [forgotten](Slots::forget).
    pub(crate) fn admits_new(&self, new: &NewSession) -> bool {
        let want = Want {
            class: new.prompt.as_ref().map_or(Class::Background, |prompt| prompt.class),
            since: i64::MAX,
            agent: new.agent.clone(),
            labels: new.labels.clone(),
        };
        let mut inside = self.after_a_look();
        new.prompt.is_some() && (inside.machine.is_unlimited() || inside.machine.take_if_free(&new.id, &want))
    }

    /// Takes in what a session has to do with the slots from now on, after a step that was decided with `admitted` as the
    /// answer of [`admits`](Slots::admits). Tells who got a slot by that: this session too if it was not admitted, and
    /// slots have become free for everybody meanwhile.
    #[must_use]
    pub(crate) fn settle(&self, state: &State, admitted: bool) -> Vec<SessionId> {
        let unlimited = self.inside().machine.is_unlimited();
        match slot_use(state) {
            SlotUse::Takes => {
                if !unlimited {
                    self.inside().machine.hold(&state.id, &want(state, Class::Normal, 0));
                }
                Vec::new()
            }
            SlotUse::Wants { class, since } => {
                let mut inside = self.after_a_look();
                let mut granted = inside.machine.leave(&state.id);
                if !inside.machine.is_unlimited() {
                    granted.extend(inside.machine.want(&state.id, &want(state, class, since)));
                } else if !admitted {
                    granted.push(state.id.clone());
                }
                granted
            }
            SlotUse::Nothing => self.forget(&state.id),
        }
    }

    /// Keeps all turns of an agent waiting until then: its account has reached a limit.
    pub(crate) fn limit(&self, agent: &AgentName, until: AwakeMs) {
        self.inside().machine.limit(agent, until);
    }

    /// A turn has gone through although the account was said to have reached a limit. Tells who got a slot by that.
    #[must_use]
    pub(crate) fn limit_is_over(&self, agent: &AgentName) -> Vec<SessionId> {
        self.after_a_look().machine.limit_is_over(agent)
    }

    /// The model has answered a session. Tells who got a slot by that.
    #[must_use]
    pub(crate) fn went_through(&self, session: &SessionId) -> Vec<SessionId> {
        if self.inside().machine.is_unlimited() {
            return Vec::new();
        }
        self.after_a_look().machine.went_through(session)
    }

    /// Time has passed. Tells who got a slot by that.
    #[must_use]
    pub(crate) fn tick(&self, now: AwakeMs) -> Vec<SessionId> {
        self.after_a_look().machine.tick(now)
    }

    /// Forgets a session that is gone, or wants nothing. Tells who got its slot.
    #[must_use]
    pub(crate) fn forget(&self, session: &SessionId) -> Vec<SessionId> {
        let waited_for = self.inside().machine.is_waited_for();
        let mut inside = if waited_for { self.after_a_look() } else { self.inside() };
        inside.machine.leave(session)
    }

    /// Whether somebody waits for memory and nobody is about to look at it again. Whoever is told so does, and says so by
    /// [`looked`](Slots::looked).
    pub(crate) fn calls_for_a_look(&self) -> bool {
        let mut inside = self.inside();
        let calls = !inside.looks_again && inside.machine.awaits_memory();
        inside.looks_again |= calls;
        calls
    }

    /// Whoever was to look at the memory does. Tells who got a slot by that.
    #[must_use]
    pub(crate) fn looked(&self, now: AwakeMs) -> Vec<SessionId> {
        self.inside().looks_again = false;
        self.tick(now)
    }

    /// The memory in bytes that is available and that has to be; `None` where there is no floor.
    pub(crate) fn memory(&self) -> Option<(Option<u64>, u64)> {
        self.floor.map(|floor| (self.gauge.read(), floor))
    }

    /// Why a session waits for a slot, if it does.
    pub(crate) fn waits_for(&self, session: &SessionId) -> Option<SlotWait> {
        let inside = self.inside();
        let wait = inside.machine.waits_for(session)?;
        Some(inside.closed().map_or(SlotWait::For(wait), SlotWait::Closed))
    }

    /// Why nothing begins, if nothing does.
    pub(crate) fn closed(&self) -> Option<Closed> {
        self.inside().closed()
    }
}

impl Inside {
    /// A pause first: it lasts longer than the daemon.
    fn closed(&self) -> Option<Closed> {
        match &self.pause {
            Some(pause) => Some(Closed::Paused(pause.clone())),
            None if self.draining => Some(Closed::Draining),
            None => self.starting.then_some(Closed::Starting),
        }
    }
}

fn want(state: &State, class: Class, since: i64) -> Want {
    Want { class, since, agent: state.profile.agent.clone(), labels: state.profile.labels.clone() }
}

#[cfg(test)]
mod tests;

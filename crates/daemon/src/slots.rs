//! The slots of this host: who may begin a turn, and who is told when one is free.
//!
//! The machine is [`Admission`]; here are its lock, and the way from the sessions to it and back. See
//! `docs/design/0003-turns-and-claims.md`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use lockkeeper_core::admission::{Admission, Slots as Limits, Wait, Want};
use lockkeeper_core::id::{AgentName, SessionId};
use lockkeeper_core::prompt::Class;
use lockkeeper_core::session::{NewSession, SlotUse, State, slot_use};
use lockkeeper_core::time::AwakeMs;

/// The slots of this host.
#[derive(Debug)]
pub(crate) struct Slots {
    machine: Mutex<Admission>,
}

impl Slots {
    /// Slots that nobody gets before the sessions that run already have theirs; see [`open`](Slots::open).
    pub(crate) fn new(limits: Limits) -> Self {
        let mut machine = Admission::new(limits);
        let granted = machine.pause(true);
        debug_assert!(granted.is_empty(), "nobody waits yet");
        Self { machine: Mutex::new(machine) }
    }

    fn machine(&self) -> MutexGuard<'_, Admission> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets turns begin, or none from now on. Tells who got a slot by that.
    #[must_use]
    pub(crate) fn open(&self, open: bool) -> Vec<SessionId> {
        self.machine().pause(!open)
    }

    /// Whether something of a session may begin in the step that is about to be decided. A slot that is taken here and
    /// not used is given back by [`settle`](Slots::settle).
    pub(crate) fn admits(&self, state: &State) -> bool {
        let mut machine = self.machine();
        if machine.is_unlimited() {
            return true;
        }
        match slot_use(state) {
            // The turn that runs has one; the next one competes with those that wait.
            SlotUse::Takes if state.turn.is_some() => machine.is_free_for_all(),
            SlotUse::Takes => true,
            SlotUse::Wants { class, since } => machine.take_if_free(&state.id, &want(state, class, since)),
            // What comes is not known yet.
            SlotUse::Nothing => machine.take_if_free(&state.id, &want(state, Class::Background, i64::MAX)),
        }
    }

    /// The same for a session that is about to be made; one that is not made has to be [forgotten](Slots::forget).
    pub(crate) fn admits_new(&self, new: &NewSession) -> bool {
        let want = Want {
            class: new.prompt.as_ref().map_or(Class::Background, |prompt| prompt.class),
            since: i64::MAX,
            agent: new.agent.clone(),
            labels: new.labels.clone(),
        };
        let mut machine = self.machine();
        new.prompt.is_some() && (machine.is_unlimited() || machine.take_if_free(&new.id, &want))
    }

    /// Takes in what a session has to do with the slots from now on, after a step that was decided with `admitted` as the
    /// answer of [`admits`](Slots::admits). Tells who got a slot by that: this session too if it was not admitted, and
    /// slots have become free for everybody meanwhile.
    #[must_use]
    pub(crate) fn settle(&self, state: &State, admitted: bool) -> Vec<SessionId> {
        let mut machine = self.machine();
        let unlimited = machine.is_unlimited();
        match slot_use(state) {
            SlotUse::Takes => {
                if !unlimited {
                    machine.hold(&state.id, &want(state, Class::Normal, 0));
                }
                Vec::new()
            }
            SlotUse::Wants { class, since } => {
                let mut granted = machine.leave(&state.id);
                if !unlimited {
                    granted.extend(machine.want(&state.id, &want(state, class, since)));
                } else if !admitted {
                    granted.push(state.id.clone());
                }
                granted
            }
            SlotUse::Nothing => machine.leave(&state.id),
        }
    }

    /// Keeps all turns of an agent waiting until then: its account has reached a limit.
    pub(crate) fn limit(&self, agent: &AgentName, until: AwakeMs) {
        self.machine().limit(agent, until);
    }

    /// Time has passed. Tells who got a slot by that.
    #[must_use]
    pub(crate) fn tick(&self, now: AwakeMs) -> Vec<SessionId> {
        self.machine().tick(now)
    }

    /// Forgets a session that is gone. Tells who got its slot.
    #[must_use]
    pub(crate) fn forget(&self, session: &SessionId) -> Vec<SessionId> {
        self.machine().leave(session)
    }

    /// Why a session waits for a slot, if it does.
    pub(crate) fn waits_for(&self, session: &SessionId) -> Option<String> {
        let machine = self.machine();
        Some(match machine.waits_for(session)? {
            Wait::Paused => "the host starts nothing for now".to_owned(),
            Wait::Host { slots } => format!("all slots of the host are taken ({slots})"),
            Wait::Agent { slots } => format!("all slots of its agent are taken ({slots})"),
            Wait::Label { label: (key, value), slots } => {
                format!("all slots of the label {key}={value} are taken ({slots})")
            }
            Wait::Memory => "too little memory is free".to_owned(),
            Wait::RateLimit { .. } => "its agent's account has reached a limit".to_owned(),
            Wait::Probing => {
                "another session finds out whether the limit of the agent's account is over".to_owned()
            }
            Wait::Order => "others go before it".to_owned(),
        })
    }
}

fn want(state: &State, class: Class, since: i64) -> Want {
    Want { class, since, agent: state.profile.agent.clone(), labels: state.profile.labels.clone() }
}

#[cfg(test)]
mod tests {
    use lockkeeper_core::prompt::Class;
    use lockkeeper_core::session::{Env, NewPrompt, create};

    use super::*;
    use crate::clock::Clock;
    use crate::making::tests::new;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    /// A session whose prompt waits for a slot.
    fn waiting() -> Result<State, Box<dyn std::error::Error>> {
        let new = NewSession { prompt: Some(NewPrompt::new("x", Class::Normal)), ..new(7)? };
        let adapter = lockkeeper_agents::registry::find("demo").ok_or("no demo")?;
        let now = Clock::new().now();
        let env =
            Env { now, manner: adapter.manner().into(), name_taken: false, draining: false, admits: false };
        Ok(create(new, "me", &env)?.0)
    }

    #[test]
    fn whoever_was_turned_away_while_the_host_opened_is_told_that_it_may_begin() -> Outcome {
        let (slots, state) = (Slots::new(Limits::default()), waiting()?);
        assert!(!slots.admits(&state), "nothing begins before the host is open");
        assert_eq!(slots.open(true), [], "it is not known yet to wait");
        assert_eq!(slots.settle(&state, false), std::slice::from_ref(&state.id));
        assert_eq!(slots.settle(&state, true), [], "something else keeps it waiting");
        Ok(())
    }

    #[test]
    fn a_slot_that_was_given_back_while_there_was_no_limit_is_not_had_afterwards() -> Outcome {
        let (slots, state) = (Slots::new(Limits::default()), waiting()?);
        assert_eq!(slots.settle(&state, false), [], "it waits for the host to open");
        assert_eq!(slots.open(true), std::slice::from_ref(&state.id));
        // It began, ended, and wants another turn later, when the agent's account has reached its limit.
        assert!(slots.admits(&state));
        assert_eq!(slots.settle(&state, true), []);
        slots.limit(&state.profile.agent, AwakeMs(1));
        assert!(!slots.admits(&state));
        Ok(())
    }
}

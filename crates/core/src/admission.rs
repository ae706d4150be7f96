//! Admission: which waiting turn of a host gets the next slot.
//!
//! A pure machine. It is told who wants a slot and who gives one back, and tells who got one. It is rebuilt from the
//! sessions' states when the daemon starts, and remembers nothing that they do not know.

mod memory;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::id::{AgentName, SessionId};
use crate::prompt::Class;
use crate::time::AwakeMs;
use memory::Memory;

/// A label with its value.
pub type Label = (String, String);

/// How many turns may run at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slots {
    /// On the host; none is no limit.
    pub all: Option<u32>,
    /// Of one agent.
    pub agents: BTreeMap<AgentName, u32>,
    /// Of sessions with one label.
    pub labels: BTreeMap<Label, u32>,
    /// The memory in bytes that has to be free before one begins; none is no floor.
    pub memory_floor: Option<u64>,
}

/// Who wants a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// How urgent it is.
    pub class: Class,
    /// Since when it waits, on the wall clock in milliseconds: the oldest of a class goes first.
    pub since: i64,
    /// The agent.
    pub agent: AgentName,
    /// The session's labels.
    pub labels: BTreeMap<String, String>,
}

/// Why a turn waits for its slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// The host starts nothing for now.
    Paused,
    /// All slots of the host are taken.
    Host {
        /// How many there are.
        slots: u32,
    },
    /// All slots of its agent are taken.
    Agent {
        /// How many there are.
        slots: u32,
    },
    /// All slots of one of its labels are taken.
    Label {
        /// The label.
        label: Label,
        /// How many there are.
        slots: u32,
    },
    /// Too little memory is free.
    Memory {
        /// How much was at the last look, in bytes.
        free: u64,
        /// How much has to be, in bytes.
        floor: u64,
    },
    /// Memory was short and is free again; one has begun, and the next look tells whether there is room for another.
    MemoryTried,
    /// The agent's account has reached a limit.
    RateLimit {
        /// Until when, on the awake clock.
        until: AwakeMs,
    },
    /// That limit should be over, and another turn finds out.
    Probing,
    /// Others go before it.
    Order,
}

/// Everything that is waited for and taken on one host.
#[derive(Debug, Clone, Default)]
pub struct Admission {
    slots: Slots,
    paused: bool,
    memory: Memory,
    limited: BTreeMap<AgentName, Limit>,
    held: BTreeMap<SessionId, Group>,
    wanted: BTreeMap<SessionId, (Group, Place)>,
    groups: BTreeMap<Group, BTreeSet<Place>>,
    taken_of_agent: BTreeMap<AgentName, u32>,
    taken_of_label: BTreeMap<Label, u32>,
}

/// Those that the same limits are about: the first of a group goes, or none of it does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    agent: AgentName,
    /// Those labels that have a limit.
    labels: Vec<Label>,
}

type Place = (Reverse<Class>, i64, SessionId);

/// A limit of an agent's account.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Limit {
    /// Nothing of this agent is started before then.
    Until(AwakeMs),
    /// One turn finds out whether it is over; none has begun yet.
    Over,
    /// This one does.
    Probed(SessionId),
}

impl Admission {
    /// A machine with these limits, with nothing taken and nothing wanted.
    pub fn new(slots: Slots) -> Self {
        Self { slots, ..Self::default() }
    }

    /// Wants a slot, or wants it otherwise than before; its place among its class goes by `since`. Whoever has one
    /// keeps it. Tells who got one.
    #[must_use]
    pub fn want(&mut self, session: &SessionId, want: &Want) -> Vec<SessionId> {
        if self.held.contains_key(session) {
            return Vec::new();
        }
        self.forget(session);
        let group = self.group(want);
        let place = (Reverse(want.class), want.since, session.clone());
        self.groups.entry(group.clone()).or_default().insert(place.clone());
        self.wanted.insert(session.clone(), (group, place));
        self.grant()
    }

    /// Takes a slot if it can be had at once and nobody waits for one; else nothing changes. True also for whoever has
    /// one.
    pub fn take_if_free(&mut self, session: &SessionId, want: &Want) -> bool {
        if self.held.contains_key(session) {
            return true;
        }
        let group = self.group(want);
        let alone = self.wanted.keys().all(|other| other == session);
        if !alone || self.obstacle(&group).is_some() {
            return false;
        }
        self.forget(session);
        self.take(session, group);
        true
    }

    /// Whether everybody gets a slot at once, so that nobody need be counted. Those that were counted while there was a
    /// limit are until they have given their slots back.
    pub fn is_unlimited(&self) -> bool {
        self.slots == Slots::default() && !self.paused && self.limited.is_empty() && self.held.is_empty()
    }

    /// Whether whoever gives a slot back may have it again: the host starts things, and nobody waits for a slot, or nobody
    /// could make use of it because memory is short. What a session at work has of that it keeps.
    pub fn is_free_for_all(&self) -> bool {
        !self.paused && (self.wanted.is_empty() || self.is_short_of_memory())
    }

    /// Whether somebody waits for a slot, whatever for.
    pub fn is_waited_for(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Whether too little memory was free at the last look, or what was free has gone to somebody since.
    pub fn is_short_of_memory(&self) -> bool {
        self.memory.is_in_the_way()
    }

    /// Whether somebody waits for memory, and for nothing that comes before it: it has to be looked at again.
    pub fn awaits_memory(&self) -> bool {
        self.is_short_of_memory()
            && self
                .groups
                .keys()
                .any(|group| matches!(self.obstacle(group), Some(Wait::Memory { .. } | Wait::MemoryTried)))
    }

    /// Takes a slot whatever the limits say: for a turn that runs already when the daemon starts.
    pub fn hold(&mut self, session: &SessionId, want: &Want) {
        self.forget(session);
        if !self.held.contains_key(session) {
            let group = self.group(want);
            self.take(session, group);
        }
    }

    /// Gives the slot back, or wants it no more. Tells who got one.
    #[must_use]
    pub fn leave(&mut self, session: &SessionId) -> Vec<SessionId> {
        self.forget(session);
        if let Some(group) = self.held.remove(session) {
            less(&mut self.taken_of_agent, &group.agent);
            for label in &group.labels {
                less(&mut self.taken_of_label, label);
            }
            // It went well, or nobody will know.
            if self.limited.get(&group.agent) == Some(&Limit::Probed(session.clone())) {
                self.limited.remove(&group.agent);
            }
        }
        self.grant()
    }

    /// Starts nothing from now on, or goes on. Tells who got a slot.
    #[must_use]
    pub fn pause(&mut self, paused: bool) -> Vec<SessionId> {
        self.paused = paused;
        self.grant()
    }

    /// So many bytes of memory are free. It counts from the next slot on that is given to somebody.
    pub fn memory(&mut self, free: u64) {
        if let Some(floor) = self.slots.memory_floor {
            self.memory = self.memory.seen(free, floor, self.is_waited_for());
        }
    }

    /// An agent's account has reached a limit that lasts until then. A later one counts.
    pub fn limit(&mut self, agent: &AgentName, until: AwakeMs) {
        let until = match self.limited.get(agent) {
            Some(Limit::Until(known)) => until.max(*known),
            Some(Limit::Over | Limit::Probed(_)) | None => until,
        };
        self.limited.insert(agent.clone(), Limit::Until(until));
    }

    /// A turn has gone through although the agent's account was said to have reached a limit: there is none. Tells who got
    /// a slot.
    #[must_use]
    pub fn limit_is_over(&mut self, agent: &AgentName) -> Vec<SessionId> {
        self.limited.remove(agent);
        self.grant()
    }

    /// The model has answered a session. If it was to find out whether a limit is over, it is. Tells who got a slot.
    #[must_use]
    pub fn went_through(&mut self, session: &SessionId) -> Vec<SessionId> {
        let agent = self.held.get(session).map(|group| group.agent.clone());
        match agent.filter(|agent| self.limited.get(agent) == Some(&Limit::Probed(session.clone()))) {
            Some(agent) => self.limit_is_over(&agent),
            None => Vec::new(),
        }
    }

    /// Time has passed. Tells who got a slot.
    #[must_use]
    pub fn tick(&mut self, now: AwakeMs) -> Vec<SessionId> {
        for limit in self.limited.values_mut() {
            if matches!(limit, Limit::Until(until) if *until <= now) {
                *limit = Limit::Over;
            }
        }
        self.grant()
    }

    /// When to tick next.
    pub fn deadline(&self) -> Option<AwakeMs> {
        let until = |limit: &Limit| match limit {
            Limit::Until(until) => Some(*until),
            Limit::Over | Limit::Probed(_) => None,
        };
        self.limited.values().filter_map(until).min()
    }

    /// Why a session waits; none if it does not.
    pub fn waits_for(&self, session: &SessionId) -> Option<Wait> {
        let (group, _) = self.wanted.get(session)?;
        Some(self.obstacle(group).unwrap_or(Wait::Order))
    }

    /// Who waits, in the order of their places.
    pub fn waiting(&self) -> Vec<SessionId> {
        let places: BTreeSet<&Place> = self.wanted.values().map(|(_, place)| place).collect();
        places.into_iter().map(|(_, _, session)| session.clone()).collect()
    }

    /// How many slots are taken.
    pub fn taken(&self) -> usize {
        self.held.len()
    }

    fn group(&self, want: &Want) -> Group {
        let labels = want.labels.iter().map(|(key, value)| (key.clone(), value.clone()));
        let limited = labels.filter(|label| self.slots.labels.contains_key(label)).collect();
        Group { agent: want.agent.clone(), labels: limited }
    }

    fn forget(&mut self, session: &SessionId) {
        if let Some((group, place)) = self.wanted.remove(session)
            && let Some(places) = self.groups.get_mut(&group)
        {
            places.remove(&place);
            if places.is_empty() {
                self.groups.remove(&group);
            }
        }
    }

    fn take(&mut self, session: &SessionId, group: Group) {
        *self.taken_of_agent.entry(group.agent.clone()).or_default() += 1;
        for label in &group.labels {
            *self.taken_of_label.entry(label.clone()).or_default() += 1;
        }
        if self.limited.get(&group.agent) == Some(&Limit::Over) {
            self.limited.insert(group.agent.clone(), Limit::Probed(session.clone()));
        }
        self.memory = self.memory.taken();
        self.held.insert(session.clone(), group);
    }

    /// Gives slots to the first of those that nothing stands in the way of, as long as there are any. Looks at the first
    /// of each group only, however many wait.
    fn grant(&mut self) -> Vec<SessionId> {
        let mut granted = Vec::new();
        loop {
            let firsts = self.groups.iter().filter(|(group, _)| self.obstacle(group).is_none());
            let next = firsts.filter_map(|(group, places)| Some((places.first()?, group))).min();
            let Some(((_, _, session), group)) = next else { return granted };
            let (session, group) = (session.clone(), group.clone());
            self.forget(&session);
            self.take(&session, group);
            granted.push(session);
        }
    }

    fn obstacle(&self, group: &Group) -> Option<Wait> {
        if self.paused {
            return Some(Wait::Paused);
        }
        match self.limited.get(&group.agent) {
            Some(Limit::Until(until)) => return Some(Wait::RateLimit { until: *until }),
            Some(Limit::Probed(_)) => return Some(Wait::Probing),
            Some(Limit::Over) | None => {}
        }
        if let Some(slots) = self.slots.all.filter(|slots| self.held.len() >= *slots as usize) {
            return Some(Wait::Host { slots });
        }
        let taken = self.taken_of_agent.get(&group.agent).copied().unwrap_or(0);
        if let Some(slots) = self.slots.agents.get(&group.agent).copied().filter(|slots| taken >= *slots) {
            return Some(Wait::Agent { slots });
        }
        for label in &group.labels {
            let taken = self.taken_of_label.get(label).copied().unwrap_or(0);
            if let Some(slots) = self.slots.labels.get(label).copied().filter(|slots| taken >= *slots) {
                return Some(Wait::Label { label: label.clone(), slots });
            }
        }
        match (self.memory, self.slots.memory_floor) {
            (Memory::Short { free }, Some(floor)) => Some(Wait::Memory { free, floor }),
            (Memory::Tried, _) => Some(Wait::MemoryTried),
            (Memory::Short { .. } | Memory::Enough | Memory::Back, _) => None,
        }
    }
}

fn less<K: Ord>(taken: &mut BTreeMap<K, u32>, key: &K) {
    if let Some(count) = taken.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            taken.remove(key);
        }
    }
}

#[cfg(test)]
mod tests;

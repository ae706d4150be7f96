//! Which session waits for which: a program that an agent runs may wait until another session has done its work.
//!
//! While it waits, the turn that it belongs to cannot end before the other one does. Waits that form a cycle would last
//! for ever, so the one that would close it is refused. See `docs/design/0003-turns-and-claims.md`.
//!
//! The machine remembers nothing that those who wait do not know: each wait is begun and ended by its request, and after
//! a start of the daemon there is none until they have come again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use thiserror::Error;

use crate::id::SessionId;

/// The waits under way. They never form a cycle.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waiting {
    /// For whom each session waits, and how many of its programs do.
    waits: BTreeMap<SessionId, BTreeMap<SessionId, usize>>,
}

/// A wait that would never end.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}", self.told(SessionId::to_string))]
pub struct Cycle {
    /// Each waits for the next one, and the last one for the first, which is the session whose wait was refused.
    pub sessions: Vec<SessionId>,
}

impl Waiting {
    /// Lets a session wait for another one until [`Self::end`] is called with the same two.
    ///
    /// # Errors
    /// The cycle that this wait would close, the shortest of them. Nothing is changed then.
    pub fn begin(&mut self, who: &SessionId, whom: &SessionId) -> Result<(), Cycle> {
        if let Some(sessions) = self.path(whom, who) {
            // The path ends where the cycle begins.
            let others = sessions.into_iter().filter(|session| session != who);
            return Err(Cycle { sessions: [who.clone()].into_iter().chain(others).collect() });
        }
        *self.waits.entry(who.clone()).or_default().entry(whom.clone()).or_default() += 1;
        Ok(())
    }

    /// One of the session's waits for the other one is over.
    pub fn end(&mut self, who: &SessionId, whom: &SessionId) {
        let Some(waits) = self.waits.get_mut(who) else { return };
        if let Some(count) = waits.get_mut(whom) {
            *count -= 1;
            if *count == 0 {
                waits.remove(whom);
            }
        }
        if waits.is_empty() {
            self.waits.remove(who);
        }
    }

    /// For whom a session waits.
    pub fn of(&self, who: &SessionId) -> impl Iterator<Item = &SessionId> {
        self.waits.get(who).into_iter().flat_map(BTreeMap::keys)
    }

    /// The shortest way from one session to another along those that are waited for, with both ends.
    fn path(&self, from: &SessionId, to: &SessionId) -> Option<Vec<SessionId>> {
        let mut seen = BTreeSet::from([from]);
        let mut ways = VecDeque::from([vec![from]]);
        while let Some(way) = ways.pop_front() {
            let last = *way.last()?;
            if last == to {
                return Some(way.into_iter().cloned().collect());
            }
            for next in self.of(last).filter(|next| seen.insert(*next)) {
                ways.push_back([&way[..], &[next]].concat());
            }
        }
        None
    }
}

impl Cycle {
    /// The cycle in words, with what people call each session: `a waits for b, b waits for a`.
    pub fn told(&self, title: impl Fn(&SessionId) -> String) -> String {
        let titles: Vec<String> = self.sessions.iter().map(title).collect();
        let nexts = titles.iter().cycle().skip(1);
        let waits = titles.iter().zip(nexts).map(|(who, whom)| format!("{who} waits for {whom}"));
        waits.collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests;

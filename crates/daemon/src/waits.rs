//! Which programs of agents wait for sessions just now.
//!
//! Nothing of this is stored: a wait lives as long as the request that waits. After a start of the daemon there is none
//! until the clients have connected again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockkeeper_core::id::SessionId;
use lockkeeper_core::waiting::{Cycle, Waiting};

/// The waits under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waits(Arc<Mutex<Waiting>>);

/// One of them. It is over when this is dropped.
#[derive(Debug)]
pub(crate) struct Wait {
    waits: Waits,
    who: SessionId,
    whom: SessionId,
}

impl Waits {
    /// Lets a program of one session wait for another session, unless they would wait for each other for ever. Of two
    /// that would close a cycle at the same time, one comes first and the other one is refused.
    pub(crate) fn begin(&self, who: SessionId, whom: SessionId) -> Result<Wait, Cycle> {
        self.lock().begin(&who, &whom)?;
        Ok(Wait { waits: self.clone(), who, whom })
    }

    /// For whom the programs of a session wait just now.
    pub(crate) fn of(&self, who: &SessionId) -> Vec<SessionId> {
        self.lock().of(who).cloned().collect()
    }

    /// Held for the length of a look at the waits, never across an await.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.waits.lock().end(&self.who, &self.whom);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_is_dropped_is_over() {
        let (a, b) = (SessionId::from_random(1), SessionId::from_random(2));
        let waits = Waits::default();
        let wait = waits.begin(a.clone(), b.clone());
        assert!(wait.is_ok());
        assert!(waits.begin(b.clone(), a.clone()).is_err());
        drop(wait);
        assert!(waits.begin(b, a).is_ok());
    }
}

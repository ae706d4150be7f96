//! Who may write: the one rule that all engines follow. What it is good for is checked in every order of what two daemons can do.

use lockkeeper_core::id::SessionId;

use crate::append::{Appended, Epoch};

/// How a session stands when an item for it comes, in the transaction that would store it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stands {
    /// The last opening of the store.
    pub(crate) epoch: Epoch,
    /// The number of the session's last event; 0 if there is no such session.
    pub(crate) seq: u64,
    /// It was removed.
    pub(crate) removed: bool,
}

/// Why an item is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Somebody has opened the store since.
    Fenced,
    /// The session was removed.
    Removed,
    /// The session is not where the item goes on.
    Conflict {
        /// The number of its last event.
        found: u64,
    },
}

/// Whether this opening of the store is the last one: no other writes anything.
pub(crate) fn is_last(opened: Epoch, epoch: Epoch) -> bool {
    opened == epoch
}

/// Whether an item of this opening, which goes on behind this event, may be stored.
///
/// The epoch is asked for even where the numbers fit: an item may have no events, and what has been done by an older opening is
/// not told to anybody.
pub(crate) fn admits(stands: Stands, epoch: Epoch, expected: u64) -> Result<(), Refusal> {
    if !is_last(stands.epoch, epoch) {
        Err(Refusal::Fenced)
    } else if stands.removed {
        Err(Refusal::Removed)
    } else if stands.seq != expected {
        Err(Refusal::Conflict { found: stands.seq })
    } else {
        Ok(())
    }
}

impl Refusal {
    /// The answer to an item of this session.
    pub(crate) fn of(self, session: &SessionId) -> Appended {
        match self {
            Self::Fenced => Appended::Fenced,
            Self::Removed => Appended::Refused { why: format!("session {session} was removed") },
            Self::Conflict { found } => Appended::Conflict { found },
        }
    }

    /// The answer to a removal of this session: one that was removed is one that is not there.
    pub(crate) fn of_removal(self, session: &SessionId) -> Appended {
        match self {
            Self::Removed => Appended::Conflict { found: 0 },
            Self::Fenced | Self::Conflict { .. } => self.of(session),
        }
    }
}

#[cfg(test)]
mod tests;

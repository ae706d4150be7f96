//! Comparing what must be under way with what is.

use std::collections::BTreeSet;

use super::duties::{Duty, DutyId};

/// What to begin and what to give up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciled {
    /// Duties that are not under way, in order.
    pub start: Vec<Duty>,
    /// What is under way and no longer a duty.
    pub drop: Vec<DutyId>,
}

/// Compares. Pure, so that a simulation can have it.
pub fn reconcile(duties: Vec<Duty>, in_flight: &BTreeSet<DutyId>) -> Reconciled {
    let wanted: BTreeSet<DutyId> = duties.iter().map(Duty::id).collect();
    Reconciled {
        start: duties.into_iter().filter(|duty| !in_flight.contains(&duty.id())).collect(),
        drop: in_flight.difference(&wanted).copied().collect(),
    }
}

//! The rows of gates that a step changed.

use std::collections::BTreeMap;

use lockkeeper_core::gate::{Gate, GateState};
use lockkeeper_core::id::GateNo;
use lockkeeper_core::session::{Envelope, Event, State};

/// Every gate that `events` changed, as it stands after them; those that closed with how they did.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "it looks at a few kinds of events; the others are none of its business"
)]
pub(crate) fn gates(before: &State, events: &[Envelope]) -> Vec<Gate> {
    let mut changed: BTreeMap<GateNo, Gate> = BTreeMap::new();
    for envelope in events {
        let (no, state) = match &envelope.event {
            Event::GateOpened { gate } => {
                changed.insert(gate.no, (**gate).clone());
                continue;
            }
            Event::GateDecided { gate, verdict, write } => {
                (*gate, GateState::Decided { verdict: verdict.clone(), write: *write })
            }
            Event::GateDelivered { gate } => {
                let verdict =
                    match changed.get(gate).or_else(|| before.gates.get(gate)).map(|gate| &gate.state) {
                        Some(GateState::Decided { verdict, .. }) => verdict.clone(),
                        Some(GateState::Open | GateState::Delivered { .. } | GateState::Withdrawn { .. })
                        | None => continue,
                    };
                (*gate, GateState::Delivered { verdict })
            }
            Event::GateWithdrawn { gate, why } => {
                (*gate, GateState::Withdrawn { why: *why, at: envelope.at.clone() })
            }
            _ => continue,
        };
        if let Some(gate) = changed.remove(&no).or_else(|| before.gates.get(&no).cloned()) {
            changed.insert(no, Gate { state, ..gate });
        }
    }
    changed.into_values().collect()
}

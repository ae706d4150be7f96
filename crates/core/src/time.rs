//! Points in time as the log keeps them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Milliseconds of a clock that stands still while the machine sleeps and restarts with it (`CLOCK_MONOTONIC`).
///
/// Comparable within one [`BootId`] only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AwakeMs(pub u64);

impl AwakeMs {
    /// The time `ms` milliseconds later; saturates.
    #[must_use]
    pub fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds since `earlier`, 0 if that lies ahead.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The identity of one run of the machine, from the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub Arc<str>);

/// A moment: what people read, and what deadlines are measured with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Wall clock, milliseconds since 1970-01-01 UTC. For display and never for decisions: it jumps.
    pub wall_ms: i64,
    /// Awake clock; all deadlines use it.
    pub awake: AwakeMs,
    /// The boot that `awake` belongs to.
    pub boot: BootId,
}

impl Stamp {
    /// The moment so many milliseconds later, if the machine does not sleep before; saturates.
    #[must_use]
    pub fn later(&self, ms: u64) -> Self {
        Self {
            wall_ms: self.wall_ms.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX)),
            awake: self.awake.plus(ms),
            boot: self.boot.clone(),
        }
    }

    /// Milliseconds awake between `earlier` and this moment; `None` across a restart of the machine.
    pub fn awake_since(&self, earlier: &Self) -> Option<u64> {
        (self.boot == earlier.boot).then(|| self.awake.since(earlier.awake))
    }
}

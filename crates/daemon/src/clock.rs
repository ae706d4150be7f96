//! The one place that reads clocks.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use lockkeeper_core::time::{AwakeMs, BootId, Stamp};
use lockkeeper_holder::journal;

/// Reads the wall clock and the awake clock of the present boot.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    boot: BootId,
}

impl Clock {
    /// A clock for the present boot.
    pub(crate) fn new() -> Self {
        Self { boot: boot_id(&journal::BootId::current()) }
    }

    /// The awake clock alone.
    pub(crate) fn awake() -> AwakeMs {
        awake()
    }

    /// The present boot.
    pub(crate) fn boot(&self) -> &BootId {
        &self.boot
    }

    /// The present moment.
    pub(crate) fn now(&self) -> Stamp {
        Stamp { wall_ms: wall_ms(), awake: awake(), boot: self.boot.clone() }
    }

    /// The moment of a journal record.
    pub(crate) fn of_record(header: &journal::Header, mono_us: u64) -> Stamp {
        Stamp {
            wall_ms: i64::try_from(header.wall_of(mono_us) / 1000).unwrap_or(i64::MAX),
            awake: AwakeMs(mono_us / 1000),
            boot: boot_id(&header.boot_id),
        }
    }

    /// How long from now until a moment on the awake clock.
    pub(crate) fn until(at: AwakeMs) -> std::time::Duration {
        std::time::Duration::from_millis(at.since(awake()))
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// The core's form of a boot id.
pub(crate) fn boot_id(id: &journal::BootId) -> BootId {
    BootId(Arc::from(id.to_string()))
}

fn awake() -> AwakeMs {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    AwakeMs(seconds * 1000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000)
}

fn wall_ms() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

//! The one place that reads clocks.

#[cfg(debug_assertions)]
mod moved;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lockkeeper_core::time::{AwakeMs, BootId, Stamp};
use lockkeeper_holder::journal;
use tokio_util::sync::CancellationToken;

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
            wall_ms: milliseconds(header.wall_of(mono_us) / 1000),
            awake: AwakeMs(mono_us / 1000 + moved::ahead_ms()),
            boot: boot_id(&header.boot_id),
        }
    }

    /// Waits until a moment on the awake clock.
    pub(crate) async fn sleep_until(at: AwakeMs) {
        loop {
            let moved = moved::moved();
            let left_ms = at.since(awake());
            if left_ms == 0 {
                return;
            }
            tokio::select! {
                // One more: the awake clock counts whole ones.
                () = tokio::time::sleep(Duration::from_millis(left_ms + 1)) => {}
                () = moved => {}
            }
        }
    }

    /// Takes note of where a test wants the clock, before anybody reads it.
    pub(crate) fn begin() {
        moved::look();
    }

    /// Moves with a test's clock until the daemon ends.
    pub(crate) async fn follow(ending: CancellationToken) {
        moved::follow(ending).await;
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
    AwakeMs(seconds * 1000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000 + moved::ahead_ms())
}

fn wall_ms() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    milliseconds(since.as_millis()).saturating_add(moved::jumped_ms())
}

/// The wall clock's milliseconds.
fn milliseconds(of_machine: impl TryInto<i64>) -> i64 {
    of_machine.try_into().unwrap_or(i64::MAX).saturating_add_unsigned(moved::ahead_ms())
}

/// The machine's clocks are the only ones.
#[cfg(not(debug_assertions))]
mod moved {
    use tokio_util::sync::CancellationToken;

    pub(super) fn ahead_ms() -> u64 {
        0
    }

    pub(super) fn jumped_ms() -> i64 {
        0
    }

    pub(super) fn moved() -> impl Future<Output = ()> {
        std::future::pending()
    }

    pub(super) fn look() {}

    pub(super) async fn follow(_: CancellationToken) {}
}

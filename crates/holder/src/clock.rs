//! The two clocks of a journal.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Microseconds of the monotonic clock, which stands still while the machine sleeps.
pub(crate) fn mono_us() -> u64 {
    micros(clock_gettime(ClockId::Monotonic))
}

/// Microseconds since 1970 by the wall clock, which may jump.
pub(crate) fn wall_us() -> u64 {
    micros(clock_gettime(ClockId::Realtime))
}

fn micros(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000).saturating_add(nanos / 1_000)
}

/// A span in the form that `poll` takes.
pub(crate) fn timespec(micros: u64) -> Timespec {
    let seconds = micros / 1_000_000;
    let nanos = u32::try_from((micros % 1_000_000) * 1_000).unwrap_or(0);
    Timespec { tv_sec: i64::try_from(seconds).unwrap_or(i64::MAX), tv_nsec: nanos.into() }
}

/// Sleeps; only between the rounds of a sweep and of trying for the lock.
pub(crate) fn pause(micros: u64) {
    std::thread::sleep(std::time::Duration::from_micros(micros));
}

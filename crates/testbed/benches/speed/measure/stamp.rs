//! Lines that say when they were written: ` at NANOSECONDS `, of the monotonic clock that all processes share.

use std::time::Duration;

use memchr::memmem;
use rustix::time::{ClockId, clock_gettime};

const DIGITS: usize = 20;
const BEFORE: &[u8] = b" at 0";

/// The stamp in a text, if it has one: it begins with zeros for some centuries to come.
pub(super) fn find(text: &[u8]) -> Option<u64> {
    let at = memmem::find(text, BEFORE)? + BEFORE.len() - 1;
    std::str::from_utf8(text.get(at..at + DIGITS)?).ok()?.parse().ok()
}

/// How long ago that was.
pub(super) fn age(stamp: u64) -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    let now =
        u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0);
    Duration::from_nanos(now.saturating_sub(stamp))
}

//! A clock that tests move: builds with debug assertions add the milliseconds that a file holds to both clocks, and to the
//! times of what they read in journals from then on, for holders have clocks of their own. A second number is added to the
//! wall clock alone, which may jump either way.
//!
//! Other builds have none of this.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use std::{env, fs};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Names the file to the daemon.
const VARIABLE: &str = "LK_TEST_CLOCK";

/// How often it is looked at, in milliseconds.
const LOOK_MS: u64 = 5;

static AHEAD_MS: AtomicU64 = AtomicU64::new(0);
static JUMPED_MS: AtomicI64 = AtomicI64::new(0);
static MOVED: Notify = Notify::const_new();

/// How far both clocks are ahead of the machine's, in milliseconds.
pub(super) fn ahead_ms() -> u64 {
    AHEAD_MS.load(Ordering::Relaxed)
}

/// How far the wall clock has jumped beside, in milliseconds.
pub(super) fn jumped_ms() -> i64 {
    JUMPED_MS.load(Ordering::Relaxed)
}

/// Ends when the clock is moved.
pub(super) fn moved() -> impl Future<Output = ()> {
    MOVED.notified()
}

/// Has the clock be where the file says, if there is one.
pub(super) fn look() {
    let Some(file) = env::var_os(VARIABLE).map(PathBuf::from) else { return };
    // One that is being written is looked at again.
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut numbers = text.split_whitespace();
    let told = numbers.next().and_then(|number| number.parse().ok());
    let jumped_ms = numbers.next().and_then(|number| number.parse().ok()).unwrap_or(0);
    if JUMPED_MS.swap(jumped_ms, Ordering::Relaxed) != jumped_ms {
        tracing::info!(jumped_ms, "the wall clock jumped");
    }
    // Like the clocks themselves it never goes back.
    if let Some(ahead_ms) = told
        && AHEAD_MS.fetch_max(ahead_ms, Ordering::Relaxed) < ahead_ms
    {
        MOVED.notify_waiters();
        tracing::info!(ahead_ms, "the clock was moved");
    }
}

/// Follows the file until the daemon ends.
pub(super) async fn follow(ending: CancellationToken) {
    while env::var_os(VARIABLE).is_some() && !ending.is_cancelled() {
        look();
        tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
    }
}

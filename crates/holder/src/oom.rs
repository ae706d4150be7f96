//! Who goes first when memory runs out: the agent rather than the holder that would record its end (Linux).

use std::fs;

use crate::limits::OOM_MARGIN;

const PATH: &str = "/proc/self/oom_score_adj";

/// Raises the score for the agent that is about to be made; returns what to restore. Raising is always permitted;
/// where there is no such file nothing happens.
pub(crate) fn raise() -> Option<i32> {
    let before: i32 = fs::read_to_string(PATH).ok()?.trim().parse().ok()?;
    fs::write(PATH, (before + OOM_MARGIN).min(1000).to_string()).ok()?;
    Some(before)
}

/// Sets the holder's own score back, and lower when that is permitted.
pub(crate) fn restore(before: Option<i32>) {
    let Some(before) = before else { return };
    for score in [before, (before - OOM_MARGIN).max(-1000)] {
        // Going below where one began needs a privilege that most users lack.
        let _ = fs::write(PATH, score.to_string());
    }
}

//! Points of all programs, and the proof that a loss would be found.

use super::check::LOST;
use super::life::live;
use super::points;
use super::shim::{Disk, Mode, Point, Role};
use crate::support::{Failure, Fallible, ensure};

/// How a loss is told: what was acknowledged is not there, or the next daemon sees that its store is not what it left.
const TELL_OF_A_LOSS: [&str; 4] = [LOST, "_not_found", "the store is damaged", "is gone or empty"];

#[test]
fn a_disk_that_loses_what_it_said_it_had_synced_is_found_out() -> Fallible {
    // Early, in the middle and late; all that is not synced is lost, or any half of it, or the end is torn too.
    for (at, seed) in [(150, 0), (220, 2), (280, 3)] {
        let point = Point { role: Role::First, mode: Mode::Power, at, seed };
        let has_happened = live(point, Disk::Honest)?;
        ensure!(has_happened, "{point} did not come about");
        let Err(failure) = live(point, Disk::Lying) else {
            return Err(Failure::new(format!("{point}: nothing was found")));
        };
        let told = format!("{failure:?}");
        // What the daemon logged goes before.
        let told = told.rsplit("the test failed").next().unwrap_or_default();
        ensure!(TELL_OF_A_LOSS.iter().any(|words| told.contains(words)), "{point}: no loss is told: {told}");
    }
    Ok(())
}

#[test]
fn o43_nothing_is_lost_and_nothing_is_done_twice_whatever_ends_or_fails_at_any_operation() -> Fallible {
    points::run()
}

//! Points of both programs, and the proof that a loss would be found.

use super::life::live_on;
use super::points;
use super::shim::{Disk, Mode, Point, Role};
use crate::support::{Fallible, ensure};

#[test]
fn a_disk_that_loses_what_it_said_it_had_synced_is_found_out() -> Fallible {
    // Early, in the middle and late; all that is not synced is lost, or some of it.
    for (at, seed) in [(200, 0), (350, 1), (450, 2)] {
        let point = Point { role: Role::Daemon, mode: Mode::Power, at, seed };
        let lived = live_on(Disk::Lying, point.role, Some(point));
        ensure!(lived.is_err(), "{point}: nothing was found");
    }
    Ok(())
}

#[test]
fn o43_nothing_is_lost_and_nothing_is_done_twice_whatever_ends_or_fails_at_any_operation() -> Fallible {
    points::run()
}

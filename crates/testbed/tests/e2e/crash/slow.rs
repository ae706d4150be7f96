//! Points of both programs, and the proof that a loss would be found.

use super::life::live;
use super::points;
use super::shim::{Disk, Mode, Point, Role};
use crate::support::{Fallible, ensure};

#[test]
fn a_disk_that_loses_what_it_said_it_had_synced_is_found_out() -> Fallible {
    // Early, in the middle and late; all that is not synced is lost, or some of it.
    for (at, seed) in [(150, 0), (220, 1), (280, 2)] {
        let point = Point { role: Role::First, mode: Mode::Power, at, seed };
        let lived = live(point, Disk::Lying);
        ensure!(lived.is_err(), "{point}: nothing was found");
    }
    Ok(())
}

#[test]
fn o43_nothing_is_lost_and_nothing_is_done_twice_whatever_ends_or_fails_at_any_operation() -> Fallible {
    points::run()
}

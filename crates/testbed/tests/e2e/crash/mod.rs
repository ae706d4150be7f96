//! The daemon and the holder, ended or failed at each thing that they do to files, or that is seen outside.
//!
//! A [`life`] is what a client does with a session, whatever comes between: it asks again until it is answered, starts the
//! next daemon where one has ended, and takes down what it was told. A [`shim`] is loaded into the daemon or the holder,
//! and something happens at its n-th operation. After that the log is [`checked`](check) against what the client was told and
//! what the agent has seen.
//!
//! `cargo xtask crash` goes through all operations; the tests take some of them, others with each commit.

mod check;
mod life;
mod points;
mod seen;
mod shim;

/// Every so many operations are tried in the tests: a prime, so that loops in what is done are not met at the same place.
const STRIDE: usize = 29;

mod slow {
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
}

//! The daemon and the holder, ended or failed at each thing that they do to files, or that is seen outside.
//!
//! A [`life`] is what a [`client`] does with a session, whatever comes between: it asks again until it is answered, starts the
//! next daemon where one has ended, and takes down what it was told. In the middle of one turn a second daemon takes over,
//! in the middle of another one a third, which finds no holder. A [`shim`] is loaded into one of the daemons or holders,
//! and something happens at its n-th operation. After that the log is [`checked`](check) against what the client was told and
//! what the agent has seen.
//!
//! `cargo xtask crash` goes through all operations; the tests take some of them, others with each commit.

mod check;
mod client;
mod life;
mod points;
mod seen;
mod shim;
mod slow;
mod strace;
mod watch;

/// Every so many operations are tried in the tests: a prime, so that loops in what is done are not met at the same place.
const STRIDE: usize = 37;

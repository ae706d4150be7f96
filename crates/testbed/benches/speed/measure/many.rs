//! Several clients at once, which bring about what there has to be before anything is measured.

use std::thread;

use crate::support::{Failure, Fallible};

/// As many as share commits without a crowd of connections.
const CLIENTS: usize = 8;

/// Does something so many times, by several clients at once.
pub(super) fn times(count: usize, work: impl Fn() -> Fallible + Sync) -> Fallible {
    let share = |client| (client..count).step_by(CLIENTS).try_for_each(|_| work());
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || share(client))).collect();
        let panicked = |_| Failure::new("a client panicked");
        clients.into_iter().try_for_each(|client| client.join().map_err(panicked)?)
    })
}

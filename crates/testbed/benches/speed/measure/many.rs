//! Several daemons whose measurements take turns, and several clients at once, which bring about what there has to be
//! before anything is measured.

use std::thread;

use crate::support::{Failure, Fallible, Home, with_daemon};

/// As many as share commits without a crowd of connections.
const CLIENTS: usize = 8;

/// Starts so many daemons with the same configuration, and does something with all of them.
pub(super) fn daemons(config: &str, count: usize, mut work: impl FnMut(&[&Home]) -> Fallible) -> Fallible {
    with_more(config, count, &[], &mut work)
}

/// Starts them one within the other, for each ends with what is done with it.
fn with_more(
    config: &str,
    more: usize,
    homes: &[&Home],
    work: &mut dyn FnMut(&[&Home]) -> Fallible,
) -> Fallible {
    let Some(more) = more.checked_sub(1) else { return work(homes) };
    with_daemon(config, |home| with_more(config, more, &[homes, &[home]].concat(), work))
}

/// Does something so many times, by several clients at once.
pub(super) fn times(count: usize, work: impl Fn() -> Fallible + Sync) -> Fallible {
    let share = |client| (client..count).step_by(CLIENTS).try_for_each(|_| work());
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || share(client))).collect();
        let panicked = |_| Failure::new("a client panicked");
        clients.into_iter().try_for_each(|client| client.join().map_err(panicked)?)
    })
}

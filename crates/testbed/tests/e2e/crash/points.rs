//! Which points there are, and going through them.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, thread};

use super::STRIDE;
use super::life::{Lived, live};
use super::shim::{Mode, Point, Role};
use crate::support::{Failure, Fallible, ensure};

/// Which points are tried: `all`, one of them (`daemon:kill:137:0`), or some without it.
const WHICH: &str = "LK_CRASH";

/// So many lives go on at a time for each processor: most of them wait for their disk and for each other's processes.
const AT_A_TIME: usize = 2;

/// Lives that are told of, for each that fails.
const MOST_FAILURES: usize = 20;

/// Goes through the points.
pub(super) fn run() -> Fallible {
    match env::var(WHICH).ok().as_deref() {
        Some("all") => every(1),
        Some(point) => {
            let point: Point = point.parse()?;
            live(point.role, Some(point)).map(|lived| {
                say(&format!(
                    "{point}: it {}",
                    if lived.has_happened { "happened" } else { "did not come to it" }
                ));
            })
        }
        None => every(STRIDE),
    }
}

/// Tries every so many operations of both programs, in each mode.
fn every(stride: usize) -> Fallible {
    let (mut points, mut counted) = (Vec::new(), 0);
    for role in Role::ALL {
        let lived = live(role, None)?;
        let count = lived.done.len();
        ensure!(count > 50, "only {count} operations were counted");
        let kinds: BTreeSet<&str> = lived.done.iter().map(|call| call.name.as_str()).collect();
        say(&format!("{role:?}: {count} operations: {}", kinds.into_iter().collect::<Vec<_>>().join(", ")));
        // A power cut takes what the daemon has not synced; the ends of journals it takes anyway.
        for mode in Mode::ALL.into_iter().filter(|mode| role == Role::Daemon || *mode != Mode::Power) {
            let point = Point { role, mode, at: 0, seed: 0 };
            let count = lived.done.iter().filter(|call| point.counts(call)).count();
            // How many there are differs from life to life: a few more are tried than were counted.
            let last = count + count / 20;
            counted += (1..=count).step_by(stride).count();
            points.extend((1..=last).step_by(stride).map(|at| Point { at, seed: at as u64, ..point }));
        }
    }
    let (next, happened) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let failures: Mutex<Vec<Failure>> = Mutex::new(Vec::new());
    let threads = AT_A_TIME * thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(point) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match live(point.role, Some(*point)) {
                        Ok(Lived { has_happened, .. }) => {
                            happened.fetch_add(usize::from(has_happened), Ordering::Relaxed);
                        }
                        Err(failure) => {
                            say(&format!("{point} fails; seen again by {WHICH}={point}: {failure:?}"));
                            if let Ok(mut failures) = failures.lock() {
                                failures.push(failure);
                                if failures.len() >= MOST_FAILURES {
                                    return;
                                }
                            }
                        }
                    }
                }
            });
        }
    });
    let happened = happened.into_inner();
    say(&format!("{} points, of which {happened} came about; {counted} were counted", points.len()));
    let failures = failures.into_inner().unwrap_or_default();
    ensure!(failures.is_empty(), "{} of {} points fail: {:?}", failures.len(), points.len(), failures[0]);
    // What does not come about proves nothing.
    ensure!(happened * 20 > counted * 19, "only {happened} of {counted} points came about");
    Ok(())
}

/// Says something past the capture of tests: whoever runs all points waits for minutes.
fn say(what: &str) {
    use std::io::Write as _;
    // Nobody is left to tell if stderr is gone.
    let _ = writeln!(std::io::stderr(), "crash: {what}");
}

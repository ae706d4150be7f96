//! Which points there are, and going through them.

use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, thread};

use super::STRIDE;
use super::life::{Undisturbed, live, undisturbed};
use super::shim::{Disk, Mode, Point, Role};
use crate::support::{Failure, Fallible, ensure};

/// Which points are tried: `all`, one of them (`daemon:kill:137:0`), or some without it.
const WHICH: &str = "LK_CRASH";

/// So many lives go on at a time for each processor: most of them wait for their disk and for each other's processes.
const AT_A_TIME: usize = 2;

/// So many lives in which nothing happens are looked at: what is done differs a little from one to the next.
const UNDISTURBED: usize = 3;

/// Lives that are told of, for each that fails.
const MOST_FAILURES: usize = 20;

/// Goes through the points.
pub(super) fn run() -> Fallible {
    match env::var(WHICH).ok().as_deref() {
        Some("all") => every(1, 1, of_this_commit()),
        Some(point) => {
            let point: Point = point.parse()?;
            let has_happened = live(point, Disk::Honest)?;
            say(&format!("{point}: it {}", if has_happened { "happened" } else { "did not come to it" }));
            Ok(())
        }
        None => every(STRIDE, 1 + of_this_commit() % STRIDE, of_this_commit()),
    }
}

/// A number that is another one for each commit, so that the tests do not try the same operations for ever, nor lose the same.
fn of_this_commit() -> usize {
    let asked =
        Command::new("git").args(["rev-parse", "HEAD"]).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let said = asked.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    // Where this is no repository, any number will do.
    said.ok().and_then(|hash| usize::from_str_radix(hash.get(..8)?, 16).ok()).unwrap_or(0)
}

/// Tries every so many operations of all programs from one of them on, in each mode. What a power cut takes goes by a seed.
fn every(stride: usize, first: usize, seed: usize) -> Fallible {
    say(&format!("every {stride}. operation from the {first}. on"));
    let lives: Vec<Undisturbed> = thread::scope(|scope| {
        let lives: Vec<_> = (0..UNDISTURBED).map(|_| scope.spawn(undisturbed)).collect();
        let join = |life: thread::ScopedJoinHandle<'_, _>| {
            life.join().unwrap_or_else(|_| Err(Failure::new("a life panicked")))
        };
        lives.into_iter().map(join).collect::<Fallible<_>>()
    })?;
    let (points, sure) = points(&lives, stride, first, seed)?;
    let (happened, failures) = try_all(&points);
    say(&format!("{} points, of which {happened} came about; {sure} are in every life", points.len()));
    ensure!(failures.is_empty(), "{} of {} points fail: {:?}", failures.len(), points.len(), failures[0]);
    // What does not come about proves nothing.
    ensure!(happened * 20 >= sure * 19, "only {happened} of {sure} points came about");
    Ok(())
}

/// The points that there are in any of these lives, and how many of them are in all.
fn points(lives: &[Undisturbed], stride: usize, first: usize, seed: usize) -> Fallible<(Vec<Point>, usize)> {
    let (mut points, mut sure) = (Vec::new(), 0);
    for role in Role::ALL {
        let mut told = Vec::new();
        // A power cut takes what a daemon has not synced. A holder writes nothing but its journal, of which the cut takes the
        // end anyway.
        for mode in Mode::ALL.into_iter().filter(|mode| role.is_daemon() || *mode != Mode::Power) {
            let places = || lives.iter().map(|life| life.places(role, mode));
            let (fewest, most) = (places().min().unwrap_or(0), places().max().unwrap_or(0));
            ensure!(fewest > 0, "nothing was counted at which {role:?} could have {mode:?}");
            told.push(format!("{mode:?} {fewest} to {most}"));
            sure += (first..=fewest).step_by(stride).count();
            let point = |at: usize| Point { role, mode, at, seed: at.wrapping_add(seed) as u64 };
            points.extend((first..=most).step_by(stride).map(point));
        }
        say(&format!("places of {role:?}: {}", told.join(", ")));
    }
    Ok((points, sure))
}

/// Lives a life for each point. Returns how many came about, and what failed.
fn try_all(points: &[Point]) -> (usize, Vec<Failure>) {
    let (next, happened) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let failures: Mutex<Vec<Failure>> = Mutex::new(Vec::new());
    let threads = AT_A_TIME * thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(point) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match live(*point, Disk::Honest) {
                        Ok(has_happened) => {
                            happened.fetch_add(usize::from(has_happened), Ordering::Relaxed);
                        }
                        Err(failure) => {
                            say(&format!("seen again by `cargo xtask crash --point {point}`: {failure:?}"));
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
    (happened.into_inner(), failures.into_inner().unwrap_or_default())
}

/// Says something past the capture of tests: whoever runs all points waits for minutes.
fn say(what: &str) {
    use std::io::Write as _;
    // Nobody is left to tell if stderr is gone.
    let _ = writeln!(std::io::stderr(), "crash: {what}");
}

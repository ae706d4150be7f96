//! Processes as `/proc` shows them.

use std::time::{Duration, Instant};
use std::{fs, thread};

use lockkeeper_testbed::sweeper::pids;
use rustix::process::{Pid, Signal, kill_process};

use super::{Failure, Fallible, PATIENCE, ensure};

/// How often something is looked at that tells nobody when it changes.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Waits until something holds that only looking can tell.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) -> Fallible {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        ensure!(Instant::now() < deadline, "{what} did not come about");
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// Sends a signal to a process.
pub(crate) fn kill(pid: u32, signal: Signal) -> Fallible {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    Ok(kill_process(pid.ok_or(std::io::Error::from(std::io::ErrorKind::NotFound))?, signal)?)
}

/// Whether a process exists and is no corpse.
pub(crate) fn is_running(pid: u32) -> bool {
    state_of(pid).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// What comes behind the name in `/proc/PID/stat`.
fn stat(pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(") ").map(|(_, rest)| rest.to_owned())
}

/// The letter of a process's state; `T` is stopped.
pub(crate) fn state_of(pid: u32) -> Option<char> {
    stat(pid)?.chars().next()
}

/// The parent of a process.
pub(crate) fn parent_of(pid: u32) -> Option<u32> {
    stat(pid)?.split(' ').nth(1)?.parse().ok()
}

/// The children of a process, corpses included.
pub(crate) fn children_of(pid: u32) -> Vec<u32> {
    pids().into_iter().filter(|child| parent_of(*child) == Some(pid)).collect()
}

/// Memory that a process has all to itself or shares in part, in kilobytes.
pub(crate) fn memory_kb(pid: u32) -> Fallible<u64> {
    kilobytes(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

/// The most memory that a process ever had, in kilobytes.
pub(crate) fn peak_memory_kb(pid: u32) -> Fallible<u64> {
    kilobytes(&format!("/proc/{pid}/status"), "VmHWM:")
}

fn kilobytes(path: &str, name: &str) -> Fallible<u64> {
    let text = fs::read_to_string(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.ok_or_else(|| Failure::new(format!("{path} has no {name}")))?;
    Ok(number.trim().trim_end_matches(" kB").parse()?)
}

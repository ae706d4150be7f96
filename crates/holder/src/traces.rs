//! What a process shows of the attempt that it belongs to (Linux). Elsewhere it shows nothing.
//!
//! Everything that an attempt starts descends from its holder, which is the subreaper of all of it: whoever loses its
//! parent comes to the holder. So a process that belongs to an attempt has the holder above it, whatever it did to its
//! environment; one that a service outside started for it may have the marker.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::limits::{ANCESTORS, WALKS};
use crate::proc;

/// What a process shows. Whoever reads it judges whether the attempts are its own: command lines and environments can
/// be chosen freely, and a Lockkeeper may run inside an agent of another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// The directories of the attempts whose holders stand above it by their command lines, the nearest first. What a
    /// process inside of an attempt pretends stands below the holder itself.
    pub holders: Vec<PathBuf>,
    /// The marker in its own environment.
    pub marker: Option<String>,
    /// Whether more holders may stand above it.
    pub sight: Sight,
}

/// How far the ancestors of a process could be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sight {
    /// To the top. Where the system hides what belongs to other users, the first of those counts as the top; where it
    /// shows no ancestors at all, so does the process itself.
    Whole,
    /// Not to the top: it is gone, there are too many of them, or they changed in each look.
    #[default]
    Cut,
}

/// Looks at a process and its ancestors, a bounded number of them. Reads a few files of `/proc` for each, which can block
/// while the system is short of memory. What is gone or may not be read shows nothing.
pub fn traces(pid: i32) -> Traces {
    if cfg!(not(target_os = "linux")) {
        return Traces { sight: Sight::Whole, ..Traces::default() };
    }
    let marker = proc::marker(pid);
    let mut holders = Vec::new();
    for _ in 0..WALKS {
        holders.clear();
        match walk(pid, ANCESTORS, &mut holders) {
            Walk::Top => return Traces { holders, marker, sight: Sight::Whole },
            Walk::Gone | Walk::TooFar => break,
            // Somebody has lost a parent; the next walk finds its new one.
            Walk::Changed => {}
        }
    }
    Traces { holders, marker, sight: Sight::Cut }
}

/// How a walk to the top ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Walk {
    Top,
    Gone,
    TooFar,
    Changed,
}

/// Walks from a process to the top and gathers the holders on its way.
///
/// A step is believed only if the child is the same afterwards and has the same parent: then that was alive all the
/// time, its number nobody else's, and what was read of it its own.
fn walk(pid: i32, ancestors: usize, holders: &mut Vec<PathBuf>) -> Walk {
    let Some(mut stat) = proc::stat(pid) else { return Walk::Gone };
    let mut at = pid;
    for _ in 0..ancestors {
        let above = stat.parent;
        if above <= 0 {
            return Walk::Top;
        }
        let parent = proc::stat(above);
        let held = holder_dir(above);
        let is_hidden = parent.is_none() && is_of_another_user(above);
        match proc::stat(at) {
            Some(again) if again.parent == above && again.start_ticks == stat.start_ticks => {}
            Some(_) | None => return Walk::Changed,
        }
        holders.extend(held);
        match parent {
            Some(parent) => (at, stat) = (above, parent),
            None if is_hidden => return Walk::Top,
            None => return Walk::Changed,
        }
    }
    Walk::TooFar
}

/// Whether a process is there, and is none of this user's.
fn is_of_another_user(pid: i32) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid) == Err(Errno::PERM))
}

/// The directory of the attempt that a process holds, by its command line: `<exe> hold <attempt_dir>`.
fn holder_dir(pid: i32) -> Option<PathBuf> {
    let cmdline = proc::cmdline(pid)?;
    let mut words = cmdline.strip_suffix(b"\0")?.split(|byte| *byte == 0).skip(1);
    let (word, dir) = (words.next()?, words.next()?);
    let is_holder = word == b"hold" && words.next().is_none();
    let dir = Path::new(OsStr::from_bytes(dir));
    (is_holder && dir.is_absolute()).then(|| dir.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_that_does_not_come_to_the_top_says_so() {
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        let mut holders = Vec::new();
        assert_eq!(walk(own, ANCESTORS, &mut holders), Walk::Top);
        assert_eq!(walk(own, 0, &mut holders), Walk::TooFar);
        assert_eq!(walk(i32::MAX, ANCESTORS, &mut holders), Walk::Gone);
    }
}

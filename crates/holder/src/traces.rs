//! What a process shows of the attempt that it belongs to (Linux). Elsewhere it shows nothing.
//!
//! Everything that an attempt starts descends from its holder, which is the subreaper of all of it: whoever loses its
//! parent comes to the holder. So a process that belongs to an attempt has the holder above it, whatever it did to its
//! environment; one that a service outside started for it may have the marker.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::limits::ANCESTORS;
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
}

/// Looks at a process and its ancestors, a bounded number of them. Reads a few files of `/proc`, which can block while
/// the system is short of memory. What is gone or may not be read shows nothing.
///
/// A step from a child to its parent is believed only if it has the same parent afterwards: then that was alive, and its
/// number nobody else's.
pub fn traces(pid: i32) -> Traces {
    let mut holders = Vec::new();
    let mut at = pid;
    for _ in 0..ANCESTORS {
        let Some(stat) = proc::stat(at) else { break };
        let held = holder_dir(stat.parent);
        match proc::stat(at) {
            // It lost its parent in this moment; the next look finds the new one.
            Some(again) if again.parent != stat.parent => continue,
            Some(_) => {}
            None => break,
        }
        holders.extend(held);
        if stat.parent <= 0 {
            break;
        }
        at = stat.parent;
    }
    Traces { holders, marker: proc::marker(pid) }
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

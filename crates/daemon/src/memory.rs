//! How much memory is available to this daemon and to what it starts.
//!
//! Linux tells it in files. It is asked when it matters, and not known in between; see
//! `docs/design/0003-turns-and-claims.md`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use thiserror::Error;

/// Bytes of one megabyte, as `free -m` counts them.
pub(crate) const MEGABYTE: u64 = 1024 * 1024;

/// Where the memory is looked at.
#[derive(Debug)]
pub(crate) struct Gauge {
    /// The root of the file system, or a copy of what matters of it.
    root: PathBuf,
    /// The last look failed, and that was logged.
    failing: AtomicBool,
}

/// Why it is not known how much memory is available.
#[derive(Debug, Error)]
enum Unreadable {
    /// A file cannot be read.
    #[error("{path} cannot be read: {why}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// A file does not say what it should.
    #[error("{path} does not tell {what}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is missing.
        what: &'static str,
    },
}

impl Gauge {
    /// One for this machine.
    pub(crate) fn new() -> Self {
        Self::at("/")
    }

    /// One for files that lie elsewhere.
    pub(crate) fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), failing: AtomicBool::new(false) }
    }

    /// The bytes that are available; `None` if that cannot be found out, which is logged the first time. Reads a few
    /// files of the kernel, which takes some tens of microseconds.
    pub(crate) fn read(&self) -> Option<u64> {
        let read = available(&self.root);
        let failed_before = self.failing.swap(read.is_err(), Ordering::Relaxed);
        if let (Err(error), false) = (&read, failed_before) {
            tracing::warn!(%error, "it cannot be found out how much memory is free; the last look counts");
        }
        read.ok()
    }
}

/// The least of what the machine has and of what the limits of control groups leave.
fn available(root: &Path) -> Result<u64, Unreadable> {
    let machine = of_machine(&root.join("proc/meminfo"))?;
    Ok(of_cgroups(root)?.map_or(machine, |left| left.min(machine)))
}

/// What the kernel takes to be available without swapping: see `MemAvailable` in `proc_meminfo(5)`.
fn of_machine(meminfo: &Path) -> Result<u64, Unreadable> {
    let text = read(meminfo)?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok());
    let missing = || Unreadable::Content { path: meminfo.to_owned(), what: "MemAvailable" };
    Ok(kilobytes.ok_or_else(missing)?.saturating_mul(1024))
}

/// What is left below the limits of the daemon's control group and of those around it, as far as they can be seen from
/// here; `None` where none has a limit. Only version 2 is looked at: see "Memory" in the kernel's cgroup-v2.rst.
fn of_cgroups(root: &Path) -> Result<Option<u64>, Unreadable> {
    let mount = root.join("sys/fs/cgroup");
    if !mount.join("cgroup.controllers").exists() {
        return Ok(None);
    }
    let Some(own) = unless_missing(read(&root.join("proc/self/cgroup")))? else { return Ok(None) };
    let path = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/").trim_start_matches('/');
    let own = Path::new(path);
    // A group outside of what this namespace shows.
    if own.components().any(|part| part == std::path::Component::ParentDir) {
        return Ok(None);
    }
    let mut least: Option<u64> = None;
    for group in own.ancestors() {
        if let Some(left) = of_cgroup(&mount.join(group))? {
            least = Some(least.map_or(left, |least| least.min(left)));
        }
    }
    Ok(least)
}

/// What is left below the limit of one control group, if it has one. What its processes have read of files is given up
/// before the limit is met, and so it counts as free.
fn of_cgroup(group: &Path) -> Result<Option<u64>, Unreadable> {
    let path = group.join("memory.max");
    let limit = match unless_missing(read(&path))?.as_deref().map(str::trim) {
        None | Some("max") => return Ok(None),
        Some(limit) => number(limit, &path, "a limit")?,
    };
    let path = group.join("memory.current");
    let used = number(read(&path)?.trim(), &path, "a size")?;
    let path = group.join("memory.stat");
    let stat = read(&path)?;
    let cached = stat.lines().find_map(|line| line.strip_prefix("inactive_file ")).unwrap_or_default();
    let cached = number(cached, &path, "inactive_file")?;
    Ok(Some(limit.saturating_sub(used.saturating_sub(cached))))
}

fn number(text: &str, path: &Path, what: &'static str) -> Result<u64, Unreadable> {
    text.parse().map_err(|_| Unreadable::Content { path: path.to_owned(), what })
}

fn read(path: &Path) -> Result<String, Unreadable> {
    std::fs::read_to_string(path).map_err(|why| Unreadable::File { path: path.to_owned(), why })
}

/// A file that need not be there.
fn unless_missing(read: Result<String, Unreadable>) -> Result<Option<String>, Unreadable> {
    match read {
        Err(Unreadable::File { why, .. }) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

#[cfg(test)]
pub(crate) mod tests;

//! What `/proc` tells about processes (Linux). Elsewhere nothing is known of any.

use std::fs;
use std::io::Read;

use crate::MARKER_VARIABLE;
use crate::limits::{CMDLINE_BYTES, ENVIRON_BYTES, STAT_BYTES};

/// The fields of `/proc/PID/stat` that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) parent: i32,
    /// In clock ticks since boot; together with the pid it identifies a process of this boot.
    pub(crate) start_ticks: u64,
    /// It has ended, with all its threads, and waits to be reaped.
    pub(crate) dead: bool,
}

/// Reads about one process; `None` when it is gone.
pub(crate) fn stat(pid: i32) -> Option<Stat> {
    parse(&beginning(&format!("/proc/{pid}/stat"), STAT_BYTES)?)
}

fn parse(text: &[u8]) -> Option<Stat> {
    // The name, in parentheses, may hold anything; the last one closes it.
    let close = text.iter().rposition(|byte| *byte == b')')?;
    let text = std::str::from_utf8(&text[close + 1..]).ok()?;
    let mut fields = text.split_ascii_whitespace();
    // The first of these is field 3, the state of the first thread: others may outlive it.
    let ended = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    // Fields 20 and 22.
    let threads: u32 = fields.nth(15)?.parse().ok()?;
    // It was reaped while this was read, and its parent is told as 0: as if it were the first of all.
    if threads == 0 {
        return None;
    }
    let start_ticks = fields.nth(1)?.parse().ok()?;
    Some(Stat { parent, start_ticks, dead: ended && threads <= 1 })
}

/// All processes.
pub(crate) fn all() -> Vec<i32> {
    numbers("/proc")
}

/// All descendants of a process, parents before children. It may miss some that are being made; callers look again.
pub(crate) fn descendants(root: i32) -> Vec<i32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        next += 1;
        for child in children(pid) {
            if !found.contains(&child) {
                found.push(child);
            }
        }
    }
    found.remove(0);
    found
}

fn children(pid: i32) -> Vec<i32> {
    let mut found = Vec::new();
    for thread in numbers(&format!("/proc/{pid}/task")) {
        match fs::read_to_string(format!("/proc/{pid}/task/{thread}/children")) {
            Ok(text) => found.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok())),
            // The thread has ended, or this kernel has no such file; then every process is asked for its parent.
            Err(_) if fs::exists("/proc/thread-self/children").unwrap_or(true) => {}
            Err(_) => {
                return all().into_iter().filter(|one| stat(*one).is_some_and(|s| s.parent == pid)).collect();
            }
        }
    }
    found
}

fn numbers(dir: &str) -> Vec<i32> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// The beginning of a process's command line, its words closed by zeros; `None` when it may not be read.
pub(crate) fn cmdline(pid: i32) -> Option<Vec<u8>> {
    beginning(&format!("/proc/{pid}/cmdline"), CMDLINE_BYTES)
}

/// The marker in a process's environment, if it has one that may be read.
pub(crate) fn marker(pid: i32) -> Option<String> {
    let environ = beginning(&format!("/proc/{pid}/environ"), ENVIRON_BYTES)?;
    let value = |entry: &[u8]| {
        let value = entry.strip_prefix(MARKER_VARIABLE.as_bytes())?.strip_prefix(b"=")?;
        String::from_utf8(value.to_vec()).ok()
    };
    environ.split(|byte| *byte == 0).find_map(value).filter(|marker| !marker.is_empty())
}

fn beginning(path: &str, bytes: u64) -> Option<Vec<u8>> {
    // Such a file does not tell its size. Without room, it would be read by dozens of bytes at first.
    let mut text = Vec::with_capacity(4096);
    fs::File::open(path).ok()?.take(bytes).read_to_end(&mut text).ok()?;
    Some(text)
}

/// The marker as it stands in an environment.
pub(crate) struct Marker {
    entry: Vec<u8>,
    environ: Vec<u8>,
}

impl Marker {
    /// `None` for an empty marker, which would stand for no attempt.
    pub(crate) fn new(marker: &str) -> Option<Self> {
        let entry = format!("{MARKER_VARIABLE}={marker}").into_bytes();
        (!marker.is_empty()).then_some(Self { entry, environ: Vec::new() })
    }

    /// Whether a process bears it. One whose environment may not be read does not.
    pub(crate) fn is_on(&mut self, pid: i32) -> bool {
        self.environ.clear();
        let read = fs::File::open(format!("/proc/{pid}/environ"))
            .and_then(|mut file| file.read_to_end(&mut self.environ));
        read.is_ok() && self.environ.split(|byte| *byte == 0).any(|entry| entry == self.entry)
    }
}

/// Whether `pid` descends from `ancestor`; `None` when that cannot be told, since it or one between them has just ended.
pub(crate) fn descends(pid: i32, ancestor: i32) -> Option<bool> {
    let mut at = pid;
    // Deeper than any tree: a bound, should pids be reused while this walks.
    for _ in 0..4096 {
        if at == ancestor {
            return Some(true);
        }
        let parent = stat(at)?.parent;
        // The first process of all, or one whose parent is of another namespace or hidden from this user.
        if parent <= 0 || (stat(parent).is_none() && stat(at)?.parent == parent) {
            return Some(false);
        }
        at = parent;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line as Linux writes it, of a process with this state, parent, group and number of threads.
    fn line(state: &str, parent: i32, group: i32, threads: u32) -> String {
        format!(
            "32310 (a) b) {state} {parent} {group} {group} 0 -1 4227148 263 0 0 0 0 0 0 0 20 0 {threads} 0 1758212 0 0"
        )
    }

    #[test]
    fn a_process_that_is_reaped_while_it_is_read_about_is_gone_and_not_the_first_of_all() {
        let told = |parent, dead| Some(Stat { parent, start_ticks: 1_758_212, dead });
        for (text, expected) in [
            (line("S", 28561, 28560, 1), told(28561, false)),
            (line("Z", 28561, 28560, 1), told(28561, true)),
            (line("Z", 28561, 28560, 2), told(28561, false)),
            (line("S", 0, 1, 1), told(0, false)),
            (line("X", 0, -1, 0), None),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        }
    }
}

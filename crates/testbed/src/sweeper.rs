//! Ends what a test has started, also when the test itself was killed.
//!
//! Holders outlive their daemon, and agents a holder that is killed: that is what Lockkeeper is for. So nothing that a test leaves ends by
//! itself. A process that starts whole homes, which the end-to-end tests and the benchmarks do, therefore has a sweeper: a process of its
//! own group behind a pipe whose end it notices. It goes by directories: what works in one or has it on its command line is the test's.

use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{fs, thread};

use rustix::process::{Pid, Signal, kill_process};

use crate::built;

/// What is killed takes a moment to be gone.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// What is not gone after that many looks, which is a minute, nobody here can kill.
const LOOKS: u32 = 30_000;

/// The pipe to this process's sweeper. It is never closed but by the end of this process.
static SWEEPER: Mutex<Option<ChildStdin>> = Mutex::new(None);

/// Has whatever is started from this directory killed, and the directory removed, once this process has ended in whatever way.
///
/// # Errors
/// The sweeper is not built, cannot be started or has ended.
pub fn leave_to_sweeper(root: &Path) -> io::Result<()> {
    let mut sweeper = SWEEPER.lock().unwrap_or_else(PoisonError::into_inner);
    let pipe = if let Some(pipe) = sweeper.as_mut() { pipe } else { sweeper.insert(start()?) };
    writeln!(pipe, "{}", root.display())
}

fn start() -> io::Result<ChildStdin> {
    let mut command = Command::new(built("sweeper").map_err(io::Error::other)?);
    // Whoever ends a group of processes, as a terminal does, does not mean this one. It holds nothing open that others wait for.
    command.process_group(0).current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn()?.stdin.ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))
}

/// Reads directories, one on each line, and does what is promised of them where the input ends.
///
/// # Errors
/// The input cannot be read, or a directory that is still there cannot be removed. The others are.
pub fn sweep(roots: impl BufRead) -> io::Result<()> {
    let roots = roots.lines().map(|root| root.map(PathBuf::from)).collect::<io::Result<Vec<_>>>()?;
    let mut done = Ok(());
    for root in roots.iter().filter(|root| root.exists()) {
        kill_all_left(root);
        done = done.and(fs::remove_dir_all(root));
    }
    done
}

/// Kills all that was started from a directory, until nothing of it is left that can be killed.
pub fn kill_all_left(root: &Path) {
    for _ in 0..LOOKS {
        let left = left_in(root);
        if left.is_empty() {
            return;
        }
        for pid in left {
            // It may have ended meanwhile.
            let _ = pid.try_into().ok().and_then(Pid::from_raw).map(|pid| kill_process(pid, Signal::KILL));
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// The processes that were started from a directory but this one: those that work in it, or have it on their command line.
#[must_use]
pub fn left_in(root: &Path) -> Vec<u32> {
    let belongs = |pid: &u32| {
        // A corpse has neither.
        let cwd = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let root_bytes = root.as_os_str().as_encoded_bytes();
        cwd.starts_with(root) || command.windows(root_bytes.len()).any(|part| part == root_bytes)
    };
    pids().into_iter().filter(|pid| *pid != std::process::id()).filter(belongs).collect()
}

/// All processes.
#[must_use]
pub fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

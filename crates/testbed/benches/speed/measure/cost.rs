//! What something costs: time on the clock, and the daemon's time on a CPU.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use std::{fs, io};

use super::report::Samples;
use crate::support::{Failure, Fallible, Home};

/// What one kind of thing cost, each time.
#[derive(Debug, Default)]
pub(crate) struct Costs {
    pub(crate) time: Samples,
    pub(crate) cpu: Samples,
}

impl Costs {
    /// Does something, and notes what it cost. What the daemon does for it after the answer counts only if it is done
    /// before the daemon's CPU is read.
    pub(crate) fn of<T>(&mut self, home: &Home, work: impl FnOnce() -> Fallible<T>) -> Fallible<T> {
        self.of_each(1, home, work)
    }

    /// The same for something that is done so many times, of which each is to be told.
    pub(crate) fn of_each<T>(
        &mut self,
        times: u32,
        home: &Home,
        work: impl FnOnce() -> Fallible<T>,
    ) -> Fallible<T> {
        let (cpu, start) = (Cpu::of_daemon(home)?, Instant::now());
        let done = work()?;
        self.time.push(start.elapsed() / times);
        self.cpu.push(Cpu::of_daemon(home)?.since(&cpu) / times);
        Ok(done)
    }
}

/// The time that each thread has been on a CPU.
#[derive(Debug)]
pub(super) struct Cpu(BTreeMap<String, Duration>);

impl Cpu {
    /// Reads it from `schedstat`, which counts nanoseconds: one prompt costs a fraction of the ticks of `stat`.
    fn of_daemon(home: &Home) -> Fallible<Self> {
        Self::of(&[home.daemon_pid()])
    }

    /// The same of any processes.
    pub(super) fn of(pids: &[u32]) -> Fallible<Self> {
        let mut threads = BTreeMap::new();
        for pid in pids {
            Self::add(&mut threads, *pid)?;
        }
        Ok(Self(threads))
    }

    fn add(threads: &mut BTreeMap<String, Duration>, pid: u32) -> Fallible {
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            let entry = entry?;
            let text = match fs::read_to_string(entry.path().join("schedstat")) {
                Ok(text) => text,
                // A thread that has ended since.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            };
            let nanoseconds = text.split(' ').next().and_then(|word| word.parse().ok());
            let nanoseconds =
                nanoseconds.ok_or_else(|| Failure::new(format!("schedstat has {text:?}, not times")))?;
            threads
                .insert(entry.file_name().to_string_lossy().into_owned(), Duration::from_nanos(nanoseconds));
        }
        Ok(())
    }

    /// What came since then. Of threads that have ended the last of it is not known.
    pub(super) fn since(&self, earlier: &Self) -> Duration {
        let before = |thread| earlier.0.get(thread).copied().unwrap_or_default();
        self.0.iter().map(|(thread, now)| now.saturating_sub(before(thread))).sum()
    }
}

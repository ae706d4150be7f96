//! Finds and kills what belongs to an attempt: descendants of the holder, which is their subreaper, and every
//! process with the attempt's marker in its environment.
//!
//! A process is named by pid and start time, and signalled through a pidfd after being looked at again, so that a
//! reused pid is never hit.

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};

use crate::clock;
use crate::limits::{SWEEP_ROUNDS, SWEEP_US};
use crate::proc::{self, Marker};

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Processes that were sent SIGKILL.
    pub killed: u32,
    /// Processes that were still there at the end: not ours to kill, or stuck in the system.
    pub left: u32,
}

/// Kills everything that bears the marker, again and again until nothing does, for at most two seconds. Never kills
/// the calling process. Linux only; elsewhere it finds nothing.
///
/// For an attempt whose holder is gone ([`crate::probe()`]) and can have no successor ([`crate::seal`]). While a holder
/// lives it is the one to ask ([`crate::frames::Request::Quit`]): it may be about to start the agent, which bears no
/// marker before it executes its program.
pub fn sweep(marker: &str) -> SweepReport {
    Tree::marked(marker).map_or_else(SweepReport::default, |mut tree| tree.kill(&mut || {}))
}

/// What a tree consists of.
pub(crate) struct Tree {
    marker: Marker,
    /// Whether descendants of this process belong to it.
    own: Own,
}

enum Own {
    Descendants,
    Nothing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Member {
    pid: i32,
    start_ticks: u64,
}

impl Tree {
    /// Everything that bears the marker. `None` when it is empty.
    fn marked(marker: &str) -> Option<Self> {
        Some(Self { marker: Marker::new(marker)?, own: Own::Nothing })
    }

    /// The descendants of this process, and everything that bears the marker.
    pub(crate) fn of_holder(marker: &str) -> Option<Self> {
        Some(Self { marker: Marker::new(marker)?, own: Own::Descendants })
    }

    /// Sends a signal once to every member; tells how many got it.
    pub(crate) fn signal(&mut self, signal: Signal) -> u32 {
        let members = self.members();
        let sent = members.iter().filter(|member| self.send(**member, signal).is_ok()).count();
        u32::try_from(sent).unwrap_or(u32::MAX)
    }

    /// Kills until none is left, or a bound is reached. `reap` takes the dead children of this process.
    pub(crate) fn kill(&mut self, reap: &mut dyn FnMut()) -> SweepReport {
        let until = clock::mono_us() + SWEEP_US;
        let mut killed: Vec<Member> = Vec::new();
        let mut pause_us = 500;
        for _ in 0..SWEEP_ROUNDS {
            reap();
            let members = self.members();
            if members.is_empty() {
                return report(&killed, 0);
            }
            for member in members {
                if self.send(member, Signal::KILL).is_ok() && !killed.contains(&member) {
                    killed.push(member);
                }
            }
            if clock::mono_us() > until {
                break;
            }
            clock::pause(pause_us);
            pause_us = (pause_us * 2).min(50_000);
        }
        reap();
        let left = self.members().len();
        report(&killed, left)
    }

    /// The living members, without this process.
    fn members(&mut self) -> Vec<Member> {
        let own = getpid().as_raw_nonzero().get();
        let mut pids = match self.own {
            Own::Descendants => proc::descendants(own),
            Own::Nothing => Vec::new(),
        };
        for pid in proc::all() {
            if !pids.contains(&pid) && self.marker.is_on(pid) {
                pids.push(pid);
            }
        }
        pids.retain(|pid| *pid != own);
        pids.into_iter().filter_map(living).collect()
    }

    /// Sends a signal to a process that is still the same one and still a member.
    fn send(&mut self, member: Member, signal: Signal) -> Result<(), Errno> {
        let pid = Pid::from_raw(member.pid).ok_or(Errno::SRCH)?;
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            // Kernels before 5.3: the look below is all the certainty there is.
            Err(Errno::NOSYS) => None,
            other => Some(other?),
        };
        if living(member.pid) != Some(member) {
            return Err(Errno::SRCH);
        }
        let still = match self.own {
            Own::Descendants => {
                proc::descends(member.pid, getpid().as_raw_nonzero().get()) || self.marker.is_on(member.pid)
            }
            Own::Nothing => self.marker.is_on(member.pid),
        };
        if !still {
            return Err(Errno::SRCH);
        }
        match handle {
            Some(handle) => pidfd_send_signal(handle, signal),
            None => rustix::process::kill_process(pid, signal),
        }
    }
}

fn living(pid: i32) -> Option<Member> {
    let stat = proc::stat(pid)?;
    (!stat.dead).then_some(Member { pid, start_ticks: stat.start_ticks })
}

fn report(killed: &[Member], left: usize) -> SweepReport {
    let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
    SweepReport { killed: count(killed.len()), left: count(left) }
}

//! Finds and kills what belongs to an attempt: descendants of the holder, which is their subreaper, and every
//! process with the attempt's marker in its environment.
//!
//! A process is named by pid and start time, and signalled through a pidfd after being looked at again, so that a
//! reused pid is never hit.

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};

use crate::clock;
use crate::limits::{SWEEP_LOOKS, SWEEP_PAUSE_MAX_US, SWEEP_PAUSE_US, SWEEP_US};
use crate::proc::{self, Marker};

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Processes that were sent SIGKILL.
    pub killed: u32,
    /// Processes that were still there at the end: not ours to kill, or stuck in the system.
    pub left: u32,
}

/// Kills everything that bears the marker, again and again until nothing does and what was killed is gone or a zombie,
/// for at most two seconds. Never kills the calling process. Linux only; elsewhere it finds nothing.
///
/// For an attempt whose holder is gone ([`crate::probe()`]) and can have no successor ([`crate::seal`]). While a holder
/// lives it is the one to ask ([`crate::frames::Request::Quit`]): it may be about to start the agent, which bears no
/// marker before it executes its program.
pub fn sweep(marker: &str) -> SweepReport {
    Tree::marked(marker).map_or_else(SweepReport::default, |mut tree| tree.kill(&mut || false))
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
        let sent = members.into_iter().filter(|member| self.send(*member, signal).is_ok());
        count(&sent.collect::<Vec<_>>())
    }

    /// Kills until nobody is left and who was killed is gone, or the time is up. `reap` takes the dead children of this
    /// process and tells whether it has others.
    pub(crate) fn kill(&mut self, reap: &mut dyn FnMut() -> bool) -> SweepReport {
        let until = clock::mono_us() + SWEEP_US;
        let mut killed: Vec<Member> = Vec::new();
        let mut quiet_looks = 0;
        let mut pause_us = SWEEP_PAUSE_US;
        loop {
            let has_children = reap();
            let mut left = self.members();
            for member in &left {
                if self.send(*member, Signal::KILL).is_ok() && !killed.contains(member) {
                    killed.push(*member);
                }
            }
            // One that is being torn down has lost its environment, and its marker with it, but is still there.
            let is_dying = |one: &Member| !left.contains(one) && living(one.pid) == Some(*one);
            let dying: Vec<Member> = killed.iter().copied().filter(is_dying).collect();
            left.extend(dying);
            quiet_looks = if left.is_empty() && !has_children { quiet_looks + 1 } else { 0 };
            if quiet_looks == SWEEP_LOOKS || clock::mono_us() > until {
                return SweepReport { killed: count(&killed), left: count(&left) };
            }
            clock::pause(pause_us);
            pause_us = (pause_us * 2).min(SWEEP_PAUSE_MAX_US);
        }
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
                proc::descends(member.pid, getpid().as_raw_nonzero().get()) == Some(true)
                    || self.marker.is_on(member.pid)
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

fn count(members: &[Member]) -> u32 {
    u32::try_from(members.len()).unwrap_or(u32::MAX)
}

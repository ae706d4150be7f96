//! The loop: one thread, one `poll`. It wakes only for something to do; timers run only while the journal cannot be
//! written and after the agent's exit. What the daemon asks for is in `requests`.

mod requests;

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

use crate::clock;
use crate::journal::{Exit, Journal, Reading, Record, Stream, StreamEnd};
use crate::launch::LaunchSpec;
use crate::limits::{AHEAD_AFTER_EXIT, CHUNK, FAREWELL_US, LAST_CHUNKS};
use crate::peer::Peer;
use crate::spawn::Agent;
use crate::stdin::Stdin;
use crate::tree::{SweepReport, Tree};

/// A holder whose agent has been started, or could not be.
pub(crate) struct Holder {
    marker: String,
    drain_us: u64,
    ahead_limit: u64,
    journal: Journal,
    listener: OwnedFd,
    child_pipe: OwnedFd,
    peer: Option<Peer>,
    agent: Option<Pid>,
    /// How the agent ended, once it is reaped; its pid means nothing from then on.
    exit: Option<Exit>,
    stdin: Stdin,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    consumed: u64,
    /// The last number taken in the lane of signals.
    signals: u64,
    stage: Stage,
    /// Whether the daemon was told that the journal is blocked.
    told_blocked: bool,
    scratch: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Stage {
    Running,
    Draining { until: u64 },
    Ending { until: u64 },
}

/// What woke the loop.
#[derive(Clone, Copy)]
enum Wake {
    Child,
    Caller,
    Peer,
    Stdin,
    Stdout,
    Stderr,
}

impl Holder {
    pub(crate) fn running(
        spec: LaunchSpec,
        journal: Journal,
        listener: OwnedFd,
        child_pipe: OwnedFd,
        agent: Agent,
    ) -> Self {
        let Agent { pid, stdin, stdout, stderr } = agent;
        let mut holder = Self::without_agent(spec, journal, listener, child_pipe);
        holder.agent = Some(pid);
        holder.stdin = Stdin::new(Some(stdin));
        holder.stdout = Some(stdout);
        holder.stderr = Some(stderr);
        holder.stage = Stage::Running;
        holder
    }

    pub(crate) fn without_agent(
        spec: LaunchSpec,
        journal: Journal,
        listener: OwnedFd,
        child_pipe: OwnedFd,
    ) -> Self {
        Self {
            marker: spec.marker,
            drain_us: u64::from(spec.drain_ms) * 1_000,
            ahead_limit: spec.ahead_limit,
            journal,
            listener,
            child_pipe,
            peer: None,
            agent: None,
            exit: None,
            stdin: Stdin::new(None),
            stdout: None,
            stderr: None,
            consumed: 0,
            signals: 0,
            stage: Stage::Ending { until: clock::mono_us() + FAREWELL_US },
            told_blocked: false,
            scratch: vec![0; CHUNK],
        }
    }

    /// Serves until the attempt is over and recorded.
    pub(crate) fn serve(mut self) {
        loop {
            let now = clock::mono_us();
            self.journal.retry(now);
            self.advance(now);
            self.tell();
            if self.is_over(now) {
                self.journal.close();
                return;
            }
            let ready = self.wait(now);
            if ready[Wake::Child as usize] {
                self.drain_child_pipe();
                self.reap();
                self.note_exit();
            }
            if ready[Wake::Peer as usize] {
                self.serve_peer();
            }
            if ready[Wake::Caller as usize] {
                self.accept_peer();
            }
            if ready[Wake::Stdin as usize] {
                self.stdin.feed(&mut self.journal, &mut self.scratch);
            }
            if ready[Wake::Stdout as usize] {
                self.pull(Stream::Stdout);
            }
            if ready[Wake::Stderr as usize] {
                self.pull(Stream::Stderr);
            }
        }
    }

    // Waiting.

    fn wait(&self, now: u64) -> [bool; 6] {
        let mut ready = [false; 6];
        let mut fds = Vec::with_capacity(6);
        let mut wakes = [Wake::Child; 6];
        let mut want = |fd, flags, wake| {
            wakes[fds.len()] = wake;
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        };
        want(self.child_pipe.as_fd(), PollFlags::IN, Wake::Child);
        want(self.listener.as_fd(), PollFlags::IN, Wake::Caller);
        if let Some(peer) = &self.peer {
            want(peer.as_fd(), peer.interest(), Wake::Peer);
        }
        if let Some(stdin) = self.stdin.wants_room() {
            want(stdin.as_fd(), PollFlags::OUT, Wake::Stdin);
        }
        if self.reading() == Reading::Open {
            if let Some(stdout) = &self.stdout {
                want(stdout.as_fd(), PollFlags::IN, Wake::Stdout);
            }
            if let Some(stderr) = &self.stderr {
                want(stderr.as_fd(), PollFlags::IN, Wake::Stderr);
            }
        }
        let timeout = self.next_timer().map(|at| clock::timespec(at.saturating_sub(now)));
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {
                for (fd, wake) in fds.iter().zip(wakes) {
                    ready[wake as usize] |= !fd.revents().is_empty();
                }
            }
            // An interrupted wait has nothing ready; a short pause keeps any other error from spinning.
            Err(Errno::INTR) => {}
            Err(_) => clock::pause(10_000),
        }
        ready
    }

    fn next_timer(&self) -> Option<u64> {
        let stage = match self.stage {
            Stage::Running => None,
            // The clock of a stage stands still while nothing can be written.
            Stage::Draining { .. } | Stage::Ending { .. } if self.journal.blocked().is_some() => None,
            Stage::Draining { until } | Stage::Ending { until } => Some(until),
        };
        stage.into_iter().chain(self.journal.retry_at()).min()
    }

    // The agent's life.

    fn drain_child_pipe(&self) {
        let mut bytes = [0; 64];
        while matches!(rustix::io::read(&self.child_pipe, &mut bytes), Ok(64)) {}
    }

    /// Takes every dead child: the agent, and what the agent's tree left to this subreaper. Tells whether others live.
    fn reap(&mut self) -> bool {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if self.agent == Some(pid) && self.exit.is_none() => {
                    self.exit = exit_of(status);
                }
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    /// Records the agent's exit, once.
    fn note_exit(&mut self) {
        if let (Stage::Running, Some(exit)) = (self.stage, self.exit) {
            self.stdin.end(&mut self.journal);
            self.journal.fact(&Record::Exited { exit });
            self.stage = Stage::Draining { until: clock::mono_us() + self.drain_us };
        }
    }

    fn advance(&mut self, now: u64) {
        match self.stage {
            Stage::Draining { .. } if self.journal.blocked().is_some() => {
                self.stage = Stage::Draining { until: now + self.drain_us };
            }
            Stage::Draining { until } => {
                let is_drained = self.stdout.is_none() && self.stderr.is_none();
                if is_drained || (now >= until && self.pull_the_rest()) {
                    self.finish();
                }
            }
            Stage::Ending { .. } if self.journal.blocked().is_some() => {
                self.stage = Stage::Ending { until: now + FAREWELL_US };
            }
            Stage::Running | Stage::Ending { .. } => {}
        }
    }

    /// Ends the attempt: what is left of the tree is killed, and the last records are written.
    fn finish(&mut self) {
        let end =
            |stream: &Option<OwnedFd>| if stream.is_some() { StreamEnd::HeldOpen } else { StreamEnd::Eof };
        self.journal.fact(&Record::Drained { stdout: end(&self.stdout), stderr: end(&self.stderr) });
        self.stdout = None;
        self.stderr = None;
        let SweepReport { killed, left } = self.kill_tree();
        self.journal.fact(&Record::Swept { killed, left });
        self.journal.fact(&Record::End);
        self.stage = Stage::Ending { until: clock::mono_us() + FAREWELL_US };
    }

    fn is_over(&self, now: u64) -> bool {
        match self.stage {
            Stage::Running | Stage::Draining { .. } => false,
            Stage::Ending { until } => {
                let told = self.peer.as_ref().is_none_or(|peer| peer.has_told(self.journal.len()));
                self.journal.blocked().is_none() && (told || now >= until)
            }
        }
    }

    fn kill_tree(&mut self) -> SweepReport {
        if cfg!(not(target_os = "linux"))
            && let Some(group) = self.agent
        {
            // The group is all that can be found; it may be empty already.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        let Some(mut tree) = Tree::of_holder(&self.marker) else { return SweepReport::default() };
        tree.kill(&mut || self.reap())
    }

    // Output.

    fn reading(&self) -> Reading {
        if let Some(errno) = self.journal.blocked() {
            return Reading::JournalBlocked(errno.raw_os_error());
        }
        let more = if self.exit.is_some() { AHEAD_AFTER_EXIT } else { 0 };
        let ahead = self.journal.len().saturating_sub(self.consumed);
        if ahead > self.ahead_limit.saturating_add(more) { Reading::TooFarAhead } else { Reading::Open }
    }

    /// Moves one chunk from a pipe to the journal. False when there was nothing.
    fn pull(&mut self, stream: Stream) -> bool {
        let slot = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let Some(pipe) = slot else { return false };
        match rustix::io::retry_on_intr(|| rustix::io::read(&*pipe, &mut self.scratch[..])) {
            Err(Errno::AGAIN) => false,
            // A pipe that cannot be read has nothing more to give.
            Ok(0) | Err(_) => {
                *slot = None;
                self.journal.fact(&Record::Eof { stream });
                true
            }
            Ok(got) => {
                self.journal.output(stream, &self.scratch[..got]);
                true
            }
        }
    }

    /// Takes what the pipes hold at this moment, regardless of how far ahead the journal is. False when the journal
    /// did not take it all.
    fn pull_the_rest(&mut self) -> bool {
        for _ in 0..LAST_CHUNKS {
            let mut any = false;
            for stream in [Stream::Stdout, Stream::Stderr] {
                any |= self.journal.blocked().is_none() && self.pull(stream);
            }
            if !any {
                break;
            }
        }
        self.journal.blocked().is_none()
    }
}

fn exit_of(status: WaitStatus) -> Option<Exit> {
    status.exit_status().map(Exit::Code).or_else(|| status.terminating_signal().map(Exit::Signal))
}

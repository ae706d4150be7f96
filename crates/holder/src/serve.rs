//! The loop: one thread, one `poll`. It wakes only for something to do; timers run only while the journal cannot be
//! written and after the agent's exit.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

use crate::clock;
use crate::frames::{self, Hello, Lane, Phase, Refusal, Reply, Request, Status};
use crate::journal::{Delivery, Exit, Journal, Reading, Record, Scope, Stream, StreamEnd, WriteOp};
use crate::launch::LaunchSpec;
use crate::limits::{AHEAD_AFTER_EXIT, CHUNK, FAREWELL_US, LAST_CHUNKS, PENDING_MAX, WRITE_MAX};
use crate::peer::{Lost, Peer};
use crate::socket;
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

    /// Takes every dead child: the agent, and what the agent's tree left to this subreaper.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if self.agent == Some(pid) && self.exit.is_none() {
                self.exit = exit_of(status);
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

    // The daemon.

    fn accept_peer(&mut self) {
        loop {
            let socket = match rustix::net::accept(&self.listener) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                // No descriptors or memory: the caller stays in line, and waiting for it must not spin.
                Err(_) => return clock::pause(10_000),
            };
            let flags = rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC);
            let nonblocking = rustix::io::ioctl_fionbio(&socket, true);
            if flags.is_ok() && nonblocking.is_ok() && socket::may_command(&socket) {
                // The last one to connect is the daemon: an older connection may be half dead.
                self.peer = Some(Peer::new(socket));
            }
        }
    }

    fn serve_peer(&mut self) {
        let Some(mut peer) = self.peer.take() else { return };
        if self.converse(&mut peer).is_ok() {
            self.peer = Some(peer);
        }
    }

    /// Exchanges what is there; an end or an error loses the connection and nothing else.
    fn converse(&mut self, peer: &mut Peer) -> Result<(), Lost> {
        peer.send(self.journal.len());
        let open = !peer.interest().contains(PollFlags::IN) || peer.receive()?;
        loop {
            peer.requests(|peer, request| self.serve_request(peer, request))?;
            peer.send(self.journal.len());
            if !peer.has_backlog() {
                break;
            }
        }
        if open { Ok(()) } else { Err(Lost) }
    }

    /// Tells the daemon what has changed.
    fn tell(&mut self) {
        let is_blocked = self.journal.blocked().is_some();
        let status = self.status();
        let Some(peer) = &mut self.peer else { return };
        if peer.is_greeted() && is_blocked != self.told_blocked {
            self.told_blocked = is_blocked;
            peer.reply(&Reply::Status(status));
        }
        peer.send(self.journal.len());
    }

    fn serve_request(&mut self, peer: &mut Peer, request: &Request<'_>) -> Result<(), Lost> {
        if !peer.is_greeted() && !matches!(request, Request::Hello { .. }) {
            return Err(Lost);
        }
        match *request {
            Request::Hello { version: 0 } => return Err(Lost),
            Request::Hello { .. } => {
                peer.greet();
                self.told_blocked = false;
                peer.reply(&Reply::Hello(self.hello()));
            }
            Request::Write { bytes, .. } if bytes.len() > WRITE_MAX => return Err(Lost),
            Request::Write { number, bytes } => self.write(peer, number, WriteOp::Write, bytes),
            Request::CloseStdin { number } => self.write(peer, number, WriteOp::Close, &[]),
            Request::Signal { number, scope, signal } => self.signal(peer, number, scope, signal),
            Request::Status => peer.reply(&Reply::Status(self.status())),
            Request::Consumed { offset } => self.consumed = self.consumed.max(offset.min(self.journal.len())),
            Request::Quit => {
                self.drain_us = 0;
                self.kill_tree();
                self.note_exit();
                if let Stage::Draining { until } = &mut self.stage {
                    *until = 0;
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, peer: &mut Peer, number: u64, op: WriteOp, bytes: &[u8]) {
        let expected = self.stdin.accepted() + 1;
        if number < expected {
            return peer.tell_again();
        }
        let reason = if number > expected {
            Refusal::Skipped
        } else if matches!(self.stage, Stage::Ending { .. }) {
            Refusal::Ended
        } else if self.stdin.pending_bytes() + bytes.len() as u64 > PENDING_MAX {
            Refusal::QueueFull
        } else if self.stdin.accept(&mut self.journal, op, bytes).is_ok() {
            return self.stdin.feed(&mut self.journal, &mut self.scratch);
        } else {
            Refusal::JournalBlocked
        };
        peer.reply(&Reply::Refused { lane: Lane::Writes, number, expected, reason });
    }

    fn signal(&mut self, peer: &mut Peer, number: u64, scope: Scope, signal: i32) {
        let expected = self.signals + 1;
        if number < expected {
            return peer.tell_again();
        }
        let reason = if number > expected {
            Refusal::Skipped
        } else if matches!(self.stage, Stage::Ending { .. }) {
            Refusal::Ended
        } else if self.journal.is_choked() {
            Refusal::JournalBlocked
        } else {
            self.signals = number;
            let delivery = self.deliver(scope, signal);
            self.journal.fact(&Record::Signalled { number, scope, signal, delivery });
            return self.note_exit();
        };
        peer.reply(&Reply::Refused { lane: Lane::Signals, number, expected, reason });
    }

    fn deliver(&mut self, scope: Scope, signal: i32) -> Delivery {
        let Some(signal) = Signal::from_named_raw(signal) else {
            return Delivery::Failed(Errno::INVAL.raw_os_error());
        };
        // The pid cannot be anybody else's before it is reaped, and reaping sets `exit`.
        let agent = if self.exit.is_none() { self.agent } else { None };
        let sent = match (scope, agent) {
            (Scope::Leader, Some(agent)) => rustix::process::kill_process(agent, signal),
            (Scope::Group, Some(agent)) => rustix::process::kill_process_group(agent, signal),
            (Scope::Leader | Scope::Group, None) => Err(Errno::SRCH),
            (Scope::Tree, _) if signal == Signal::KILL => {
                return Delivery::Delivered(self.kill_tree().killed);
            }
            (Scope::Tree, Some(agent)) if cfg!(not(target_os = "linux")) => {
                rustix::process::kill_process_group(agent, signal)
            }
            (Scope::Tree, _) => {
                let sent = Tree::of_holder(&self.marker).map_or(0, |mut tree| tree.signal(signal));
                return Delivery::Delivered(sent);
            }
        };
        match sent {
            Ok(()) => Delivery::Delivered(1),
            Err(errno) => Delivery::Failed(errno.raw_os_error()),
        }
    }

    fn hello(&self) -> Hello {
        Hello {
            version: frames::VERSION,
            holder_pid: number(Some(rustix::process::getpid())),
            agent_pid: number(self.agent),
            journal_len: self.journal.len(),
            next_write: self.stdin.accepted() + 1,
            next_signal: self.signals + 1,
        }
    }

    fn status(&self) -> Status {
        Status {
            phase: match self.stage {
                Stage::Running => Phase::Running,
                Stage::Draining { .. } => Phase::Draining,
                Stage::Ending { .. } => Phase::Ending,
            },
            reading: self.reading(),
            agent_pid: number(self.agent),
            journal_len: self.journal.len(),
            consumed: self.consumed,
            accepted: self.stdin.accepted(),
            settled: self.stdin.settled(),
            pending_bytes: self.stdin.pending_bytes(),
            signals: self.signals,
        }
    }
}

fn number(pid: Option<Pid>) -> u32 {
    pid.map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs())
}

fn exit_of(status: WaitStatus) -> Option<Exit> {
    status.exit_status().map(Exit::Code).or_else(|| status.terminating_signal().map(Exit::Signal))
}

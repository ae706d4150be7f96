//! The daemon's side of the loop: taking its connection, and doing what it asks for.

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::{Holder, Stage};
use crate::clock;
use crate::frames::{self, Hello, Lane, Phase, Refusal, Reply, Request, Status};
use crate::journal::{Delivery, Record, Scope, WriteOp};
use crate::limits::WRITE_MAX;
use crate::peer::{Lost, Peer};
use crate::socket;
use crate::tree::Tree;

impl Holder {
    pub(super) fn accept_peer(&mut self) {
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

    pub(super) fn serve_peer(&mut self) {
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
    pub(super) fn tell(&mut self) {
        let is_blocked = self.journal.blocked().is_some();
        let status = self.status();
        let Some(peer) = &mut self.peer else { return };
        if peer.is_greeted() && peer.has_room() && is_blocked != self.told_blocked {
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
        } else if !self.stdin.has_room(bytes.len()) {
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

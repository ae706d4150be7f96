//! The connection of the one daemon that commands this holder.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::SendFlags;

use crate::frames::{FrameError, Reply, Request, frame_len};
use crate::limits::{REPLIES_MAX, SOCKET_CHUNK};

pub(crate) struct Peer {
    socket: OwnedFd,
    /// Bytes of requests that are not whole yet.
    inbox: Vec<u8>,
    /// Bytes of replies that the socket did not take yet.
    outbox: Vec<u8>,
    greeted: bool,
    /// The daemon takes no more replies; what it sent before that is still served.
    is_deaf: bool,
    /// The journal's length that the daemon was told last.
    told_len: u64,
}

/// The connection is of no use any more.
pub(crate) struct Lost;

impl From<FrameError> for Lost {
    fn from(_: FrameError) -> Self {
        Self
    }
}

impl Peer {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { socket, inbox: Vec::new(), outbox: Vec::new(), greeted: false, is_deaf: false, told_len: 0 }
    }

    /// What to wait for. A daemon that does not take its replies gets no more requests through.
    pub(crate) fn interest(&self) -> PollFlags {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, self.has_room());
        flags.set(PollFlags::OUT, !self.outbox.is_empty());
        flags
    }

    /// Whether more may be said to it.
    pub(crate) fn has_room(&self) -> bool {
        self.outbox.len() <= REPLIES_MAX
    }

    pub(crate) fn is_greeted(&self) -> bool {
        self.greeted
    }

    pub(crate) fn greet(&mut self) {
        self.greeted = true;
    }

    pub(crate) fn reply(&mut self, reply: &Reply) {
        reply.encode(&mut self.outbox);
    }

    /// Tells the journal's length even if it has not grown: the daemon should look again.
    pub(crate) fn tell_again(&mut self) {
        self.told_len = 0;
    }

    /// Whether everything has been handed to the system, the given length included.
    pub(crate) fn has_told(&self, journal_len: u64) -> bool {
        !self.greeted || self.is_deaf || (self.outbox.is_empty() && self.told_len == journal_len)
    }

    /// Reads what is there, up to a bound. False at the end of the stream.
    pub(crate) fn receive(&mut self) -> Result<bool, Lost> {
        let missing = frame_len(&self.inbox)?.map_or(0, |len| len.saturating_sub(self.inbox.len()));
        let room = missing.clamp(4 << 10, SOCKET_CHUNK);
        // Exactly one growth for a large frame.
        self.inbox.reserve_exact(missing.max(room));
        let before = self.inbox.len();
        self.inbox.resize(before + room, 0);
        let got = rustix::io::retry_on_intr(|| rustix::io::read(&self.socket, &mut self.inbox[before..]));
        self.inbox.truncate(before + got.unwrap_or(0));
        match got {
            Ok(0) => Ok(false),
            Ok(_) | Err(Errno::AGAIN) => Ok(true),
            Err(_) => Err(Lost),
        }
    }

    /// Gives every whole request to `serve`, until replies pile up.
    pub(crate) fn requests(
        &mut self,
        mut serve: impl FnMut(&mut Self, &Request<'_>) -> Result<(), Lost>,
    ) -> Result<(), Lost> {
        let inbox = std::mem::take(&mut self.inbox);
        let mut at = 0;
        while self.has_room()
            && let Some((request, len)) = Request::decode(&inbox[at..])?
        {
            serve(self, &request)?;
            at += len;
        }
        // What is left is the beginning of one frame, or requests that wait for replies to leave.
        if at < inbox.len() || inbox.capacity() <= REPLIES_MAX {
            self.inbox = inbox;
            self.inbox.drain(..at);
        }
        Ok(())
    }

    /// Whether whole requests may be waiting that no further byte will announce.
    pub(crate) fn has_backlog(&self) -> bool {
        self.has_room() && matches!(Request::decode(&self.inbox), Ok(Some(_)))
    }

    /// Sends what waits, and the journal's length once there is room and it has grown.
    pub(crate) fn send(&mut self, journal_len: u64) {
        loop {
            if self.is_deaf {
                return self.outbox.clear();
            }
            if self.outbox.is_empty() && self.greeted && self.told_len != journal_len {
                self.told_len = journal_len;
                Reply::Grown { journal_len }.encode(&mut self.outbox);
            }
            if self.outbox.is_empty() {
                return;
            }
            match rustix::net::send(&self.socket, &self.outbox, SendFlags::NOSIGNAL) {
                Ok(sent) => drop(self.outbox.drain(..sent)),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                // Requests may still be waiting to be read; reading finds the end.
                Err(_) => self.is_deaf = true,
            }
        }
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

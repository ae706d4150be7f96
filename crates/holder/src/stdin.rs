//! The lane of writes: what was accepted and is not yet in the agent's standard input.
//!
//! Bytes are not kept in memory: they stand in the journal, and are read back piece by piece as the agent takes them.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use rustix::io::Errno;

use crate::codec::len32;
use crate::journal::{Journal, Record, WriteOp};
use crate::limits::{FEED_CHUNKS, PENDING_MAX, PENDING_WRITES};

pub(crate) struct Stdin {
    pipe: Option<OwnedFd>,
    waiting: VecDeque<Waiting>,
    accepted: u64,
    settled: u64,
    pending_bytes: u64,
}

struct Waiting {
    number: u64,
    op: WriteOp,
    /// Where in the journal the bytes stand.
    offset: u64,
    len: usize,
    done: usize,
}

impl Stdin {
    /// `None` when there is no agent.
    pub(crate) fn new(pipe: Option<OwnedFd>) -> Self {
        Self { pipe, waiting: VecDeque::new(), accepted: 0, settled: 0, pending_bytes: 0 }
    }

    /// The last number accepted.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted
    }

    /// The last number whose outcome is in the journal.
    pub(crate) fn settled(&self) -> u64 {
        self.settled
    }

    /// Bytes that were accepted and have not gone to the agent.
    pub(crate) fn pending_bytes(&self) -> u64 {
        self.pending_bytes
    }

    /// Whether so many bytes more may wait.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.waiting.len() < PENDING_WRITES && self.pending_bytes + bytes as u64 <= PENDING_MAX
    }

    /// The pipe, when something waits for room in it.
    pub(crate) fn wants_room(&self) -> Option<&OwnedFd> {
        if self.waiting.is_empty() { None } else { self.pipe.as_ref() }
    }

    /// Journals the next number as accepted and queues it.
    pub(crate) fn accept(&mut self, journal: &mut Journal, op: WriteOp, bytes: &[u8]) -> Result<(), Errno> {
        let number = self.accepted + 1;
        let offset = journal.accept(number, op, bytes)?;
        self.accepted = number;
        self.pending_bytes += bytes.len() as u64;
        self.waiting.push_back(Waiting { number, op, offset, len: bytes.len(), done: 0 });
        Ok(())
    }

    /// Gives the agent as much as it takes, and not more than a few chunks at a time.
    pub(crate) fn feed(&mut self, journal: &mut Journal, scratch: &mut [u8]) {
        let mut chunks = FEED_CHUNKS;
        while let Some(first) = self.waiting.front_mut() {
            let Some(pipe) = &self.pipe else {
                self.fail(journal, Errno::PIPE);
                continue;
            };
            if first.done == first.len {
                if first.op == WriteOp::Close {
                    self.pipe = None;
                }
                self.settle(journal);
                continue;
            }
            if chunks == 0 {
                return;
            }
            chunks -= 1;
            let want = (first.len - first.done).min(scratch.len());
            let piece = match journal.read_back(&mut scratch[..want], first.offset + first.done as u64) {
                Ok(got) => &scratch[..got],
                Err(error) => {
                    self.fail(journal, error);
                    continue;
                }
            };
            match rustix::io::write(pipe, piece) {
                Ok(wrote) => {
                    first.done += wrote;
                    self.pending_bytes -= wrote as u64;
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(error) => {
                    self.pipe = None;
                    self.fail(journal, error);
                }
            }
        }
    }

    /// Closes the pipe and settles everything: the agent is gone.
    pub(crate) fn end(&mut self, journal: &mut Journal) {
        self.pipe = None;
        while !self.waiting.is_empty() {
            self.fail(journal, Errno::PIPE);
        }
    }

    fn settle(&mut self, journal: &mut Journal) {
        if let Some(first) = self.waiting.pop_front() {
            self.settled = first.number;
            journal.fact(&Record::Written { number: first.number });
        }
    }

    fn fail(&mut self, journal: &mut Journal, error: Errno) {
        if let Some(first) = self.waiting.pop_front() {
            self.settled = first.number;
            self.pending_bytes -= (first.len - first.done) as u64;
            let (number, errno, written) = (first.number, error.raw_os_error(), len32(first.done));
            journal.fact(&Record::WriteFailed { number, errno, written });
        }
    }
}

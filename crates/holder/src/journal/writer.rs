//! Writes the journal. One `writev` per record, or per two records of one chunk; nothing is synced.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags};
use rustix::io::Errno;

use super::bytes::Encoded;
use super::{FILE_NAME, Header, Part, Record, Stream, WriteOp};
use crate::clock;
use crate::limits::{BACKLOG_MAX, RESERVE, RETRY_US};

const RESERVE_NAME: &str = "reserve";

/// Whether the agent's output may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It is read as it comes.
    Open,
    /// The journal cannot be written, for this reason of the system: the agent waits, nothing is lost.
    JournalBlocked(i32),
    /// The journal is too far ahead of the daemon: the agent waits, nothing is lost.
    TooFarAhead,
}

/// The journal of a running holder.
///
/// When it cannot be written, the chunk of output at hand is kept (`stuck`) and nothing more is read. Records of what
/// has happened (an exit, a signal) still go through, if need be at the expense of the reserve, and so may
/// stand before that chunk; those for which even that does not suffice wait in `backlog`.
#[derive(Debug)]
pub(crate) struct Journal {
    dir: OwnedFd,
    file: OwnedFd,
    len: u64,
    /// Bytes of a torn record may stand behind `len`.
    torn: bool,
    stuck: Vec<u8>,
    backlog: VecDeque<Vec<u8>>,
    blocked: Option<Errno>,
    retry_at: u64,
}

impl Journal {
    /// Makes the journal and the reserve; fails with `EXIST` when an earlier holder has made it.
    pub(crate) fn create(dir: OwnedFd) -> Result<Self, Errno> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::APPEND | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&dir, FILE_NAME, flags, Mode::RUSR | Mode::WUSR)?;
        let mut journal = Self {
            dir,
            file,
            len: 0,
            torn: false,
            stuck: Vec::new(),
            backlog: VecDeque::new(),
            blocked: None,
            retry_at: 0,
        };
        if let Err(error) = journal.write(&mut [IoSlice::new(&Header::now().encode())]) {
            journal.abandon();
            return Err(error);
        }
        journal.set_reserve();
        Ok(journal)
    }

    /// Takes the journal away again, before anything has happened: the attempt has not begun.
    pub(crate) fn abandon(mut self) {
        // What cannot be removed stays, and no holder begins here again.
        let _ = rustix::fs::unlinkat(&self.dir, FILE_NAME, AtFlags::empty());
        self.close();
    }

    /// The end of the last whole record.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Why it cannot be written at the moment.
    pub(crate) fn blocked(&self) -> Option<Errno> {
        self.blocked
    }

    /// When to call [`Self::retry`].
    pub(crate) fn retry_at(&self) -> Option<u64> {
        self.blocked.map(|_| self.retry_at)
    }

    /// Whether no more facts can be kept until the journal is written.
    pub(crate) fn is_choked(&self) -> bool {
        self.backlog.len() >= BACKLOG_MAX
    }

    /// Writes a record of what has happened, now or as soon as it can be.
    pub(crate) fn fact(&mut self, record: &Record<'_>) {
        let encoded = Encoded::new(record, clock::mono_us());
        if self.backlog.is_empty() {
            let Err(error) = self.write_encoded(&encoded) else { return };
            self.block(error);
            if self.free_reserve() && self.write_encoded(&encoded).is_ok() {
                return;
            }
        }
        let mut bytes = Vec::with_capacity(encoded.len());
        encoded.copy_to(&mut bytes);
        self.backlog.push_back(bytes);
    }

    /// Writes a chunk of output, split at its last newline; keeps it when that fails. To be called only while the
    /// journal is not blocked.
    pub(crate) fn output(&mut self, stream: Stream, chunk: &[u8]) {
        let lines = chunk.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let (lines, open) = chunk.split_at(lines);
        let now = clock::mono_us();
        let encode = |part, bytes| Encoded::new(&Record::Output { stream, part, bytes }, now);
        let both = [encode(Part::Lines, lines), encode(Part::Open, open)];
        let parts = match (lines.is_empty(), open.is_empty()) {
            (true, _) => &both[1..],
            (false, true) => &both[..1],
            (false, false) => &both[..],
        };
        let mut slices: Vec<IoSlice<'_>> = parts.iter().flat_map(Encoded::slices).collect();
        if let Err(error) = self.write(&mut slices) {
            for part in parts {
                part.copy_to(&mut self.stuck);
            }
            self.block(error);
        }
    }

    /// Writes that a write was accepted; returns where in the file its bytes stand. On failure nothing was accepted.
    pub(crate) fn accept(&mut self, number: u64, op: WriteOp, bytes: &[u8]) -> Result<u64, Errno> {
        if let Some(error) = self.blocked {
            return Err(error);
        }
        let encoded = Encoded::new(&Record::Accepted { number, op, bytes }, clock::mono_us());
        if let Err(error) = self.write_encoded(&encoded) {
            self.block(error);
            return Err(error);
        }
        Ok(self.len - bytes.len() as u64)
    }

    /// Reads bytes of an accepted write back.
    pub(crate) fn read_back(&self, buf: &mut [u8], offset: u64) -> Result<usize, Errno> {
        match rustix::io::retry_on_intr(|| rustix::io::pread(&self.file, &mut *buf, offset))? {
            0 => Err(Errno::IO),
            got => Ok(got),
        }
    }

    /// Tries again to write what waits, once its time has come.
    pub(crate) fn retry(&mut self, now: u64) {
        if self.blocked.is_none() || now < self.retry_at {
            return;
        }
        let result = self.write_waiting();
        match result {
            Ok(()) => {
                self.blocked = None;
                self.set_reserve();
            }
            Err(error) => self.block(error),
        }
    }

    /// Removes the reserve, at the end.
    pub(crate) fn close(&mut self) {
        self.free_reserve();
    }

    fn write_waiting(&mut self) -> Result<(), Errno> {
        while let Some(bytes) = self.backlog.pop_front() {
            if let Err(error) = self.write(&mut [IoSlice::new(&bytes)]) {
                self.backlog.push_front(bytes);
                return Err(error);
            }
        }
        let stuck = std::mem::take(&mut self.stuck);
        if let Err(error) = self.write(&mut [IoSlice::new(&stuck)]) {
            self.stuck = stuck;
            return Err(error);
        }
        Ok(())
    }

    fn block(&mut self, error: Errno) {
        self.blocked = Some(error);
        self.retry_at = clock::mono_us() + RETRY_US;
    }

    fn write_encoded(&mut self, encoded: &Encoded<'_>) -> Result<(), Errno> {
        self.write(&mut encoded.slices())
    }

    /// Appends all of it or, as far as readers are concerned, nothing.
    fn write(&mut self, mut slices: &mut [IoSlice<'_>]) -> Result<(), Errno> {
        self.mend()?;
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut done = 0;
        while done < total {
            match rustix::io::writev(&self.file, slices) {
                Ok(0) => return Err(self.tear(Errno::NOSPC)),
                Ok(wrote) => {
                    done += wrote;
                    IoSlice::advance_slices(&mut slices, wrote);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(self.tear(error)),
            }
        }
        self.len += total as u64;
        Ok(())
    }

    /// Cuts off what a failed write may have left.
    fn tear(&mut self, error: Errno) -> Errno {
        self.torn = true;
        // When this fails too, it is tried again before the next write.
        let _ = self.mend();
        error
    }

    fn mend(&mut self) -> Result<(), Errno> {
        if self.torn {
            rustix::io::retry_on_intr(|| rustix::fs::ftruncate(&self.file, self.len))?;
            self.torn = false;
        }
        Ok(())
    }

    /// Sets space aside. On a file system that cannot, or is full, there is no reserve, and the end of an attempt
    /// waits for space like everything else.
    fn set_reserve(&mut self) {
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        let made =
            rustix::fs::openat(&self.dir, RESERVE_NAME, flags, Mode::RUSR | Mode::WUSR).and_then(|file| {
                #[cfg(not(target_vendor = "apple"))]
                rustix::fs::fallocate(file.as_fd(), FallocateFlags::empty(), 0, RESERVE)?;
                Ok(file)
            });
        if made.is_err() {
            self.free_reserve();
        }
    }

    /// Gives the space back; false when there was none.
    fn free_reserve(&mut self) -> bool {
        rustix::fs::unlinkat(&self.dir, RESERVE_NAME, AtFlags::empty()).is_ok()
    }
}

/// Makes a journal with a header alone, so that no holder can begin in `dir` any more.
pub(crate) fn seal(dir: OwnedFd) -> Result<(), Errno> {
    Journal::create(dir)?.close();
    Ok(())
}

//! Reads a journal from any offset at which a record begins.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::bytes::{Checked, check, decode};
use super::{HEADER_LEN, Header, Record};
use crate::limits::{READ_FIRST, READ_FULL};

/// Something that can be read at an offset: a file, or bytes in memory.
pub trait Source {
    /// Reads into `buf` from `offset`; returns how many bytes, zero at the end.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl Source for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buf, offset)
    }
}

impl Source for [u8] {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
}

impl<S: Source + ?Sized> Source for &S {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buf, offset)
    }
}

/// One record and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Where it begins.
    pub offset: u64,
    /// Where the next one begins; reading may resume there.
    pub next: u64,
    /// When it was written, in microseconds of the monotonic clock; see [`Header::wall_of`].
    pub mono_us: u64,
    /// What it says.
    pub record: Record<'a>,
}

/// What a reader finds at its offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step<'a> {
    /// A whole record; the reader has moved behind it.
    Entry(Entry<'a>),
    /// The end, or a record that is not all there yet. The reader stays: more may come while the holder lives.
    Incomplete,
    /// What stands here is no record. The reader stays; nothing behind it can be read.
    Damaged {
        /// Where.
        offset: u64,
    },
}

/// Reads records in order. It holds no memory while it waits at the end, 16 KiB while a little comes, 256 KiB while
/// much does, and as much as the largest record when that is more.
#[derive(Debug)]
pub struct Reader<S> {
    source: S,
    /// The offset in the journal of `buf[start]`.
    next: u64,
    buf: Vec<u8>,
    start: usize,
    end: usize,
}

impl<S: Source> Reader<S> {
    /// Reads and checks the header, then stands at the first record. The inner result says what is wrong with the
    /// header; the outer one is an error of the source.
    pub fn open(source: S) -> io::Result<Result<(Header, Self), super::HeaderError>> {
        let mut head = [0; super::HEADER_BYTES];
        let mut have = 0;
        while have < head.len() {
            match source.read_at(&mut head[have..], have as u64)? {
                0 => break,
                got => have += got,
            }
        }
        Ok(Header::decode(&head[..have]).map(|header| (header, Self::at(source, HEADER_LEN))))
    }

    /// Stands at an offset that an earlier reader gave as [`Entry::next`] or [`Entry::offset`]. The header is not
    /// looked at.
    pub fn at(source: S, offset: u64) -> Self {
        Self { source, next: offset, buf: Vec::new(), start: 0, end: 0 }
    }

    /// Where the next record begins.
    pub fn offset(&self) -> u64 {
        self.next
    }

    /// The source.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Gives the next record, or says why there is none.
    ///
    /// # Errors
    ///
    /// Those of the source; the reader stays where it is.
    pub fn step(&mut self) -> io::Result<Step<'_>> {
        let mut fresh = self.start == self.end;
        let len = loop {
            match check(&self.buf[self.start..self.end]) {
                Checked::Whole(len) => break len,
                Checked::Needs(len) => {
                    if !self.fill(len)? {
                        self.forget();
                        return Ok(Step::Incomplete);
                    }
                }
                // A torn record may have been replaced between two reads: look once more at what stands there now.
                Checked::Damaged if !fresh => {
                    fresh = true;
                    self.forget();
                }
                Checked::Damaged => return Ok(self.damaged()),
            }
        };
        let Self { next, buf, start, .. } = self;
        let offset = *next;
        let Some((mono_us, record)) = decode(&buf[*start..*start + len]) else {
            return Ok(Step::Damaged { offset });
        };
        *start += len;
        *next += len as u64;
        Ok(Step::Entry(Entry { offset, next: *next, mono_us, record }))
    }

    fn damaged(&mut self) -> Step<'static> {
        self.forget();
        Step::Damaged { offset: self.next }
    }

    /// Drops what was read ahead: it may be replaced, and an idle reader should cost nothing.
    fn forget(&mut self) {
        self.start = 0;
        self.end = 0;
        if self.buf.len() > READ_FIRST {
            self.buf = Vec::new();
        }
    }

    /// Reads more, with room for a record of `len` bytes. False at the end of the source.
    fn fill(&mut self, len: usize) -> io::Result<bool> {
        let was_full = self.end == self.buf.len() && !self.buf.is_empty();
        self.buf.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let size = len.max(if was_full { READ_FULL } else { READ_FIRST });
        if self.buf.len() < size {
            self.buf.reserve_exact(size - self.buf.len());
            self.buf.resize(size, 0);
        } else if self.buf.len() > READ_FULL && size <= READ_FULL && self.end <= READ_FULL {
            self.buf.truncate(READ_FULL);
            self.buf.shrink_to_fit();
        }
        loop {
            match self.source.read_at(&mut self.buf[self.end..], self.next + self.end as u64) {
                Ok(0) => return Ok(false),
                Ok(got) => {
                    self.end += got;
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

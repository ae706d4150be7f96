//! Lines out of bytes.
//!
//! Only `\n` ends a line; a `\r` before it and blank lines are left out. A line that lies within one chunk is not
//! copied. Of a line beyond the limit the start is kept, and the rest is counted and hashed.

use lockkeeper_core::hash::hex;
use memchr::memchr;
use sha2::{Digest, Sha256};

use crate::limits::{LINE_BYTES, START_BYTES};

/// Cuts a stream of bytes into lines.
#[derive(Debug)]
pub struct LineFramer {
    limit: usize,
    /// Bytes of all chunks so far.
    offset: u64,
    /// The beginning of a line whose end has not come.
    half: Vec<u8>,
    oversized: Option<Oversized>,
}

#[derive(Debug)]
struct Oversized {
    bytes: u64,
    hash: Sha256,
    start: Vec<u8>,
}

/// What lies between two ends of line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A line, without its end.
    Line(&'a [u8]),
    /// A line beyond the limit.
    Oversized {
        /// Its length in bytes, without its end.
        bytes: u64,
        /// SHA-256 of these bytes, in lower-case hex.
        sha256: String,
        /// The first [`START_BYTES`] of them.
        start: &'a [u8],
    },
}

impl Default for LineFramer {
    /// A framer with the limit [`LINE_BYTES`].
    fn default() -> Self {
        Self::new(LINE_BYTES)
    }
}

impl LineFramer {
    /// A framer for lines of at most `limit` bytes, at the start of a stream.
    pub fn new(limit: usize) -> Self {
        Self::at(0, limit)
    }

    /// A framer that begins in the middle of a stream, at the start of a line.
    pub fn at(offset: u64, limit: usize) -> Self {
        Self { limit, offset, half: Vec::new(), oversized: None }
    }

    /// Takes the next chunk and hands out each line that ends in it, with the offset behind its end.
    pub fn push(&mut self, chunk: &[u8], mut each: impl FnMut(Frame<'_>, u64)) {
        let mut rest = chunk;
        while let Some(at) = memchr(b'\n', rest) {
            let (line, next) = (&rest[..at], &rest[at + 1..]);
            rest = next;
            self.offset += count(at) + 1;
            if self.half.is_empty() && self.oversized.is_none() && line.len() <= self.limit {
                hand(line, self.offset, &mut each);
            } else {
                self.keep(line);
                self.flush(&mut each);
            }
        }
        self.offset += count(rest.len());
        self.keep(rest);
    }

    /// Whether the stream so far ends in the middle of a line.
    pub fn is_mid_line(&self) -> bool {
        !self.half.is_empty() || self.oversized.is_some()
    }

    /// The memory that it holds for a line whose end has not come, in bytes: about the limit at most, however long the line is.
    pub fn held_bytes(&self) -> usize {
        self.half.capacity() + self.oversized.as_ref().map_or(0, |oversized| oversized.start.capacity())
    }

    /// The end of the stream: hands out the line that was never ended, if there is one. It may be half a line.
    pub fn finish(&mut self, mut each: impl FnMut(Frame<'_>, u64)) {
        self.flush(&mut each);
    }

    fn keep(&mut self, part: &[u8]) {
        if let Some(oversized) = &mut self.oversized {
            oversized.bytes += count(part.len());
            oversized.hash.update(part);
            let room = START_BYTES - oversized.start.len();
            oversized.start.extend_from_slice(&part[..part.len().min(room)]);
        } else if self.half.len() + part.len() <= self.limit {
            self.half.extend_from_slice(part);
        } else {
            let half = std::mem::take(&mut self.half);
            let hash = Sha256::new().chain_update(&half).chain_update(part);
            let start = half.iter().chain(part).copied().take(START_BYTES).collect();
            self.oversized = Some(Oversized { bytes: count(half.len() + part.len()), hash, start });
        }
    }

    fn flush(&mut self, each: &mut impl FnMut(Frame<'_>, u64)) {
        if let Some(Oversized { bytes, hash, start }) = self.oversized.take() {
            each(Frame::Oversized { bytes, sha256: hex(&hash.finalize()), start: &start }, self.offset);
        } else {
            hand(&self.half, self.offset, each);
            self.half.clear();
            // One long line must not keep its memory for the rest of the session.
            self.half.shrink_to(KEPT_BYTES);
        }
    }
}

/// What a framer keeps of its buffer after a long line, in bytes.
const KEPT_BYTES: usize = 64 * 1024;

fn hand(line: &[u8], end: u64, each: &mut impl FnMut(Frame<'_>, u64)) {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if !line.iter().all(u8::is_ascii_whitespace) {
        each(Frame::Line(line), end);
    }
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;

//! Records as bytes; the layout is told in the documentation of the [journal](super).

use std::io::IoSlice;

use super::record::{Delivery, Exit, Part, Record, Scope, SpawnStage, Stream, StreamEnd, WriteOp};
use super::{BootId, RECORD_HEAD_LEN};
use crate::codec::{Fields, len32};
use crate::limits::RECORD_MAX;

/// The kinds, as written.
mod kind {
    pub(super) const STDOUT: u8 = 1;
    pub(super) const STDOUT_PART: u8 = 2;
    pub(super) const STDERR: u8 = 3;
    pub(super) const STDERR_PART: u8 = 4;
    pub(super) const ACCEPTED: u8 = 5;
    pub(super) const WRITTEN: u8 = 6;
    pub(super) const WRITE_FAILED: u8 = 7;
    pub(super) const SIGNALLED: u8 = 8;
    pub(super) const SPAWNED: u8 = 9;
    pub(super) const SPAWN_FAILED: u8 = 10;
    pub(super) const EOF: u8 = 11;
    pub(super) const EXITED: u8 = 12;
    pub(super) const DRAINED: u8 = 13;
    pub(super) const SWEPT: u8 = 14;
    pub(super) const END: u8 = 15;
}

impl Record<'_> {
    /// Appends it as a holder would write it at this monotonic time, in microseconds: for programs that make journals
    /// of their own, such as tests of readers.
    pub fn encode(&self, mono_us: u64, out: &mut Vec<u8>) {
        Encoded::new(self, mono_us).copy_to(out);
    }
}

/// The longest fixed part of a payload: number (8), scope (1), signal (4), delivery (1 + 4); a spawn has 4 + 8 + 16.
const FIXED_MAX: usize = 28;

/// A record ready to be written in one call: head and fixed fields, then bytes that are not copied.
pub(crate) struct Encoded<'a> {
    head: [u8; RECORD_HEAD_LEN + FIXED_MAX],
    head_len: usize,
    bytes: &'a [u8],
}

impl<'a> Encoded<'a> {
    pub(crate) fn new(record: &Record<'a>, mono_us: u64) -> Self {
        let mut fixed = Fixed { out: [0; RECORD_HEAD_LEN + FIXED_MAX], len: RECORD_HEAD_LEN };
        let bytes = fixed.put(record);
        let Fixed { out: mut head, len: head_len } = fixed;
        head[0] = kind_of(record);
        head[4..8].copy_from_slice(&len32(head_len - RECORD_HEAD_LEN + bytes.len()).to_le_bytes());
        head[8..16].copy_from_slice(&mono_us.to_le_bytes());
        let mut crc = crc32fast::Hasher::new();
        crc.update(&head[..16]);
        crc.update(&head[RECORD_HEAD_LEN..head_len]);
        crc.update(bytes);
        head[16..20].copy_from_slice(&crc.finalize().to_le_bytes());
        let head_crc = crc32fast::hash(&head[..20]);
        head[20..24].copy_from_slice(&head_crc.to_le_bytes());
        Self { head, head_len, bytes }
    }

    pub(crate) fn slices(&self) -> [IoSlice<'_>; 2] {
        [IoSlice::new(&self.head[..self.head_len]), IoSlice::new(self.bytes)]
    }

    pub(crate) fn len(&self) -> usize {
        self.head_len + self.bytes.len()
    }

    pub(crate) fn copy_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head[..self.head_len]);
        out.extend_from_slice(self.bytes);
    }
}

struct Fixed {
    out: [u8; RECORD_HEAD_LEN + FIXED_MAX],
    len: usize,
}

impl Fixed {
    fn raw(&mut self, bytes: &[u8]) {
        self.out[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Writes the fixed fields of a payload; returns the bytes that follow them.
    fn put<'a>(&mut self, record: &Record<'a>) -> &'a [u8] {
        match *record {
            Record::Output { bytes, .. } | Record::Unknown { bytes, .. } => return bytes,
            Record::Accepted { number, op, bytes } => {
                self.raw(&number.to_le_bytes());
                self.raw(&[match op {
                    WriteOp::Write => 0,
                    WriteOp::Close => 1,
                }]);
                return bytes;
            }
            Record::Written { number } => self.raw(&number.to_le_bytes()),
            Record::WriteFailed { number, errno, written } => {
                self.raw(&number.to_le_bytes());
                self.raw(&errno.to_le_bytes());
                self.raw(&written.to_le_bytes());
            }
            Record::Signalled { number, scope, signal, delivery } => {
                self.raw(&number.to_le_bytes());
                self.raw(&[scope.code()]);
                self.raw(&signal.to_le_bytes());
                match delivery {
                    Delivery::Delivered(count) => {
                        self.raw(&[0]);
                        self.raw(&count.to_le_bytes());
                    }
                    Delivery::Failed(errno) => {
                        self.raw(&[1]);
                        self.raw(&errno.to_le_bytes());
                    }
                }
            }
            Record::Spawned { pid, start_ticks, boot_id } => {
                self.raw(&pid.to_le_bytes());
                self.raw(&start_ticks.to_le_bytes());
                self.raw(&boot_id.0);
            }
            Record::SpawnFailed { errno, stage } => {
                self.raw(&errno.to_le_bytes());
                self.raw(&[match stage {
                    SpawnStage::Chdir => 0,
                    SpawnStage::Exec => 1,
                }]);
            }
            Record::Eof { stream } => self.raw(&[match stream {
                Stream::Stdout => 0,
                Stream::Stderr => 1,
            }]),
            Record::Exited { exit } => {
                let (tag, value) = match exit {
                    Exit::Code(code) => (0, code),
                    Exit::Signal(signal) => (1, signal),
                };
                self.raw(&[tag]);
                self.raw(&value.to_le_bytes());
            }
            Record::Drained { stdout, stderr } => self.raw(&[end_code(stdout), end_code(stderr)]),
            Record::Swept { killed, left } => {
                self.raw(&killed.to_le_bytes());
                self.raw(&left.to_le_bytes());
            }
            Record::End => {}
        }
        &[]
    }
}

fn kind_of(record: &Record<'_>) -> u8 {
    match *record {
        Record::Output { stream, part, .. } => output_kind(stream, part),
        Record::Accepted { .. } => kind::ACCEPTED,
        Record::Written { .. } => kind::WRITTEN,
        Record::WriteFailed { .. } => kind::WRITE_FAILED,
        Record::Signalled { .. } => kind::SIGNALLED,
        Record::Spawned { .. } => kind::SPAWNED,
        Record::SpawnFailed { .. } => kind::SPAWN_FAILED,
        Record::Eof { .. } => kind::EOF,
        Record::Exited { .. } => kind::EXITED,
        Record::Drained { .. } => kind::DRAINED,
        Record::Swept { .. } => kind::SWEPT,
        Record::End => kind::END,
        Record::Unknown { kind, .. } => kind,
    }
}

fn output_kind(stream: Stream, part: Part) -> u8 {
    match (stream, part) {
        (Stream::Stdout, Part::Lines) => kind::STDOUT,
        (Stream::Stdout, Part::Open) => kind::STDOUT_PART,
        (Stream::Stderr, Part::Lines) => kind::STDERR,
        (Stream::Stderr, Part::Open) => kind::STDERR_PART,
    }
}

fn end_code(end: StreamEnd) -> u8 {
    match end {
        StreamEnd::Eof => 0,
        StreamEnd::HeldOpen => 1,
    }
}

impl Scope {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Leader => 0,
            Self::Group => 1,
            Self::Tree => 2,
        }
    }

    pub(crate) fn of(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Leader),
            1 => Some(Self::Group),
            2 => Some(Self::Tree),
            _ => None,
        }
    }
}

/// What the bytes at a record's offset are.
pub(crate) enum Checked {
    /// A whole, undamaged record of this length.
    Whole(usize),
    /// Not all there yet; the length that has to be there to say more.
    Needs(usize),
    /// Its checksums do not match.
    Damaged,
}

/// Looks at the record that begins at the start of `bytes`.
pub(crate) fn check(bytes: &[u8]) -> Checked {
    let Some((head, rest)) = bytes.split_at_checked(RECORD_HEAD_LEN) else {
        return Checked::Needs(RECORD_HEAD_LEN);
    };
    let mut fields = Fields(head);
    let Some((covered, crc, head_crc)) = (|| Some((fields.bytes(16)?, fields.u32()?, fields.u32()?)))()
    else {
        return Checked::Damaged;
    };
    if crc32fast::hash(&head[..20]) != head_crc {
        return Checked::Damaged;
    }
    let Some(len) = Fields(&covered[4..]).u32().and_then(|len| usize::try_from(len).ok()) else {
        return Checked::Damaged;
    };
    if len > RECORD_MAX {
        return Checked::Damaged;
    }
    let Some(payload) = rest.get(..len) else { return Checked::Needs(RECORD_HEAD_LEN + len) };
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(covered);
    hasher.update(payload);
    if hasher.finalize() == crc { Checked::Whole(RECORD_HEAD_LEN + len) } else { Checked::Damaged }
}

/// Decodes a record that [`check`] called whole: its time and what it says. `None` when the payload does not fit
/// its kind.
pub(crate) fn decode(whole: &[u8]) -> Option<(u64, Record<'_>)> {
    let mut head = Fields(whole);
    let kind = head.u8()?;
    head.bytes(7)?;
    let mono_us = head.u64()?;
    head.bytes(8)?;
    let mut fields = head;
    let record = match kind {
        kind::STDOUT | kind::STDOUT_PART | kind::STDERR | kind::STDERR_PART => {
            let stream = if matches!(kind, kind::STDOUT | kind::STDOUT_PART) {
                Stream::Stdout
            } else {
                Stream::Stderr
            };
            let part = if matches!(kind, kind::STDOUT | kind::STDERR) { Part::Lines } else { Part::Open };
            Record::Output { stream, part, bytes: fields.rest() }
        }
        kind::ACCEPTED => {
            let number = fields.u64()?;
            let op = two(fields.u8()?, WriteOp::Write, WriteOp::Close)?;
            Record::Accepted { number, op, bytes: fields.rest() }
        }
        kind::WRITTEN => Record::Written { number: fields.u64()? },
        kind::WRITE_FAILED => {
            Record::WriteFailed { number: fields.u64()?, errno: fields.i32()?, written: fields.u32()? }
        }
        kind::SIGNALLED => {
            let (number, scope, signal) = (fields.u64()?, Scope::of(fields.u8()?)?, fields.i32()?);
            let delivery = match fields.u8()? {
                0 => Delivery::Delivered(fields.u32()?),
                1 => Delivery::Failed(fields.i32()?),
                _ => return None,
            };
            Record::Signalled { number, scope, signal, delivery }
        }
        kind::SPAWNED => {
            Record::Spawned { pid: fields.u32()?, start_ticks: fields.u64()?, boot_id: BootId(fields.id()?) }
        }
        kind::SPAWN_FAILED => Record::SpawnFailed {
            errno: fields.i32()?,
            stage: two(fields.u8()?, SpawnStage::Chdir, SpawnStage::Exec)?,
        },
        kind::EOF => Record::Eof { stream: two(fields.u8()?, Stream::Stdout, Stream::Stderr)? },
        kind::EXITED => {
            let tag = fields.u8()?;
            let value = fields.i32()?;
            Record::Exited { exit: two(tag, Exit::Code(value), Exit::Signal(value))? }
        }
        kind::DRAINED => Record::Drained {
            stdout: two(fields.u8()?, StreamEnd::Eof, StreamEnd::HeldOpen)?,
            stderr: two(fields.u8()?, StreamEnd::Eof, StreamEnd::HeldOpen)?,
        },
        kind::SWEPT => Record::Swept { killed: fields.u32()?, left: fields.u32()? },
        kind::END => Record::End,
        _ => Record::Unknown { kind, bytes: fields.rest() },
    };
    fields.is_empty().then_some((mono_us, record))
}

fn two<T>(code: u8, zero: T, one: T) -> Option<T> {
    match code {
        0 => Some(zero),
        1 => Some(one),
        _ => None,
    }
}

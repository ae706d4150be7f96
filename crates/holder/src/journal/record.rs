//! The records of a journal, and their bytes.

use std::io::IoSlice;

use super::{BootId, RECORD_HEAD_LEN};
use crate::codec::{Fields, len32};
use crate::limits::RECORD_MAX;

/// One of the agent's two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Whether a run of output ends with a newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The last byte is a newline: no line is open after this record.
    Lines,
    /// No newline is in it: it begins or continues a line that is open after this record.
    Open,
}

/// What an accepted write asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOp {
    /// Give the bytes to the agent.
    Write,
    /// Close the agent's standard input.
    Close,
}

/// Whom a signal is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The agent's own process.
    Leader,
    /// The agent's process group.
    Group,
    /// The agent and all its descendants; with SIGKILL repeated until none is left.
    Tree,
}

/// What became of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// So many processes got it; a group counts as one.
    Delivered(u32),
    /// It could not be sent; the number is the system's error (`ESRCH`: nobody is there any more).
    Failed(i32),
}

/// What failed when the agent was to be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpawnStage {
    /// Going to the working directory.
    Chdir,
    /// Starting the program: making a process, its pipes, or executing the file (an absent interpreter of a script
    /// looks like an absent file).
    Exec,
}

/// How the agent's process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

/// How reading one output stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// Everybody closed it.
    Eof,
    /// A process still held it open when the drain's time was up.
    HeldOpen,
}

/// One fact of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// The agent wrote this.
    Output {
        /// Where to.
        stream: Stream,
        /// Whether a line is open after it.
        part: Part,
        /// What; never empty.
        bytes: &'a [u8],
    },
    /// A write was taken; nothing of it has gone to the agent before this record.
    Accepted {
        /// Its number, from 1.
        number: u64,
        /// What it asks for.
        op: WriteOp,
        /// The bytes to write; empty for a close.
        bytes: &'a [u8],
    },
    /// All bytes of the write are in the agent's standard input (or it is closed).
    Written {
        /// Its number.
        number: u64,
    },
    /// The rest of the write cannot reach the agent.
    WriteFailed {
        /// Its number.
        number: u64,
        /// The system's error; `EPIPE` when the agent has closed its input or is gone.
        errno: i32,
        /// So many bytes had gone before.
        written: u32,
    },
    /// A signal was sent.
    Signalled {
        /// Its number, from 1, in a lane of its own.
        number: u64,
        /// Whom it was for.
        scope: Scope,
        /// Which.
        signal: i32,
        /// What became of it.
        delivery: Delivery,
    },
    /// The agent runs.
    Spawned {
        /// Its process id, which is its process group's too.
        pid: u32,
        /// Its start time in clock ticks since boot (field 22 of `/proc/PID/stat`); zero where there is none.
        start_ticks: u64,
        /// The boot in which pid and start time mean something.
        boot_id: BootId,
    },
    /// The agent could not be started; [`Record::End`] follows.
    SpawnFailed {
        /// The system's error.
        errno: i32,
        /// What failed.
        stage: SpawnStage,
    },
    /// An output stream ended.
    Eof {
        /// Which.
        stream: Stream,
    },
    /// The agent's process ended; every accepted write is settled before this, and output may still follow.
    Exited {
        /// How.
        exit: Exit,
    },
    /// No more output follows.
    Drained {
        /// How reading standard output ended.
        stdout: StreamEnd,
        /// How reading standard error ended.
        stderr: StreamEnd,
    },
    /// What was left of the tree was killed.
    Swept {
        /// So many processes were killed.
        killed: u32,
        /// So many could not be.
        left: u32,
    },
    /// The last record.
    End,
    /// A record of a kind that this version does not know.
    Unknown {
        /// The kind.
        kind: u8,
        /// Its payload.
        bytes: &'a [u8],
    },
}

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

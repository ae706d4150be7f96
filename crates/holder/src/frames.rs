//! The frames between daemon and holder, for both sides.
//!
//! A frame is its length (4 bytes, little-endian, of what follows), a kind (1) and the kind's fields. The daemon
//! begins with [`Request::Hello`], the holder answers with [`Reply::Hello`]; both then speak the lower of the two
//! versions. Encoding appends to a buffer and decoding looks at one, so both serve blocking and async code alike.
//!
//! # Lanes
//!
//! Writes and closing the input share one lane of numbers 1, 2, 3 …, signals have another. The holder takes only the
//! number after the last one that it accepted. It passes over a lower one (it was accepted before; the journal says
//! what became of it) and answers with [`Reply::Grown`]; it answers a higher one with [`Reply::Refused`].

use std::fmt;

use crate::codec::{Fields, len32};
use crate::journal::{Reading, Scope};
use crate::limits::FRAME_MAX;

/// The version that this crate speaks.
pub const VERSION: u8 = 1;

const LEN_BYTES: usize = 4;

/// What the daemon asks of a holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// The first frame of a connection.
    Hello {
        /// The highest version that the daemon speaks.
        version: u8,
    },
    /// Give bytes to the agent.
    Write {
        /// Its number in the lane of writes.
        number: u64,
        /// At most [`crate::limits::WRITE_MAX`] bytes.
        bytes: &'a [u8],
    },
    /// Close the agent's standard input, behind the writes before it.
    CloseStdin {
        /// Its number in the lane of writes.
        number: u64,
    },
    /// Send a signal.
    Signal {
        /// Its number in the lane of signals.
        number: u64,
        /// Whom it is for.
        scope: Scope,
        /// Which.
        signal: i32,
    },
    /// Ask for [`Reply::Status`].
    Status,
    /// Everything before this offset of the journal is stored elsewhere.
    Consumed {
        /// The offset.
        offset: u64,
    },
    /// Kill the tree and end the attempt as after any exit.
    Quit,
}

/// What a holder tells the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The answer to [`Request::Hello`].
    Hello(Hello),
    /// The journal has whole records up to here. Sent when it has grown and the connection has room, so a slow
    /// reader gets fewer of them.
    Grown {
        /// The end of the last whole record.
        journal_len: u64,
    },
    /// The answer to [`Request::Status`]; also sent when the journal becomes blocked, and when it no longer is.
    Status(Status),
    /// A request was not accepted, and nothing was done.
    Refused {
        /// The lane.
        lane: Lane,
        /// The number that came.
        number: u64,
        /// The number that the lane takes next.
        expected: u64,
        /// Why.
        reason: Refusal,
    },
}

/// Who the holder is, and where its lanes stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The highest version that the holder speaks.
    pub version: u8,
    /// The holder's process id.
    pub holder_pid: u32,
    /// The agent's process id; zero when it was never started.
    pub agent_pid: u32,
    /// The end of the last whole record.
    pub journal_len: u64,
    /// The number that the lane of writes takes next.
    pub next_write: u64,
    /// The number that the lane of signals takes next.
    pub next_signal: u64,
}

/// How an attempt stands with its holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Where it is in its life.
    pub phase: Phase,
    /// Whether the agent's output is being read.
    pub reading: Reading,
    /// The agent's process id; zero when it was never started.
    pub agent_pid: u32,
    /// The end of the last whole record.
    pub journal_len: u64,
    /// What the daemon said it consumed.
    pub consumed: u64,
    /// The last number accepted in the lane of writes.
    pub accepted: u64,
    /// The last number of that lane whose outcome is settled.
    pub settled: u64,
    /// Bytes accepted and not yet given to the agent.
    pub pending_bytes: u64,
    /// The last number taken in the lane of signals.
    pub signals: u64,
}

/// Where an attempt is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The agent runs.
    Running,
    /// The agent has exited; its output is being read to the end.
    Draining,
    /// All is recorded; the holder is about to exit.
    Ending,
}

/// A lane of numbered requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Writes, and closing the input.
    Writes,
    /// Signals.
    Signals,
}

/// Why a request was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Numbers before it are missing.
    Skipped,
    /// Too much waits to be given to the agent already.
    QueueFull,
    /// That it was accepted cannot be recorded; [`Reply::Status`] tells when it can be again.
    JournalBlocked,
    /// The attempt is over.
    Ended,
}

/// Why bytes are no frame. The connection is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// Longer than [`FRAME_MAX`], or empty.
    Length(u32),
    /// A kind that this side does not know.
    Kind(u8),
    /// The fields do not fit the kind.
    Fields(u8),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(len) => write!(f, "a frame of {len} bytes is out of bounds"),
            Self::Kind(kind) => write!(f, "frame kind {kind} is unknown"),
            Self::Fields(kind) => write!(f, "frame of kind {kind} is malformed"),
        }
    }
}

impl std::error::Error for FrameError {}

/// The kinds, as sent.
mod kind {
    pub(super) const HELLO: u8 = 1;
    pub(super) const WRITE: u8 = 2;
    pub(super) const CLOSE_STDIN: u8 = 3;
    pub(super) const SIGNAL: u8 = 4;
    pub(super) const STATUS: u8 = 5;
    pub(super) const CONSUMED: u8 = 6;
    pub(super) const QUIT: u8 = 7;
    pub(super) const R_HELLO: u8 = 65;
    pub(super) const R_GROWN: u8 = 66;
    pub(super) const R_STATUS: u8 = 67;
    pub(super) const R_REFUSED: u8 = 68;
}

impl<'a> Request<'a> {
    /// Appends the frame to `out`. A write beyond [`crate::limits::WRITE_MAX`] makes a frame that holders refuse.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Hello { version } => frame(out, kind::HELLO, &[&[version]]),
            Self::Write { number, bytes } => frame(out, kind::WRITE, &[&number.to_le_bytes(), bytes]),
            Self::CloseStdin { number } => frame(out, kind::CLOSE_STDIN, &[&number.to_le_bytes()]),
            Self::Signal { number, scope, signal } => {
                frame(out, kind::SIGNAL, &[&number.to_le_bytes(), &[scope.code()], &signal.to_le_bytes()]);
            }
            Self::Status => frame(out, kind::STATUS, &[]),
            Self::Consumed { offset } => frame(out, kind::CONSUMED, &[&offset.to_le_bytes()]),
            Self::Quit => frame(out, kind::QUIT, &[]),
        }
    }

    /// Decodes the frame at the start of `buf`, and tells how many bytes it takes; `None` until it is all there.
    pub fn decode(buf: &'a [u8]) -> Result<Option<(Self, usize)>, FrameError> {
        decode_with(buf, Self::fields)
    }

    fn fields(kind: u8, f: &mut Fields<'a>) -> Result<Option<Self>, FrameError> {
        let request = match kind {
            kind::HELLO => f.u8().map(|version| Self::Hello { version }),
            kind::WRITE => f.u64().map(|number| Self::Write { number, bytes: f.rest() }),
            kind::CLOSE_STDIN => f.u64().map(|number| Self::CloseStdin { number }),
            kind::SIGNAL => (|| {
                let (number, scope) = (f.u64()?, Scope::of(f.u8()?)?);
                Some(Self::Signal { number, scope, signal: f.i32()? })
            })(),
            kind::STATUS => Some(Self::Status),
            kind::CONSUMED => f.u64().map(|offset| Self::Consumed { offset }),
            kind::QUIT => Some(Self::Quit),
            _ => return Err(FrameError::Kind(kind)),
        };
        Ok(request)
    }
}

impl Reply {
    /// Appends the frame to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Hello(ref hello) => {
                let pids = [hello.holder_pid.to_le_bytes(), hello.agent_pid.to_le_bytes()].concat();
                let numbers = words(&[hello.journal_len, hello.next_write, hello.next_signal]);
                frame(out, kind::R_HELLO, &[&[hello.version], &pids, &numbers]);
            }
            Self::Grown { journal_len } => frame(out, kind::R_GROWN, &[&journal_len.to_le_bytes()]),
            Self::Status(ref status) => {
                let phase = match status.phase {
                    Phase::Running => 0,
                    Phase::Draining => 1,
                    Phase::Ending => 2,
                };
                let (reading, errno) = match status.reading {
                    Reading::Open => (0, 0),
                    Reading::JournalBlocked(errno) => (1, errno),
                    Reading::TooFarAhead => (2, 0),
                };
                let numbers = words(&[
                    status.journal_len,
                    status.consumed,
                    status.accepted,
                    status.settled,
                    status.pending_bytes,
                    status.signals,
                ]);
                let pid = status.agent_pid.to_le_bytes();
                frame(out, kind::R_STATUS, &[&[phase, reading], &errno.to_le_bytes(), &pid, &numbers]);
            }
            Self::Refused { lane, number, expected, reason } => {
                let lane = match lane {
                    Lane::Writes => 0,
                    Lane::Signals => 1,
                };
                let reason = match reason {
                    Refusal::Skipped => 0,
                    Refusal::QueueFull => 1,
                    Refusal::JournalBlocked => 2,
                    Refusal::Ended => 3,
                };
                frame(out, kind::R_REFUSED, &[&[lane, reason], &words(&[number, expected])]);
            }
        }
    }

    /// Decodes the frame at the start of `buf`, and tells how many bytes it takes; `None` until it is all there.
    pub fn decode(buf: &[u8]) -> Result<Option<(Self, usize)>, FrameError> {
        decode_with(buf, Self::fields)
    }

    fn fields(kind: u8, f: &mut Fields<'_>) -> Result<Option<Self>, FrameError> {
        let reply = match kind {
            kind::R_HELLO => Hello::fields(f).map(Self::Hello),
            kind::R_GROWN => f.u64().map(|journal_len| Self::Grown { journal_len }),
            kind::R_STATUS => Status::fields(f).map(Self::Status),
            kind::R_REFUSED => (|| {
                let lane = match f.u8()? {
                    0 => Lane::Writes,
                    1 => Lane::Signals,
                    _ => return None,
                };
                let reason = match f.u8()? {
                    0 => Refusal::Skipped,
                    1 => Refusal::QueueFull,
                    2 => Refusal::JournalBlocked,
                    3 => Refusal::Ended,
                    _ => return None,
                };
                Some(Self::Refused { lane, number: f.u64()?, expected: f.u64()?, reason })
            })(),
            _ => return Err(FrameError::Kind(kind)),
        };
        Ok(reply)
    }
}

impl Hello {
    fn fields(f: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            version: f.u8()?,
            holder_pid: f.u32()?,
            agent_pid: f.u32()?,
            journal_len: f.u64()?,
            next_write: f.u64()?,
            next_signal: f.u64()?,
        })
    }
}

impl Status {
    fn fields(f: &mut Fields<'_>) -> Option<Self> {
        let phase = match f.u8()? {
            0 => Phase::Running,
            1 => Phase::Draining,
            2 => Phase::Ending,
            _ => return None,
        };
        let (reading, errno) = (f.u8()?, f.i32()?);
        let reading = match reading {
            0 => Reading::Open,
            1 => Reading::JournalBlocked(errno),
            2 => Reading::TooFarAhead,
            _ => return None,
        };
        Some(Self {
            phase,
            reading,
            agent_pid: f.u32()?,
            journal_len: f.u64()?,
            consumed: f.u64()?,
            accepted: f.u64()?,
            settled: f.u64()?,
            pending_bytes: f.u64()?,
            signals: f.u64()?,
        })
    }
}

/// The length of the whole frame at the start of `buf`, once its length field is there: what to make room for.
pub fn frame_len(buf: &[u8]) -> Result<Option<usize>, FrameError> {
    let Some(len) = Fields(buf).u32() else { return Ok(None) };
    match usize::try_from(len) {
        Ok(body) if body > 0 && body <= FRAME_MAX => Ok(Some(LEN_BYTES + body)),
        _ => Err(FrameError::Length(len)),
    }
}

fn decode_with<'a, T>(
    buf: &'a [u8],
    fields: impl FnOnce(u8, &mut Fields<'a>) -> Result<Option<T>, FrameError>,
) -> Result<Option<(T, usize)>, FrameError> {
    let Some(len) = frame_len(buf)? else { return Ok(None) };
    let Some(body) = buf.get(LEN_BYTES..len) else { return Ok(None) };
    let (kind, mut rest) = (body[0], Fields(&body[1..]));
    match fields(kind, &mut rest)? {
        Some(message) if rest.is_empty() => Ok(Some((message, len))),
        _ => Err(FrameError::Fields(kind)),
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    let len: usize = 1 + parts.iter().map(|part| part.len()).sum::<usize>();
    out.reserve(LEN_BYTES + len);
    out.extend_from_slice(&len32(len).to_le_bytes());
    out.push(kind);
    for part in parts {
        out.extend_from_slice(part);
    }
}

fn words(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests;

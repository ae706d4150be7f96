//! The journal: an append-only file of everything that went in and out of one attempt.
//!
//! # Layout (all numbers little-endian)
//!
//! The file begins with a [`Header`] of [`HEADER_LEN`] bytes: magic `LKJOURN` and a version byte, the boot id (16),
//! wall time and monotonic time of the same instant in microseconds (8 + 8), 20 zero bytes, and the CRC-32 of all
//! that. Records follow, each with a head of [`RECORD_HEAD_LEN`] bytes: kind (1), flags (1, zero), zero (2), length
//! of the payload (4), monotonic microseconds (8), CRC-32 of these 16 bytes and the payload (4), CRC-32 of the 20
//! bytes before (4). The second checksum makes a damaged length known at once, rather than waited for.
//!
//! A torn record at the end is legal: it is there while a write is under way, and it stays when a holder dies.
//! Whole records never change, but the holder cuts a torn one off and may put another in its place.

mod bytes;
mod reader;
mod record;
mod writer;

#[cfg(test)]
mod tests;

use std::fmt;

pub use reader::{Entry, Reader, Source, Step};
pub use record::{Delivery, Exit, Part, Record, Scope, SpawnStage, Stream, StreamEnd, WriteOp};
pub use writer::Reading;
pub(crate) use writer::{Journal, seal};

use crate::clock;
use crate::codec::Fields;

/// The length of the file's header, and so the offset of the first record.
pub const HEADER_LEN: u64 = 64;

/// The length of the head of each record.
pub const RECORD_HEAD_LEN: usize = 24;

/// The version of the layout that this crate writes.
pub const VERSION: u8 = 1;

/// The name of the journal in an attempt's directory.
pub const FILE_NAME: &str = "journal";

const MAGIC: &[u8; 7] = b"LKJOURN";
const HEADER_BYTES: usize = 64;

/// Identifies one boot of the machine; monotonic times and process ids mean nothing in another one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BootId(pub [u8; 16]);

impl BootId {
    /// The boot id of this machine; all zeros where there is none to read (systems other than Linux).
    pub fn current() -> Self {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let mut id = [0_u8; 16];
        let mut digits =
            text.chars().filter_map(|c| c.to_digit(16)).filter_map(|digit| u8::try_from(digit).ok());
        for byte in &mut id {
            let (Some(high), Some(low)) = (digits.next(), digits.next()) else { return Self([0; 16]) };
            *byte = (high << 4) | low;
        }
        Self(id)
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let dash = if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The start of a journal: under which boot it was written, and how its times become wall times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The version of the layout.
    pub version: u8,
    /// The boot in which the journal was written.
    pub boot_id: BootId,
    /// Wall time when the journal was made, in microseconds since 1970.
    pub wall_us: u64,
    /// Monotonic time at that same instant, in microseconds.
    pub mono_us: u64,
}

/// Why the start of a journal is not usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// Fewer than [`HEADER_LEN`] bytes are there: the holder died at once, or has just begun.
    Incomplete,
    /// It is no journal, or damaged.
    Damaged,
    /// It was written by a newer version.
    Version(u8),
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete => f.write_str("journal header is incomplete"),
            Self::Damaged => f.write_str("journal header is damaged"),
            Self::Version(version) => {
                write!(f, "journal has version {version}, this program reads {VERSION}")
            }
        }
    }
}

impl std::error::Error for HeaderError {}

impl Header {
    /// The header of a journal that begins now.
    pub(crate) fn now() -> Self {
        Self {
            version: VERSION,
            boot_id: BootId::current(),
            wall_us: clock::wall_us(),
            mono_us: clock::mono_us(),
        }
    }

    /// The first [`HEADER_LEN`] bytes of a journal.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..7].copy_from_slice(MAGIC);
        out[7] = self.version;
        out[8..24].copy_from_slice(&self.boot_id.0);
        out[24..32].copy_from_slice(&self.wall_us.to_le_bytes());
        out[32..40].copy_from_slice(&self.mono_us.to_le_bytes());
        let crc = crc32fast::hash(&out[..60]);
        out[60..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the first [`HEADER_LEN`] bytes of a journal.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let bytes = bytes.get(..HEADER_BYTES).ok_or(HeaderError::Incomplete)?;
        let (covered, crc) = bytes.split_at(60);
        let mut fields = Fields(covered);
        if fields.bytes(7) != Some(MAGIC) || crc != crc32fast::hash(covered).to_le_bytes() {
            return Err(HeaderError::Damaged);
        }
        let header = (|| {
            let version = fields.u8()?;
            Some(Self {
                version,
                boot_id: BootId(fields.id()?),
                wall_us: fields.u64()?,
                mono_us: fields.u64()?,
            })
        })()
        .ok_or(HeaderError::Damaged)?;
        if header.version > VERSION { Err(HeaderError::Version(header.version)) } else { Ok(header) }
    }

    /// Turns the time of a record into wall time (microseconds since 1970), as if the wall clock had not been set
    /// and the machine had not slept since.
    pub fn wall_of(&self, mono_us: u64) -> u64 {
        if mono_us >= self.mono_us {
            self.wall_us.saturating_add(mono_us - self.mono_us)
        } else {
            self.wall_us.saturating_sub(self.mono_us - mono_us)
        }
    }
}

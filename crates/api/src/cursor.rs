//! Positions in the event stream.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// An opaque position in the event stream of one daemon's data: everything up to it has been seen.
///
/// Only the daemon knows what is in it. `start` is the position before the first event.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cursor(String);

/// A text that cannot be a cursor.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a cursor is 1 to {} visible ASCII characters", Cursor::MAX_CHARS)]
pub struct BadCursor;

impl Cursor {
    /// The longest cursor.
    pub const MAX_CHARS: usize = 128;

    /// The word for the position before the first event.
    pub const START: &str = "start";

    /// The position before the first event.
    pub fn start() -> Self {
        Self(Self::START.to_owned())
    }

    /// Whether it is the position before the first event.
    pub fn is_start(&self) -> bool {
        self.0 == Self::START
    }

    /// The position with this number, in the daemon's own count.
    pub fn at(position: u64) -> Self {
        Self(position.to_string())
    }

    /// The number back, for the daemon that made it; 0 is the start. `None` if it never made such a cursor.
    pub fn position(&self) -> Option<u64> {
        if self.is_start() { Some(0) } else { self.0.parse().ok() }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;
    fn from_str(text: &str) -> Result<Self, BadCursor> {
        if text.is_empty() || text.len() > Self::MAX_CHARS || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(BadCursor);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Cursor {
    type Error = BadCursor;
    fn try_from(text: String) -> Result<Self, BadCursor> {
        text.parse()
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        cursor.0
    }
}

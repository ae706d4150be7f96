//! Moments on the wire.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A moment of the wall clock: RFC 3339 in UTC with milliseconds, `2026-11-20T13:37:00.042Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Time(jiff::Timestamp);

/// A text that is no moment.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not an RFC 3339 time such as 2026-11-20T13:37:00Z")]
pub struct BadTime(String);

impl Time {
    /// The moment this many milliseconds after 1970-01-01 UTC, held within the years that RFC 3339 can write.
    pub fn from_wall_ms(ms: i64) -> Self {
        let clamped =
            ms.clamp(jiff::Timestamp::MIN.as_millisecond() + 1, jiff::Timestamp::MAX.as_millisecond());
        Self(jiff::Timestamp::from_millisecond(clamped).unwrap_or(jiff::Timestamp::UNIX_EPOCH))
    }

    /// Milliseconds since 1970-01-01 UTC.
    pub fn wall_ms(self) -> i64 {
        self.0.as_millisecond()
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

impl FromStr for Time {
    type Err = BadTime;
    fn from_str(text: &str) -> Result<Self, BadTime> {
        let time: jiff::Timestamp = text.parse().map_err(|_| BadTime(text.chars().take(80).collect()))?;
        Ok(Self::from_wall_ms(time.as_millisecond()))
    }
}

impl TryFrom<String> for Time {
    type Error = BadTime;
    fn try_from(text: String) -> Result<Self, BadTime> {
        text.parse()
    }
}

impl From<Time> for String {
    fn from(time: Time) -> Self {
        time.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_with_three_digits_of_the_second_and_reads_back() {
        for (ms, text) in [(0, "1970-01-01T00:00:00.000Z"), (1_795_179_420_042, "2026-11-20T12:57:00.042Z")] {
            assert_eq!(Time::from_wall_ms(ms).to_string(), text);
            assert_eq!(text.parse(), Ok(Time::from_wall_ms(ms)));
        }
    }

    #[test]
    fn the_ends_of_the_clock_can_be_written() {
        for ms in [i64::MIN, i64::MAX] {
            let text = Time::from_wall_ms(ms).to_string();
            assert!(text.parse::<Time>().is_ok(), "{text}");
        }
    }
}

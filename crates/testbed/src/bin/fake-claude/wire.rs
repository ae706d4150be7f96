//! Stdout, and the ids and times that lines carry.

use serde_json::Value;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, BufWriter, Stdout, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// Writes lines; each is flushed unless more are announced.
#[derive(Debug)]
pub(crate) struct Wire {
    out: BufWriter<Stdout>,
    ids: u64,
    salt: u64,
}

impl Wire {
    pub(crate) fn new() -> Self {
        const BUFFER_BYTES: usize = 1 << 16;
        let salt = RandomState::new().build_hasher().finish();
        Self { out: BufWriter::with_capacity(BUFFER_BYTES, io::stdout()), ids: 0, salt }
    }

    /// Writes one value as a line.
    pub(crate) fn line(&mut self, value: &Value) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, value)?;
        self.raw(b"\n")
    }

    /// Writes bytes as they are and flushes.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.out.flush()
    }

    /// Writes bytes that may stay in the buffer until the next flush.
    pub(crate) fn buffered(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn next(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    /// Returns a fresh id of the form of a UUID.
    pub(crate) fn uuid(&mut self) -> String {
        const TOP: u64 = 0xffff_ffff;
        const MIDDLE: u64 = 0xfff;
        let (count, salt) = (self.next(), self.salt);
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{count:012x}",
            salt & TOP,
            salt >> 48,
            (salt >> 32) & MIDDLE,
            salt & MIDDLE
        )
    }

    /// Returns a fresh id such as `msg_…`.
    pub(crate) fn id(&mut self, prefix: &str) -> String {
        let salt = self.salt;
        format!("{prefix}_{:08x}{:012x}", salt >> 32, self.next())
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The present time as `2026-11-20T12:49:43.402Z`.
pub(crate) fn timestamp() -> String {
    let now = now_ms();
    let (days, of_day) = (now / 86_400_000, now % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
    let (second, milli) = (of_day / 1000 % 60, of_day % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// Turns days since 1970 into year, month and day, by eras of 400 years that begin in March.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::civil;

    #[test]
    fn days_become_dates_across_leap_years() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(19_782), (2024, 2, 29));
        assert_eq!(civil(20_777), (2026, 11, 20));
    }
}

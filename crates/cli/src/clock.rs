//! Now, and how long ago something was. The only place of the command line that reads a clock.

use std::num::NonZeroU64;

use lockkeeper_api::{Time, limits};

/// The wall clock.
pub(crate) fn now() -> Time {
    Time::from_wall_ms(jiff::Timestamp::now().as_millisecond())
}

/// How people want to read times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Times {
    /// As a span from this moment.
    Relative(Time),
    /// As RFC 3339.
    Exact,
}

impl Times {
    /// A moment in the past, or ahead: `3m`, `2h`.
    pub(crate) fn show(self, at: Time) -> String {
        match self {
            Self::Relative(now) => span(now.wall_ms() - at.wall_ms()),
            Self::Exact => at.to_string(),
        }
    }

    /// A moment in the past in a sentence: `3m ago`.
    pub(crate) fn ago(self, at: Time) -> String {
        match self {
            Self::Relative(_) => format!("{} ago", self.show(at)),
            Self::Exact => at.to_string(),
        }
    }

    /// A span that began then, in a sentence: `for 3m`.
    pub(crate) fn lasting(self, since: Time) -> String {
        match self {
            Self::Relative(_) => format!("for {}", self.show(since)),
            Self::Exact => format!("since {since}"),
        }
    }

    /// A moment ahead in a sentence: `in 3m`.
    pub(crate) fn ahead(self, at: Time) -> String {
        match self {
            Self::Relative(now) if at < now => "now".to_owned(),
            Self::Relative(_) => format!("in {}", self.show(at)),
            Self::Exact => format!("at {at}"),
        }
    }
}

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A span in its largest unit; below ten of a unit the next smaller one is told too. The sign is dropped.
pub(crate) fn span(ms: i64) -> String {
    let ms = ms.saturating_abs();
    let two = |big: i64, name: char, small: i64, small_name: char| {
        let (whole, rest) = (ms / big, ms % big / small);
        if whole < 10 && rest > 0 {
            format!("{whole}{name}{rest}{small_name}")
        } else {
            format!("{whole}{name}")
        }
    };
    match ms {
        0..MINUTE => format!("{}s", ms / SECOND),
        MINUTE..HOUR => two(MINUTE, 'm', SECOND, 's'),
        HOUR..DAY => two(HOUR, 'h', MINUTE, 'm'),
        _ => two(DAY, 'd', HOUR, 'h'),
    }
}

/// Reads a moment: a span before now, an RFC 3339 time, or a day, which begins in UTC.
pub(crate) fn parse_moment(text: &str) -> Result<Time, String> {
    moment(text, now())
}

fn moment(text: &str, now: Time) -> Result<Time, String> {
    if let Ok(ms) = parse_span(text) {
        return Ok(Time::from_wall_ms(now.wall_ms().saturating_sub(i64::try_from(ms).unwrap_or(i64::MAX))));
    }
    let day = || format!("{text}T00:00:00Z").parse();
    let wrong = "it is neither a span such as 15m, nor a day such as 2026-01-31, nor an RFC 3339 time";
    text.parse().or_else(|_| day()).map_err(|_| wrong.to_owned())
}

/// Reads a span such as `90s`, `15m`, `2h`, `1d`, `500ms`; a bare number counts seconds. In milliseconds.
pub(crate) fn parse_span(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("a span is a number with ms, s, m, h or d: 90s, 15m".to_owned()),
    };
    let number: u64 =
        digits.parse().map_err(|_| "a span is a number with ms, s, m, h or d: 90s, 15m".to_owned())?;
    number.checked_mul(unit).ok_or_else(|| "the span is too long".to_owned())
}

/// Reads a span that is longer than none.
pub(crate) fn parse_some_span(text: &str) -> Result<NonZeroU64, String> {
    parse_span(text).and_then(|ms| NonZeroU64::new(ms).ok_or_else(|| "the span has no length".to_owned()))
}

/// Reads how long a claim may last without a word, as the daemon takes it. In milliseconds.
pub(crate) fn parse_ttl(text: &str) -> Result<u64, String> {
    let ms = parse_span(text)?;
    if (limits::CLAIM_TTL_MIN_MS..=limits::CLAIM_TTL_MAX_MS).contains(&ms) {
        return Ok(ms);
    }
    Err("a claim lasts 1s to 24h, and is renewed meanwhile".to_owned())
}

/// Reads how long a bypass lasts, as the daemon takes it. In milliseconds.
pub(crate) fn parse_bypass(text: &str) -> Result<u64, String> {
    let ms = parse_span(text)?;
    if (limits::BYPASS_MIN_MS..=limits::BYPASS_MAX_MS).contains(&ms) {
        return Ok(ms);
    }
    Err("a bypass lasts 1s to 24h; what is to last longer is a rule: `lk rules add`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_told_in_its_largest_units() {
        let cases = [
            (0, "0s"),
            (999, "0s"),
            (59_999, "59s"),
            (60_000, "1m"),
            (61_000, "1m1s"),
            (600_000, "10m"),
            (3_660_000, "1h1m"),
            (86_400_000, "1d"),
            (90_000_000, "1d1h"),
            (864_000_000, "10d"),
            (-61_000, "1m1s"),
        ];
        for (ms, text) in cases {
            assert_eq!(span(ms), text, "{ms}");
        }
    }

    #[test]
    fn a_claim_lasts_as_long_as_is_said_where_it_may_not() {
        for (text, ms) in [("1s", limits::CLAIM_TTL_MIN_MS), ("24h", limits::CLAIM_TTL_MAX_MS)] {
            assert_eq!(parse_ttl(text), Ok(ms));
        }
        for bad in ["999ms", "25h", "86401", "0", "soon"] {
            assert!(parse_ttl(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_ttl("1ms"), Err("a claim lasts 1s to 24h, and is renewed meanwhile".to_owned()));
    }

    #[test]
    fn a_span_reads_in_every_unit() {
        for (text, ms) in
            [("500ms", 500), ("90", 90_000), ("90s", 90_000), ("15m", 900_000), ("2h", 7_200_000)]
        {
            assert_eq!(parse_span(text), Ok(ms));
        }
        for bad in ["", "s", "1.5h", "-1s", "1w", "1 s", "99999999999999999999d"] {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
        assert!(parse_some_span("0").is_err());
        assert_eq!(parse_some_span("1ms"), Ok(NonZeroU64::MIN));
    }

    #[test]
    fn a_moment_is_a_span_before_now_or_a_time() {
        let now = Time::from_wall_ms(3_600_000);
        assert_eq!(moment("15m", now).ok(), Some(Time::from_wall_ms(2_700_000)));
        assert_eq!(moment("1970-01-01T00:00:01Z", now).ok(), Some(Time::from_wall_ms(1000)));
        assert_eq!(moment("1970-01-02", now).ok(), Some(Time::from_wall_ms(86_400_000)));
        assert!(moment("yesterday", now).is_err());
    }
}

//! Points and spans in time, without a clock.

use std::fmt;
use std::time::Duration;

/// Milliseconds since 1970-01-01T00:00:00Z. The only maker of the present one is `clock::Clock`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UnixTime(i64);

impl UnixTime {
    /// From milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// From whole seconds, as the wire and the stock work directory keep them.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Later by that much.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long ago `earlier` was; nothing if it lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// Why a text is no span.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected a time such as 90s, 30m, 1h or 7d, a year at most")]
pub struct InvalidSpan;

/// A span as it is typed: `90s`, `30m`, `1h`, `7d`; more than none, and a year at most.
pub fn span(text: &str) -> Result<Duration, InvalidSpan> {
    const YEAR: Duration = Duration::from_hours(366 * 24);
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit: u64 = match &text[split..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(InvalidSpan),
    };
    let seconds = text[..split].parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    let span = seconds.map(Duration::from_secs).filter(|span| !span.is_zero() && *span <= YEAR);
    span.ok_or(InvalidSpan)
}

/// A number of days (`TIMEOUT`, `FREQUENCY`).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Days(pub u32);

impl Days {
    /// As a span.
    pub fn span(self) -> Duration {
        Duration::from_secs(u64::from(self.0) * 86_400)
    }
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number of minutes (`EXECUTION_TIMEOUT`).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Minutes(pub u32);

impl Minutes {
    /// As a span.
    pub fn span(self) -> Duration {
        Duration::from_secs(u64::from(self.0) * 60)
    }
}

impl fmt::Display for Minutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_with_its_unit() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("1h", 3600), ("7d", 604_800), ("366d", 366 * 86_400)] {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in
            ["", "s", "90", "0s", "-1s", "1w", "1.5h", " 1h", "367d", "99999999999999999999s", "18446744073709551615d"]
        {
            assert_eq!(span(text), Err(InvalidSpan), "{text}");
        }
    }
}

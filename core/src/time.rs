//! Time as a value. Nothing here reads a clock: edges do, and pass on what they read.

use std::ops::{Add, Sub};
use std::time::Duration;

/// Nanoseconds on the host's monotonic clock. One host, one process: never written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(pub u64);

impl Monotonic {
    /// The time from `earlier` to `self`, zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Monotonic {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Monotonic {
    type Output = Self;
    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Microseconds since 1970-01-01 UTC: what is written in the log and shown to clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Reads RFC 3339, e.g. `2026-06-24T18:03:11.5Z`; an offset is required. `None` if it is
    /// anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let timestamp: jiff::Timestamp = text.parse().ok()?;
        Some(Self(timestamp.as_microsecond()))
    }

    /// RFC 3339 in UTC with the digits of the second that are needed.
    pub fn to_rfc3339(self) -> String {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(timestamp) => timestamp.to_string(),
            Err(_) => String::from("1970-01-01T00:00:00Z"),
        }
    }

    /// `self` moved by `duration` into the future.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// `self` moved by `duration` into the past.
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_survives_its_text() {
        for text in
            ["2026-06-24T18:03:11.5Z", "1970-01-01T00:00:00Z", "2026-06-24T18:03:11.000001Z"]
        {
            let timestamp = Timestamp::parse(text).unwrap();
            assert_eq!(Timestamp::parse(&timestamp.to_rfc3339()), Some(timestamp));
            assert_eq!(timestamp.to_rfc3339(), text);
        }
        let east = Timestamp::parse("2026-06-24T20:03:11.5+02:00").unwrap();
        assert_eq!(east.to_rfc3339(), "2026-06-24T18:03:11.5Z");
        assert_eq!(Timestamp::parse("2026-06-24T18:03:11"), None, "an offset is required");
        assert_eq!(Timestamp::parse("yesterday"), None);
    }
}

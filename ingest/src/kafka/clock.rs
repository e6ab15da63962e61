//! The brokers' time, as far as this node knows it (R17).
//!
//! Stamps of records are the only clock that all nodes share. Between two of them time goes on by
//! this host's monotonic clock, which nobody can set: what is told never lies ahead of the brokers'
//! own time, by more than their clocks differ, and never goes back.

use std::time::{Duration, Instant};

/// The latest stamp, and when it was seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BrokerClock {
    known: Option<(i64, Instant)>,
}

impl BrokerClock {
    /// A broker has stamped something with `at_ms`, which was seen at `now`.
    pub fn saw(&mut self, at_ms: i64, now: Instant) {
        if self.at(now).is_none_or(|known| at_ms > known) {
            self.known = Some((at_ms, now));
        }
    }

    /// The least that brokers' clocks must say by `now`, in milliseconds; `None` before any stamp.
    pub fn at(&self, now: Instant) -> Option<i64> {
        let (at_ms, seen) = self.known?;
        Some(at_ms + millis(now.saturating_duration_since(seen)))
    }
}

/// As stamps count.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_between_stamps_and_never_back() {
        let begin = Instant::now();
        let later = |ms| begin + Duration::from_millis(ms);
        let mut clock = BrokerClock::default();
        assert_eq!(clock.at(begin), None);
        clock.saw(1_000, begin);
        assert_eq!(clock.at(later(500)), Some(1_500));
        clock.saw(1_200, later(500));
        assert_eq!(clock.at(later(500)), Some(1_500), "a stamp that came late tells nothing new");
        clock.saw(9_000, later(600));
        assert_eq!(clock.at(later(700)), Some(9_100));
    }
}

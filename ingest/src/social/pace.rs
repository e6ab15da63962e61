//! So many a second for each of several keys, as numbers: no timers, nothing that grows.
//!
//! Each key has a moment at which its next turn is due; a turn moves it on by one interval. It may
//! lie up to one second's worth ahead, so that who was silent may say that much at once. Time is
//! the caller's, and monotonic: a clock that is set changes no rate.

use std::time::Duration;

/// The turns of all keys.
#[derive(Debug)]
pub struct Pace {
    interval: Duration,
    ahead_max: Duration,
    due: Box<[Duration]>,
}

impl Pace {
    /// `per_s` turns a second, 1 or more, for each of `keys` keys.
    pub fn new(per_s: u32, keys: usize) -> Self {
        let interval = Duration::from_secs(1) / per_s.max(1);
        let ahead_max = interval * (per_s.max(1) - 1);
        Self { interval, ahead_max, due: vec![Duration::ZERO; keys].into() }
    }

    /// Whether `key` has a turn left.
    pub fn is_open(&self, key: u32, now: Duration) -> bool {
        self.due.get(key as usize).is_some_and(|due| *due <= now + self.ahead_max)
    }

    /// Takes a turn of each of `keys`, or of none where one of them has none left.
    pub fn take(&mut self, keys: &[u32], now: Duration) -> bool {
        if !keys.iter().all(|key| self.is_open(*key, now)) {
            return false;
        }
        for key in keys {
            if let Some(due) = self.due.get_mut(*key as usize) {
                *due = (*due).max(now) + self.interval;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_gets_its_rate_and_a_second_of_it_at_once() {
        let mut pace = Pace::new(10, 2);
        let mut taken =
            |at_ms: u64| (0..100).filter(|_| pace.take(&[0], Duration::from_millis(at_ms))).count();
        assert_eq!([taken(0), taken(50), taken(100), taken(1_100)], [10, 0, 1, 10]);
        assert_eq!(taken(60_000), 10, "silence saves up no more than a second's worth");
    }

    #[test]
    fn a_turn_of_several_is_taken_whole_or_not_at_all() {
        let (mut pace, now) = (Pace::new(1, 2), Duration::ZERO);
        assert!(pace.take(&[0], now));
        assert!(!pace.take(&[0, 1], now));
        assert!(pace.take(&[1], now), "it was not charged");
        assert!(!pace.is_open(2, now), "no such key");
    }
}

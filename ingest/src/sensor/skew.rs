//! What devices' clocks differ from ours by.
//!
//! The least delay between a device's time and ours over the last half to whole minute is taken for
//! what the clocks differ by. A time that stands still says nothing about the clock that made it:
//! it only becomes older. Where our own clock is set, what was learned goes with it until the
//! device's next time, from which it is learned anew.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use touchline_core::time::Timestamp;

use crate::limits::KEYS_MAX;
use crate::poll::At;

/// How long a delay counts for the estimate, and again as long.
const PERIOD: Duration = Duration::from_secs(30);
/// Our clock was set where it and monotonic time part by more between two answers.
const PARTED_US: i64 = 1_000_000;

/// By key: behind one address may stand several devices, each with a clock of its own.
#[derive(Debug, Default)]
pub(super) struct Skews {
    by_key: HashMap<Box<str>, Skew>,
    /// Our two clocks when they were looked at last.
    clocks: Option<(Timestamp, Instant)>,
}

/// The least delay of one key lately.
#[derive(Debug)]
struct Skew {
    since: Instant,
    least: i64,
    before: Option<i64>,
    /// The device's time that was noted last.
    last: Timestamp,
    /// Our clock was set since then.
    is_shaken: bool,
    seen_at: Instant,
}

impl Skews {
    /// Compares our two clocks: called with each reading, before it is noted.
    pub fn look(&mut self, at: &At<'_>) {
        if let Some((wall, steady)) = self.clocks {
            let passed = at.now.saturating_duration_since(steady).as_micros();
            let parted = at.received_at.0 - wall.0 - i64::try_from(passed).unwrap_or(i64::MAX);
            if parted.abs() > PARTED_US {
                self.by_key.values_mut().for_each(|skew| skew.shake(parted));
            }
        }
        self.clocks = Some((at.received_at, at.now));
    }

    /// Notes that `key` said `measured_at`. What its clock is behind ours; `None`: there are too
    /// many.
    pub fn note(&mut self, key: &str, measured_at: Timestamp, at: &At<'_>) -> Option<i64> {
        let delay = at.received_at.0.saturating_sub(measured_at.0);
        if !self.by_key.contains_key(key) {
            if self.by_key.len() >= KEYS_MAX {
                return None;
            }
            self.by_key.insert(key.into(), Skew::new(delay, measured_at, at.now));
        }
        let skew = self.by_key.get_mut(key)?;
        skew.note(delay, measured_at, at.now);
        Some(skew.estimate())
    }

    /// What is known of `key` counts no more: its device has been started anew.
    pub fn forget(&mut self, key: &str) {
        self.by_key.remove(key);
    }

    /// Forgets keys that weren't seen since `oldest`.
    pub fn forget_before(&mut self, oldest: Instant) {
        self.by_key.retain(|_, skew| skew.seen_at >= oldest);
    }

    /// How many keys are known.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// What the clock that is furthest off is behind ours (ahead, if negative).
    pub fn furthest(&self) -> Option<i64> {
        self.by_key.values().map(Skew::estimate).max_by_key(|skew| skew.abs())
    }
}

impl Skew {
    fn new(delay: i64, last: Timestamp, now: Instant) -> Self {
        Self { since: now, least: delay, before: None, last, is_shaken: false, seen_at: now }
    }

    fn note(&mut self, delay: i64, measured_at: Timestamp, now: Instant) {
        self.seen_at = now;
        if measured_at == self.last {
            return;
        }
        if self.is_shaken {
            *self = Self::new(delay, measured_at, now);
            return;
        }
        self.last = measured_at;
        if now.saturating_duration_since(self.since) < PERIOD {
            self.least = self.least.min(delay);
        } else {
            *self = Self { before: Some(self.least), ..Self::new(delay, measured_at, now) };
        }
    }

    fn shake(&mut self, by: i64) {
        self.least = self.least.saturating_add(by);
        self.before = self.before.map(|before| before.saturating_add(by));
        self.is_shaken = true;
    }

    fn estimate(&self) -> i64 {
        self.before.map_or(self.least, |before| before.min(self.least))
    }
}

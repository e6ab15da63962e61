//! What devices' clocks differ from ours by.
//!
//! The least delay between a device's time and ours over the last half to whole minute is taken for
//! what the clocks differ by. A time that stands still says nothing about the clock that made it:
//! it only becomes older. So a first time that is off by a day or more is not believed to be a
//! clock's until a second one has come: it is a value that was left lying. Where our own clock is
//! set, what was learned goes with it until the device's next time, from which it is learned anew.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use touchline_core::time::Timestamp;

use crate::limits::KEYS_MAX;
use crate::poll::At;

/// How long a delay counts for the estimate, and again as long.
const PERIOD: Duration = Duration::from_secs(30);
/// Our clock was set where it and monotonic time part by more between two answers.
const PARTED_US: i64 = 1_000_000;
/// A clock that somebody has set is off by less, whatever time zone was meant.
const SET_US: i64 = 86_400_000_000;

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
    /// Its clock goes: it has told two times.
    goes: bool,
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

    /// Notes that `key` said `measured_at`. What its clock is behind ours, 0 where that isn't to be
    /// believed; `None`: there are too many.
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
        Some(skew.believed())
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
        let (before, goes, is_shaken) = (None, false, false);
        Self { since: now, least: delay, before, last, goes, is_shaken, seen_at: now }
    }

    fn note(&mut self, delay: i64, measured_at: Timestamp, now: Instant) {
        self.seen_at = now;
        if measured_at == self.last {
            return;
        }
        if self.is_shaken {
            *self = Self { goes: true, ..Self::new(delay, measured_at, now) };
            return;
        }
        (self.last, self.goes) = (measured_at, true);
        if now.saturating_duration_since(self.since) < PERIOD {
            self.least = self.least.min(delay);
        } else {
            let before = Some(self.least);
            *self = Self { before, goes: true, ..Self::new(delay, measured_at, now) };
        }
    }

    fn shake(&mut self, by: i64) {
        self.least = self.least.saturating_add(by);
        self.before = self.before.map(|before| before.saturating_add(by));
        self.is_shaken = true;
    }

    fn believed(&self) -> i64 {
        let estimate = self.estimate();
        if self.goes || estimate.abs() < SET_US { estimate } else { 0 }
    }

    fn estimate(&self) -> i64 {
        self.before.map_or(self.least, |before| before.min(self.least))
    }
}

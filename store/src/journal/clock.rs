//! Log time: what the dedupe window and retention are counted in (R16).
//!
//! Nothing may be forgotten or removed because somebody set the host's clock. Log time starts where
//! the host's clock stands and then goes on by the time that has passed, whatever becomes of that
//! clock; small differences are made up for slowly. What an event is judged by, however, is what
//! the clock says (`received_at`). As long as the two agree within limits no event can leave the
//! window and still be young enough to be taken again: an entry is stamped no earlier than its
//! event was received, and stays for [`CLOCK_BEHIND_MAX`] longer than its window. Where they
//! disagree by more, appends are refused until clock or log time is right again.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use touchline_core::time::Timestamp;

use crate::limits::{CLOCK_AHEAD_MAX, CLOCK_BEHIND_MAX};

/// What two clocks say at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The host's clock, which anybody may set.
    pub wall: Timestamp,
    /// Time since some fixed moment, the host's sleep included. Never goes back.
    pub passed: Duration,
}

/// Where the journal gets its time from: the host, or a test.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Now + Send + Sync>);

impl Clock {
    /// A clock that says what `read` says.
    pub fn of(read: impl Fn() -> Now + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// What it says.
    pub fn now(&self) -> Now {
        (self.0)()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::of(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let wall = Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX));
            let passed = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
            Now { wall, passed: passed.try_into().unwrap_or_default() }
        })
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// Log time, and the stamp of what is written now.
#[derive(Debug)]
pub struct LogTime {
    time: Timestamp,
    stamp: Timestamp,
    passed: Duration,
    /// Between the last record and this start. Retention doesn't count it: what may only be a clock
    /// that was wrong at the start must remove nothing.
    unseen: Duration,
}

impl LogTime {
    /// At the start of a log whose last record was stamped `last` (zero: it has none).
    pub fn start(now: Now, last: Timestamp) -> Self {
        let time = now.wall.max(last.minus(CLOCK_AHEAD_MAX));
        let unseen = if last == Timestamp(0) { Duration::ZERO } else { between(last, time) };
        Self { time, stamp: time.max(last), passed: now.passed, unseen }
    }

    /// Goes on by what has passed: a 64th faster while it lags behind the clock, half as fast while
    /// it is ahead of it.
    pub fn tick(&mut self, now: Now) {
        let passed = now.passed.saturating_sub(self.passed);
        self.passed += passed;
        let even = self.time.plus(passed);
        self.time = match now.wall < self.time {
            true => self.time.plus(passed / 2),
            false => even.plus(between(even, now.wall).min(passed / 64)),
        };
        self.stamp = self.stamp.max(self.time);
    }

    /// How far `at`, read from the host's clock, is off, if that is more than may be.
    pub fn off_by(&self, at: Timestamp) -> Option<Duration> {
        let (ahead, behind) = (between(self.time, at), between(at, self.time));
        let off = ahead > CLOCK_AHEAD_MAX || behind > CLOCK_BEHIND_MAX;
        off.then_some(ahead.max(behind))
    }

    /// From now on nothing is stamped earlier than `received_at`, which isn't off.
    pub fn take_in(&mut self, received_at: Timestamp) {
        self.stamp = self.stamp.max(received_at);
    }

    /// Of what is written now. Never goes back, also not from one start to the next.
    pub fn stamp(&self) -> Timestamp {
        self.stamp
    }

    /// What the dedupe window is counted back from.
    pub fn for_window(&self) -> Timestamp {
        self.time.minus(CLOCK_BEHIND_MAX)
    }

    /// What retention is counted back from: never later than [`LogTime::for_window`].
    pub fn for_retention(&self) -> Timestamp {
        self.for_window().minus(self.unseen)
    }
}

/// From `earlier` to `later`; zero the other way round.
fn between(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(later.0.saturating_sub(earlier.0)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(wall_s: i64, passed_s: u64) -> Now {
        Now { wall: Timestamp(wall_s * 1_000_000), passed: Duration::from_secs(passed_s) }
    }

    #[test]
    fn a_clock_that_is_set_moves_log_time_only_a_little() {
        let mut time = LogTime::start(now(1_000_000, 5), Timestamp(0));
        for passed in 1..=3_600 {
            time.tick(now(1_000_000 + passed + 8 * 86_400, 5 + passed as u64));
        }
        assert!(time.off_by(Timestamp((1_003_600 + 8 * 86_400) * 1_000_000)).is_some());
        assert!(time.off_by(Timestamp(1_003_600 * 1_000_000)).is_none(), "set right again");
    }

    #[test]
    fn sleep_and_a_stop_count_as_time_but_retention_leaves_out_the_stop() {
        let last = Timestamp(1_000_000_000_000);
        let mut time = LogTime::start(now(1_090_000, 0), last);
        assert_eq!(time.for_retention(), last.minus(CLOCK_BEHIND_MAX));
        time.tick(now(1_180_000, 90_000));
        assert_eq!(time.off_by(Timestamp(1_180_000_000_000)), None);
        assert_eq!(time.stamp(), Timestamp(1_180_000_000_000));
    }
}

//! When a stream that was lost is asked for again.
//!
//! Reads no clock and rolls no die: the caller brings both.

use std::time::Duration;

use crate::limits::RETRY_AFTER_MAX;

/// How waits grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackoffRules {
    /// The first wait after a connection was lost.
    pub first: Duration,
    /// And the longest; also what follows a refusal that waiting won't mend.
    pub max: Duration,
    /// The first wait after 420 or 429 that doesn't say how long.
    pub limited_first: Duration,
    /// A connection that was good for so long, posts or not, makes waits begin anew.
    pub good_after: Duration,
}

impl Default for BackoffRules {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(250),
            max: Duration::from_secs(30),
            limited_first: Duration::from_secs(60),
            good_after: Duration::from_secs(10),
        }
    }
}

/// Why it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A connection broke, or could not be made.
    Lost,
    /// It was told off: 420, 429.
    Limited,
    /// It was turned away for a reason that is ours, or the configuration's.
    Barred,
}

/// The waits of one source.
#[derive(Clone, Debug)]
pub struct Backoff {
    rules: BackoffRules,
    lost: u32,
    limited: u32,
}

impl Backoff {
    /// Of a source that has had no trouble.
    pub fn new(rules: BackoffRules) -> Self {
        Self { rules, lost: 0, limited: 0 }
    }

    /// It is well again.
    pub fn reset(&mut self) {
        *self = Self::new(self.rules);
    }

    /// How long to wait now. `asked` is what the other side wants, and never undercut (up to 15
    /// minutes), nor taken for less than our own wait; that is off by up to a quarter either way.
    /// `die` is anything from 0 to 1.
    pub fn wait(&mut self, cause: Cause, asked: Option<Duration>, die: f64) -> Duration {
        let doubled = |first: Duration, times: u32| first.saturating_mul(1 << times.min(20));
        let own = match cause {
            Cause::Lost => {
                self.lost = self.lost.saturating_add(1);
                doubled(self.rules.first, self.lost - 1).min(self.rules.max)
            }
            Cause::Barred => self.rules.max,
            Cause::Limited => {
                self.limited = self.limited.saturating_add(1);
                match asked {
                    // "Now", and a date that has passed, are no leave to ask without end.
                    Some(_) => doubled(self.rules.first, self.limited - 1).min(self.rules.max),
                    None => {
                        doubled(self.rules.limited_first, self.limited - 1).min(RETRY_AFTER_MAX)
                    }
                }
            }
        };
        let die = die.clamp(0.0, 1.0);
        let own = own.mul_f64(0.75 + 0.5 * die);
        // A crowd that was told the same second doesn't come back in step.
        let asked = asked.map(|asked| asked.min(RETRY_AFTER_MAX).mul_f64(1.0 + 0.1 * die));
        own.max(asked.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn waits(cause: Cause, asked: Option<Duration>, times: usize) -> Vec<Duration> {
        let mut backoff = Backoff::new(BackoffRules::default());
        (0..times).map(|_| backoff.wait(cause, asked, 0.5)).collect()
    }

    #[test]
    fn waits_double_to_their_bound_and_begin_anew() {
        let ms =
            |list: &[u64]| list.iter().map(|ms| Duration::from_millis(*ms)).collect::<Vec<_>>();
        let lost = waits(Cause::Lost, None, 9);
        assert_eq!(lost, ms(&[250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]));
        assert_eq!(waits(Cause::Barred, None, 2), [30 * S, 30 * S]);
        let mut backoff = Backoff::new(BackoffRules::default());
        for _ in 0..50 {
            backoff.wait(Cause::Lost, None, 0.5);
        }
        backoff.reset();
        assert_eq!(backoff.wait(Cause::Lost, None, 0.0), Duration::from_micros(187_500));
        assert_eq!(backoff.wait(Cause::Lost, None, 1.0), Duration::from_millis(625));
    }

    #[test]
    fn fault_29_who_is_told_off_waits_as_asked_or_a_minute_and_longer_each_time() {
        assert_eq!(waits(Cause::Limited, None, 6), [60, 120, 240, 480, 900, 900].map(|s| s * S));
        let asked = waits(Cause::Limited, Some(7 * S), 3);
        assert!(asked.iter().all(|wait| *wait >= 7 * S && *wait < 8 * S), "{asked:?}");
        let at_once = waits(Cause::Limited, Some(Duration::ZERO), 9);
        assert_eq!(at_once, waits(Cause::Lost, None, 9), "whoever says \"now\" is not hammered");
        let lost = waits(Cause::Lost, Some(5 * S), 9);
        assert!(lost[0] >= 5 * S && lost[8] == 30 * S, "503 with Retry-After: the longer of both");
        let long = waits(Cause::Limited, Some(86_400 * S), 1);
        assert!(long[0] <= RETRY_AFTER_MAX.mul_f64(1.1), "a day is not waited for");
    }
}

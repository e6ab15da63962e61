//! How often and how soon something is tried again (DESIGN section 8).
//!
//! Two kinds of failure, told apart by who is at fault. A dependency that ails (a broker, a
//! database, a device) is asked again without count, ever more rarely: a [`Backoff`]; what waits
//! for it is parked by nobody. A record whose own fault it surely is (nobody can read it, brokers
//! refuse it as it is) becomes a [dead letter](crate::dead) at once: the same bytes against the
//! same rules can't do better. No consumer so far has a record that may be at fault, which would
//! get five attempts (`docs/decisions/attempts.md`).
//!
//! Pure: the caller throws the die and does the waiting.

use std::time::Duration;

/// The first wait.
const WAIT_FIRST: Duration = Duration::from_millis(100);
/// The longest wait, before it is spread.
const WAIT_LONGEST: Duration = Duration::from_secs(30);
/// How far a wait is spread, either way: those that failed together don't come back together.
const SPREAD: f64 = 0.25;

const _: () = assert!(WAIT_FIRST.as_nanos() < WAIT_LONGEST.as_nanos());

/// The waits between attempts at a dependency that ails: 100 ms, doubling to 30 s, each spread by a
/// quarter either way.
///
/// ```
/// use touchline_core::retry::Backoff;
/// let mut backoff = Backoff::new();
/// let waits = [0.5; 4].map(|die| backoff.next(die).as_millis());
/// assert_eq!(waits, [100, 200, 400, 800]);
/// backoff.reset();
/// assert_eq!(backoff.next(0.5).as_millis(), 100);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    /// One that has waited for nothing yet.
    pub const fn new() -> Self {
        Self { next: WAIT_FIRST }
    }

    /// How long to wait before the next attempt. `die` in 0..1 spreads it; 0.5 is the middle.
    #[must_use]
    pub fn next(&mut self, die: f64) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(WAIT_LONGEST);
        wait.mul_f64(1.0 + SPREAD * (2.0 * die.clamp(0.0, 1.0) - 1.0))
    }

    /// It went well: the next failure is a first one again.
    pub const fn reset(&mut self) {
        self.next = WAIT_FIRST;
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_a_tenth_of_a_second_to_half_a_minute_and_stay_there() {
        let mut backoff = Backoff::new();
        let waits: Vec<u128> = (0..12).map(|_| backoff.next(0.5).as_millis()).collect();
        let want =
            [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000, 30_000];
        assert_eq!(waits, want);
    }

    #[test]
    fn the_die_moves_a_wait_by_a_quarter_either_way_and_no_further() {
        for (die, ms) in [(0.0, 75), (1.0, 125), (0.25, 87), (-7.0, 75), (7.0, 125)] {
            assert_eq!(Backoff::new().next(die).as_millis(), ms, "{die}");
        }
    }

    #[test]
    fn success_begins_anew() {
        let mut backoff = Backoff::new();
        for _ in 0..100 {
            let _ = backoff.next(0.5);
        }
        backoff.reset();
        assert_eq!(backoff, Backoff::new());
    }
}

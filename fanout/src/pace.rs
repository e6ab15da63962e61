//! A rate with a burst, in eight bytes.
//!
//! Instead of a bucket's level it keeps the moment at which the bucket would be full again (the
//! generic cell rate algorithm): taking a token moves that moment one period on, and a take that
//! would move it further than the burst allows is refused. Nothing has to be refilled.

use std::time::Duration;

use touchline_core::time::Monotonic;

/// A rate. Period and burst are the caller's, so that they can change while it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pace {
    full_at: Monotonic,
}

impl Pace {
    /// Takes a token, of which there is one each `period`, and `burst` at once.
    ///
    /// # Errors
    /// How long to wait until there is one.
    pub(crate) fn take(
        &mut self,
        now: Monotonic,
        period: Duration,
        burst: u32,
    ) -> Result<(), Duration> {
        let next = self.full_at.max(now) + period;
        let ahead = next.since(now);
        let allowed = period * burst.max(1);
        if ahead > allowed {
            return Err(ahead - allowed);
        }
        self.full_at = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_gives_what_a_bucket_gives(
            burst in 1..10u32,
            waits in prop::collection::vec(0..300u64, 1..80),
        ) {
            let period = Duration::from_millis(100);
            let (mut pace, mut now) = (Pace::default(), Monotonic(1 << 40));
            let mut level_ms = u64::from(burst) * 100;
            for wait in waits {
                now = now + Duration::from_millis(wait);
                level_ms = (level_ms + wait).min(u64::from(burst) * 100);
                match pace.take(now, period, burst) {
                    Ok(()) => {
                        prop_assert!(level_ms >= 100);
                        level_ms -= 100;
                    }
                    Err(wait) => prop_assert_eq!(wait, Duration::from_millis(100 - level_ms)),
                }
            }
        }
    }
}

//! The day's own time, and how it maps to the wall clock.
//!
//! A day runs faster than life and may be interrupted: a demo that was killed goes on where it was,
//! perhaps an hour later and at another speed. So its clock is a list of [`Leg`]s, each a moment of
//! the day, the wall clock then, and the speed from there on. Integers only: the same moment always
//! gives the same `occurred_at`, also after the legs were written down and read back, because an
//! event that is sent again must be the same event (R15).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use touchline_core::time::Timestamp;

use crate::limits::demo::LEGS_MAX;

/// From `day_us` on, a second of the wall clock is `speed_milli / 1000` seconds of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Leg {
    day_us: u64,
    wall_us: i64,
    speed_milli: u64,
}

/// Maps between the day's time and the wall clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayClock {
    legs: Vec<Leg>,
}

impl DayClock {
    /// A day that starts at `wall`. `speed_milli` is in thousandths.
    pub fn start(wall: Timestamp, speed_milli: u64) -> Self {
        Self { legs: vec![Leg { day_us: 0, wall_us: wall.0, speed_milli: speed_milli.max(1) }] }
    }

    /// What the wall clock shows at the moment `at` of the day, in whole milliseconds.
    pub fn wall_at(&self, at: Duration) -> Timestamp {
        let day_us = at.as_micros() as u64;
        let leg = self.legs.iter().rev().find(|leg| leg.day_us <= day_us);
        let Some(leg) = leg.or(self.legs.first()) else { return Timestamp(0) };
        let since = i128::from(day_us) - i128::from(leg.day_us);
        let wall = i128::from(leg.wall_us) + since * 1_000 / i128::from(leg.speed_milli);
        Timestamp(wall as i64 / 1_000 * 1_000)
    }

    /// How far the day is when the wall clock shows `wall`; never before the last leg's start.
    pub fn day_at(&self, wall: Timestamp) -> Duration {
        let Some(leg) = self.legs.last() else { return Duration::ZERO };
        let since = u128::try_from(wall.0 - leg.wall_us).unwrap_or(0);
        let day_us = u128::from(leg.day_us) + since * u128::from(leg.speed_milli) / 1_000;
        Duration::from_micros(u64::try_from(day_us).unwrap_or(u64::MAX))
    }

    /// Goes on right after the moment `at` when the wall clock shows `wall`, or when it would have
    /// come anyway if that is later. What lies at `at` or before keeps its wall clock.
    pub fn go_on(&mut self, at: Duration, wall: Timestamp, speed_milli: u64) {
        let wall_us = wall.0.max(self.wall_at(at).0);
        let day_us = at.as_micros() as u64 + 1;
        self.legs.retain(|leg| leg.day_us < day_us);
        if self.legs.len() == LEGS_MAX {
            self.legs.remove(0);
        }
        self.legs.push(Leg { day_us, wall_us, speed_milli: speed_milli.max(1) });
    }

    /// Whether it was read back whole: legs ascend, and nothing stands still.
    pub fn is_sound(&self) -> bool {
        let ascends = self.legs.is_sorted_by(|a, b| a.day_us < b.day_us && a.wall_us <= b.wall_us);
        (1..=LEGS_MAX).contains(&self.legs.len())
            && ascends
            && self.legs.iter().all(|leg| leg.speed_milli > 0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_day_at_speed_60_passes_a_minute_in_a_second() {
        let clock = DayClock::start(Timestamp(5_000_000), 60_000);
        assert_eq!(clock.wall_at(Duration::from_secs(90 * 60)), Timestamp(95_000_000));
        assert_eq!(clock.day_at(Timestamp(6_000_000)), Duration::from_secs(60));
        assert_eq!(clock.day_at(Timestamp(0)), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn an_interruption_never_moves_what_may_have_been_sent(
            stops in prop::collection::vec(
                (0..5_000u64, 0..500_000_000i64, 100..1_000_000u64), 0..100),
        ) {
            let mut clock = DayClock::start(Timestamp(1_000_000_000), 60_000);
            let mut horizon = Duration::ZERO;
            for (ran_s, away_us, speed) in stops {
                horizon += Duration::from_secs(ran_s + 1);
                let step = horizon / 50;
                prop_assume!(step * 50 == horizon);
                let moments: Vec<_> = (40..=50).map(|n| step * n).collect();
                let before: Vec<_> = moments.iter().map(|at| clock.wall_at(*at)).collect();
                let wall = clock.wall_at(horizon).0 + away_us - 1_000_000;
                clock.go_on(horizon, Timestamp(wall), speed);
                let after: Vec<_> = moments.iter().map(|at| clock.wall_at(*at)).collect();
                prop_assert_eq!(before, after);
                prop_assert!(clock.is_sound());
                let text = serde_json::to_string(&clock).unwrap();
                prop_assert_eq!(&serde_json::from_str::<DayClock>(&text).unwrap(), &clock);
                let later = horizon + Duration::from_secs(60);
                prop_assert!(clock.wall_at(later) >= clock.wall_at(horizon));
                let back = clock.day_at(clock.wall_at(later));
                prop_assert!(back.abs_diff(later) < Duration::from_secs(2), "{back:?} {later:?}");
            }
        }
    }
}

//! What is going on right now: the script of the day and its clock, for whoever watches the day
//! rather than tells it.
//!
//! The simulator sets the [`Scene`] when a day begins; sensors and fans look at it. Both see the
//! same match as the partner tells, at the same moment, without a word between them.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use touchline_core::time::Timestamp;

use super::clock::DayClock;
use super::day::{Day, Fixture, Moment};
use crate::live::fact::Kind;

/// The day under way, if there is one. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct World(Arc<ArcSwapOption<Scene>>);

/// A day and its time.
#[derive(Debug)]
pub struct Scene {
    /// What happens.
    pub day: Arc<Day>,
    /// When.
    pub clock: DayClock,
}

impl World {
    /// A day begins, or goes on.
    pub fn set(&self, day: Arc<Day>, clock: DayClock) {
        self.0.store(Some(Arc::new(Scene { day, clock })));
    }

    /// The day under way.
    pub fn scene(&self) -> Option<Arc<Scene>> {
        self.0.load_full()
    }
}

impl Scene {
    /// How far the day is at `now`.
    pub fn day_at(&self, now: Timestamp) -> Duration {
        self.clock.day_at(now)
    }

    /// The last thing that has happened in `fixture` by the moment `at` of the day.
    pub fn last<'a>(&self, fixture: &'a Fixture, at: Duration) -> Option<&'a Moment> {
        fixture.moments.iter().take_while(|moment| moment.at <= at).last()
    }

    /// How long ago, by the wall clock, `fixture` saw its last goal.
    pub fn since_goal(&self, fixture: &Fixture, now: Timestamp) -> Option<Duration> {
        let at = self.day_at(now);
        let before = fixture.moments.iter().take_while(|moment| moment.at <= at);
        let goal = before.filter(|moment| moment.kind == Kind::Goal).last()?;
        let age_us = now.0 - self.clock.wall_at(goal.at).0;
        Some(Duration::from_micros(u64::try_from(age_us).unwrap_or(0)))
    }
}

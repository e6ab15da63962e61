//! How many different routes a source uses: the limit at the door that protects the shards' tables
//! (R23).
//!
//! Shards keep a window for each topic, so a source that invents sets of teams would cost them
//! memory; where strangers write, it is they who choose the sets. Whoever may refuse an event must
//! do so before the log has it; hence a table here. It remembers hashes in two generations: a route
//! counts as long as it was used in this period or the one before, so an entry lives for one to two
//! periods and nothing is ever scanned.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use touchline_core::event::{Event, Route};
use touchline_core::time::Timestamp;
use xxhash_rust::xxh3::xxh3_64;

use crate::limits::ROUTES_PERIOD;

/// The routes one source has used lately.
#[derive(Debug, Default)]
pub struct RouteTable {
    inner: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    current: HashSet<u64>,
    previous: HashSet<u64>,
    began: Timestamp,
}

impl RouteTable {
    /// Notes the routes of `events` if with them the source has used no more than `routes_max`,
    /// else none of them: `Err` is how long it takes until some may be forgotten.
    pub fn admit(
        &self,
        events: &[Event],
        routes_max: usize,
        now: Timestamp,
    ) -> Result<(), Duration> {
        // A panic elsewhere can't leave two sets of hashes in a state that matters.
        let mut table = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        table.turn(now);
        let hashes: HashSet<u64> = events.iter().map(|event| hash(&event.route)).collect();
        let new = hashes.iter().filter(|hash| !table.knows(**hash)).count();
        if table.len() + new > routes_max {
            return Err(table.left(now));
        }
        hashes.into_iter().for_each(|hash| table.note(hash));
        Ok(())
    }

    /// The same of one route; `false`: it is one too many.
    pub fn admit_one(&self, route: &Route, routes_max: usize, now: Timestamp) -> bool {
        let mut table = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        table.turn(now);
        let hash = hash(route);
        let fits = table.knows(hash) || table.len() < routes_max;
        if fits {
            table.note(hash);
        }
        fits
    }
}

impl Generations {
    fn turn(&mut self, now: Timestamp) {
        if now < self.began.plus(ROUTES_PERIOD) && now >= self.began {
            return;
        }
        let idle = now >= self.began.plus(2 * ROUTES_PERIOD);
        self.previous = std::mem::take(&mut self.current);
        if idle {
            self.previous.clear();
        }
        self.began = now;
    }

    fn knows(&self, hash: u64) -> bool {
        self.current.contains(&hash) || self.previous.contains(&hash)
    }

    fn note(&mut self, hash: u64) {
        self.previous.remove(&hash);
        self.current.insert(hash);
    }

    fn len(&self) -> usize {
        // What is used again moves over, so none is in both.
        self.current.len() + self.previous.len()
    }

    fn left(&self, now: Timestamp) -> Duration {
        let end = self.began.plus(ROUTES_PERIOD);
        Duration::from_micros(u64::try_from(end.0 - now.0).unwrap_or(0))
    }
}

fn hash(route: &Route) -> u64 {
    xxh3_64(route.as_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(teams: std::ops::Range<u32>) -> Vec<Event> {
        let event = |n: u32| Event::sample("1", &format!("t{n}"));
        teams.map(event).collect()
    }

    fn minutes(n: u64) -> Timestamp {
        Timestamp(1_000_000_000_000_000).plus(Duration::from_secs(60 * n))
    }

    #[test]
    fn a_source_may_use_so_many_routes_and_the_old_ones_are_forgotten() {
        let table = RouteTable::default();
        assert_eq!(table.admit(&events(0..8), 10, minutes(0)), Ok(()));
        let refused = table.admit(&events(6..13), 10, minutes(10));
        assert_eq!(refused, Err(Duration::from_secs(20 * 60)), "5 new ones are 3 too many");
        assert_eq!(table.admit(&events(8..10), 10, minutes(10)), Ok(()), "none of 6..13 counted");
        assert_eq!(table.admit(&events(0..10), 10, minutes(29)), Ok(()), "known ones always fit");
        assert!(table.admit(&events(10..11), 10, minutes(31)).is_err(), "still the period before");
        assert_eq!(table.admit(&events(0..2), 10, minutes(31)), Ok(()));
        assert_eq!(table.admit(&events(10..18), 10, minutes(61)), Ok(()), "2..10 are forgotten");
        assert!(table.admit(&events(18..19), 10, minutes(61)).is_err(), "0..2 are not");
        assert_eq!(
            table.admit(&events(20..30), 10, minutes(500)),
            Ok(()),
            "all are, after a pause"
        );
    }

    #[test]
    fn one_at_a_time_counts_the_same() {
        let table = RouteTable::default();
        let admit = |n: u32, at| table.admit_one(&events(n..n + 1)[0].route, 10, minutes(at));
        assert!((0..10).all(|n| admit(n, 0)) && !admit(10, 0) && admit(9, 29));
        assert!(!admit(10, 31) && admit(0, 31), "the period before counts");
        assert!(admit(10, 61) && table.admit(&events(20..30), 10, minutes(61)).is_err());
    }

    #[test]
    fn a_clock_set_back_begins_a_new_period() {
        let table = RouteTable::default();
        assert_eq!(table.admit(&events(0..10), 10, minutes(600)), Ok(()));
        assert!(table.admit(&events(10..11), 10, minutes(1)).is_err());
        assert_eq!(table.admit(&events(10..20), 10, minutes(62)), Ok(()));
    }
}

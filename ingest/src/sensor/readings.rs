//! What is made of a sensor's answers: readings by its mapping, and of them what is news.

use std::fmt::Display;
use std::time::{Duration, Instant};

use touchline_core::dead::Desk;
use touchline_core::event::{Event, Stream};
use touchline_core::time::Timestamp;

use super::mapping::Reading;
use super::values::{ValueRules, Values, Verdict};
use super::{Mapping, SensorSource};
use crate::poll::{At, Failure, Harvest, Harvested, Note, ParkedAs, Trouble};
use crate::routes::RouteTable;

/// Between two lines about devices that count anew.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// The readings of one sensor source.
pub(super) struct Readings {
    name: Box<str>,
    rules: ValueRules,
    mapping: Mapping,
    values: Values,
    routes: RouteTable,
    routes_max: usize,
    /// When the log was told last of a device that counts anew.
    said_at: Option<Instant>,
}

impl Readings {
    pub fn of(source: &SensorSource) -> Self {
        let values = Values::new(&source.ask.name, source.rules);
        let (name, rules) = (source.ask.name.clone(), source.rules);
        let (mapping, routes_max) = (source.mapping.clone(), source.routes_max);
        let routes = RouteTable::default();
        Self { name, rules, mapping, values, routes, routes_max, said_at: None }
    }

    fn say_restarted(&mut self, reading: &Reading, now: Instant) {
        if self.said_at.is_some_and(|said| now < said + SAY_EVERY) {
            return;
        }
        self.said_at = Some(now);
        let (source, key) = (&*self.name, &*reading.key);
        tracing::warn!(source, key, sequence = reading.sequence, "a device counts anew");
    }
}

impl Harvest for Readings {
    const PARKED: ParkedAs =
        ParkedAs { desk: Desk::Sensor, stream: Stream::Sensor, is_whole: true };

    fn read(&mut self, raw: &[u8], at: &At<'_>, note: &mut Note<'_>) -> Result<Harvested, Failure> {
        let unfit = |trouble: Trouble, why: &dyn Display| Failure {
            raw: raw.to_vec(),
            ..Failure::new(trouble, why)
        };
        let answer =
            serde_json::from_slice(raw).map_err(|error| unfit(Trouble::BadJson, &error))?;
        let readings = self.mapping.readings(&answer);
        let readings = readings.map_err(|error| unfit(Trouble::BadReading, &error))?;
        let mut harvested = Harvested::default();
        self.values.begin_answer();
        for reading in readings {
            let reading = match reading {
                Ok(reading) => reading,
                Err(error) => {
                    note(Trouble::BadReading, &error);
                    continue;
                }
            };
            if !self.routes.admit_one(&reading.route, self.routes_max, at.received_at) {
                note(Trouble::TooManyRoutes, &reading.route.as_str());
                continue;
            }
            match self.values.judge(&reading, at) {
                Verdict::News(event) => harvested.news.push(*event),
                Verdict::Restarted(event) => {
                    self.say_restarted(&reading, at.now);
                    harvested.restarts += 1;
                    harvested.news.push(*event);
                }
                Verdict::Unchanged => harvested.unchanged += 1,
                Verdict::TooOld => {
                    let at = reading.measured_at.unwrap_or(at.received_at).to_rfc3339();
                    note(Trouble::TooOld, &format_args!("{}: measured at {at}", reading.key));
                }
                Verdict::Backwards => note(Trouble::Backwards, &reading.key),
                Verdict::Standing => note(Trouble::Standing, &reading.key),
                Verdict::Full => note(Trouble::TooManyKeys, &reading.key),
            }
        }
        Ok(harvested)
    }

    fn forget(&mut self, event: &Event) {
        self.values.forget(event);
    }

    fn say_again(&mut self, event: &Event, received_at: Timestamp) -> Option<Event> {
        self.values.say_again(event, received_at)
    }

    fn reused(&mut self, event: &Event, _: Timestamp) {
        self.values.rename(event);
    }

    fn start_over(&mut self) {
        self.values = Values::new(&self.name, self.rules);
    }

    fn skew(&self) -> Option<i64> {
        self.values.skew()
    }

    fn still_since(&self) -> Option<Instant> {
        self.values.still_since()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sensor::testing;

    #[test]
    fn a_device_that_invents_sets_of_teams_is_limited_and_what_it_named_before_goes_on() {
        let mut readings = Readings::of(&testing::source());
        let mut read = |teams: std::ops::Range<u32>, n: u32| {
            let reading = |team| format!(r#"{{"team":"t{team}","key":"mast","n":{n},"v":{n}}}"#);
            let all: Vec<String> = teams.map(reading).collect();
            let at = At::new(Timestamp(1_780_000_000_000_000), Instant::now(), "c");
            let mut troubles = Vec::new();
            let raw = format!(r#"{{"r":[{}]}}"#, all.join(","));
            let mut note = |trouble: Trouble, _: &dyn Display| troubles.push(trouble);
            let news = readings.read(raw.as_bytes(), &at, &mut note).unwrap().news.len();
            assert!(troubles.iter().all(|it| *it == Trouble::TooManyRoutes), "{troubles:?}");
            (news, troubles.len())
        };
        assert_eq!(read(0..64, 1), (64, 0));
        assert_eq!(read(60..100, 2), (4, 36), "one that is known is no new one");
        assert_eq!(read(0..64, 3), (64, 0));
    }
}

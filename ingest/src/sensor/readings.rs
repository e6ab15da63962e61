//! What is made of a sensor's answers: readings by its mapping, and of them what is news.

use std::fmt::Display;

use touchline_core::event::Event;
use touchline_core::time::Timestamp;

use super::follow::{At, Harvest, Harvested, Note};
use super::values::{ValueRules, Values, Verdict};
use super::{Failure, Mapping, SensorSource, Trouble};

/// The readings of one sensor source.
pub(super) struct Readings {
    name: Box<str>,
    rules: ValueRules,
    mapping: Mapping,
    values: Values,
}

impl Readings {
    pub fn of(source: &SensorSource) -> Self {
        let values = Values::new(&source.name, source.rules);
        let (name, rules) = (source.name.clone(), source.rules);
        Self { name, rules, mapping: source.mapping.clone(), values }
    }
}

impl Harvest for Readings {
    fn read(&mut self, raw: &[u8], at: &At<'_>, note: &mut Note<'_>) -> Result<Harvested, Failure> {
        let unfit = |trouble: Trouble, why: &dyn Display| Failure {
            trouble,
            why: why.to_string().into(),
            raw: raw.to_vec(),
        };
        let answer =
            serde_json::from_slice(raw).map_err(|error| unfit(Trouble::BadJson, &error))?;
        let readings = self.mapping.readings(&answer);
        let readings = readings.map_err(|error| unfit(Trouble::BadReading, &error))?;
        let mut harvested = Harvested::default();
        for reading in readings {
            let reading = match reading {
                Ok(reading) => reading,
                Err(error) => {
                    note(Trouble::BadReading, &error);
                    continue;
                }
            };
            match self.values.judge(&reading, at.received_at, at.tick, at.correlation) {
                Verdict::News(event) => harvested.news.push(*event),
                Verdict::Unchanged => harvested.unchanged += 1,
                Verdict::TooOld => note(Trouble::TooOld, &reading.key),
                Verdict::Backwards => note(Trouble::Backwards, &reading.key),
                Verdict::Standing => note(Trouble::Standing, &reading.key),
                Verdict::Full => note(Trouble::TooManyKeys, &reading.key),
            }
        }
        Ok(harvested)
    }

    fn keep(&mut self, event: &Event, at: Timestamp) {
        self.values.keep(event, at);
    }

    fn forget(&mut self, event: &Event) {
        self.values.forget(event);
    }

    fn start_over(&mut self) {
        self.values = Values::new(&self.name, self.rules);
    }

    fn skew(&self) -> Option<i64> {
        self.values.skew()
    }
}

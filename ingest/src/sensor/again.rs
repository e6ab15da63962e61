//! An answer that was kept because it could not be used, and is looked at again.

use std::time::Instant;

use touchline_core::event::Event;
use touchline_core::time::Timestamp;

use super::SensorSource;
use super::values::{Values, Verdict};
use crate::poll::{At, Failure, Trouble};

impl SensorSource {
    /// The events of an answer that came at `received_at` and is looked at again: as if nothing had
    /// been published before it. Whether their values are still worth something is the caller's to
    /// say, by [`ValueRules::age_max`](super::ValueRules).
    ///
    /// # Errors
    /// It still can't be used, as a whole or in one of its readings.
    pub fn events_of(
        &self,
        raw: &[u8],
        received_at: Timestamp,
        correlation: &str,
    ) -> Result<Vec<Event>, Failure> {
        let answer = serde_json::from_slice(raw);
        let answer = answer.map_err(|error| Failure::new(Trouble::BadJson, error))?;
        let bad = |error| Failure::new(Trouble::BadReading, error);
        let at = At::new(received_at, Instant::now(), correlation);
        let mut values = Values::new(&self.ask.name, self.rules);
        let mut events = Vec::new();
        for reading in self.mapping.readings(&answer).map_err(bad)? {
            match values.judge(&reading.map_err(bad)?, &at) {
                Verdict::News(event) | Verdict::Restarted(event) => events.push(*event),
                Verdict::Full => {
                    let why = "more keys than one source may have";
                    return Err(Failure::new(Trouble::TooManyKeys, why));
                }
                // Within one answer: said twice, or older than what stands before it.
                Verdict::Unchanged | Verdict::TooOld | Verdict::Backwards | Verdict::Standing => {}
            }
        }
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sensor::testing;

    #[test]
    fn an_answer_that_comes_again_has_the_ids_it_had_and_is_refused_while_it_is_wrong() {
        let source = testing::source();
        let again = |raw: &str| source.events_of(raw.as_bytes(), Timestamp(7_000_000), "c");
        let events = again(r#"{"r":[{"team":"ars","key":"mast","n":7,"v":1}]}"#).unwrap();
        assert_eq!((&*events[0].id, &*events[0].source), ("ars/mast:7", "emirates"));
        assert_eq!(events[0].occurred_at, Timestamp(7_000_000));
        assert_eq!(again("<html>").unwrap_err().trouble, Trouble::BadJson);
        let both = r#"{"r":[{"team":"ars","key":"a","n":7,"v":1},{"team":"ars"}]}"#;
        assert_eq!(again(both).unwrap_err().trouble, Trouble::BadReading);
    }
}

//! Answers of a source that can't be used: where they are kept, and how they come again.
//!
//! What a source says wrong is parked with its bytes, once a minute for each reason: a device that
//! is wrong at all says so ten times a second. A source that ails (no connection, too late, 5xx)
//! parks nothing, for there is nothing to look at. Of a device the whole answer is kept, also where
//! one reading of it is wrong; of a partner whose answer can be read, who reads it keeps the items.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use touchline_core::dead::{DeadLetter, DeadLetters, Desk};
use touchline_core::event::{Event, Stream};
use touchline_core::time::Timestamp;

use super::SensorSource;
use super::fetch::Failure;
use super::follow::{At, tick_at};
use super::stats::Trouble;
use super::values::{Values, Verdict};

/// Between two letters of one reason.
const PARK_EVERY: Duration = Duration::from_secs(60);

/// Parks what one source says wrong.
pub(super) struct Parking {
    source: Box<str>,
    desk: Desk,
    stream: Stream,
    dead: Arc<dyn DeadLetters>,
    /// When each reason was parked last.
    parked: HashMap<&'static str, Timestamp>,
}

impl Parking {
    /// Of a device.
    pub fn of_sensor(source: &str, dead: Arc<dyn DeadLetters>) -> Self {
        Self::new(source, Desk::Sensor, Stream::Sensor, dead)
    }

    /// Of a partner that is polled: its answers come again as webhooks' bodies do.
    pub fn of_partner(source: &str, dead: Arc<dyn DeadLetters>) -> Self {
        Self::new(source, Desk::Webhook, Stream::Broadcast, dead)
    }

    fn new(source: &str, desk: Desk, stream: Stream, dead: Arc<dyn DeadLetters>) -> Self {
        Self { source: source.into(), desk, stream, dead, parked: HashMap::new() }
    }

    /// Whether an answer is kept whole for what is wrong with a part of it.
    pub fn keeps_parts_whole(&self) -> bool {
        self.desk == Desk::Sensor
    }

    /// Parks what came at `now`, unless the device merely ails or said as much a moment ago.
    pub fn park(&mut self, failure: Failure, now: Timestamp, correlation: &str) {
        let reason = failure.trouble.as_str();
        let last = self.parked.get(reason);
        // A clock that was set back parks again.
        let is_near = last.is_some_and(|last| now >= *last && now < last.plus(PARK_EVERY));
        if !is_own_fault(failure.trouble) || is_near {
            return;
        }
        self.parked.insert(reason, now);
        self.dead.park(DeadLetter {
            desk: self.desk,
            stream: self.stream,
            source: self.source.clone(),
            reason,
            detail: failure.why,
            attempts: 1,
            correlation: correlation.into(),
            received_at: now,
            raw: failure.raw.into(),
        });
    }
}

/// Whether the answer is wrong, rather than late or missing.
fn is_own_fault(trouble: Trouble) -> bool {
    matches!(
        trouble,
        Trouble::BadJson | Trouble::BadReading | Trouble::ContentType | Trouble::TooLarge
    )
}

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
        let (now, tick) = (Instant::now(), tick_at(received_at));
        let at = At { received_at, now, tick, correlation };
        let mut values = Values::new(&self.name, self.rules);
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
    use crate::breaker::BreakerRules;
    use crate::sensor::mapping::{From, Mapping};
    use crate::sensor::values::ValueRules;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Shelf(Mutex<Vec<DeadLetter>>);

    impl DeadLetters for Shelf {
        fn park(&self, letter: DeadLetter) {
            self.0.lock().unwrap().push(letter);
        }
    }

    fn failure(trouble: Trouble) -> Failure {
        Failure { raw: b"<html>".to_vec(), ..Failure::new(trouble, "why") }
    }

    #[test]
    fn fault_26_a_minute_has_one_letter_of_each_reason_and_none_of_what_merely_ails() {
        let shelf = Arc::new(Shelf::default());
        let mut parking = Parking::of_sensor("emirates", shelf.clone());
        for second in 0..61 {
            for (trouble, _) in Trouble::ALL {
                parking.park(failure(trouble), Timestamp(second * 1_000_000), "c");
            }
        }
        let letters = shelf.0.lock().unwrap();
        let mut reasons: Vec<_> = letters.iter().map(|it| it.reason).collect();
        reasons.sort_unstable();
        let twice = |reason| [reason; 2];
        let want = ["bad_json", "bad_reading", "content_type", "too_large"].map(twice).concat();
        assert_eq!(reasons, want, "at 0 s and at 60 s");
        assert_eq!((letters[0].desk, &letters[0].raw[..]), (Desk::Sensor, &b"<html>"[..]));
    }

    #[test]
    fn an_answer_that_comes_again_has_the_ids_it_had_and_is_refused_while_it_is_wrong() {
        let source = SensorSource {
            name: "emirates".into(),
            url: "http://127.0.0.1/".into(),
            interval: Duration::from_millis(100),
            timeout: Duration::from_millis(80),
            headers: Vec::new(),
            body_bytes_max: 1 << 10,
            rules: ValueRules {
                age_max: Duration::from_secs(10),
                heartbeat: Duration::from_secs(5),
            },
            mapping: Mapping {
                items: "/r".into(),
                team: From::parse("/team"),
                kind: From::parse("wind"),
                key: From::parse("/key"),
                sequence: Some(From::parse("/n")),
                time: None,
                value: From::parse("/v"),
            },
            breaker: BreakerRules {
                failures: 5,
                open_first: Duration::from_secs(1),
                open_max: Duration::from_secs(1),
            },
        };
        let again = |raw: &str| source.events_of(raw.as_bytes(), Timestamp(7_000_000), "c");
        let events = again(r#"{"r":[{"team":"ars","key":"mast","n":7,"v":1}]}"#).unwrap();
        assert_eq!((&*events[0].id, &*events[0].source), ("ars/mast:7", "emirates"));
        assert_eq!(events[0].occurred_at, Timestamp(7_000_000));
        assert_eq!(again("<html>").unwrap_err().trouble, Trouble::BadJson);
        let both = r#"{"r":[{"team":"ars","key":"a","n":7,"v":1},{"team":"ars"}]}"#;
        assert_eq!(again(both).unwrap_err().trouble, Trouble::BadReading);
    }
}

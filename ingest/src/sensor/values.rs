//! Which of a source's readings are news (R20): what has changed, and what clients would soon take
//! for stale if it were not said again.
//!
//! [`Values`] remembers the last published reading of each (route, key). [`Values::judge`] says
//! what
//! a reading is worth; [`Values::keep`] is told when it is handed to the log, and
//! [`Values::forget`] if the log refuses it: then it is news again at the next tick.
//!
//! # Clocks
//! Devices' clocks are off, by hours at times. The least delay between a device's time and ours
//! over the last minute is taken for what the clocks differ by; where that is more than a network
//! makes up for, times are corrected by it. An age is what a reading is late beyond that.

use std::collections::HashMap;
use std::time::Duration;

use touchline_core::event::{Event, Route, SensorKey, Stream};
use touchline_core::time::Timestamp;
use xxhash_rust::xxh3::xxh3_64;

use super::mapping::Reading;
use crate::limits::KEYS_MAX;

/// Clocks that differ by less are taken to agree: it is the network's delay.
const TRUSTED_US: i64 = 2_000_000;
/// How long a delay counts for the estimate, and again as long.
const SKEW_PERIOD_US: i64 = 30_000_000;

/// What readings are judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueRules {
    /// Older readings are dropped.
    pub age_max: Duration,
    /// A value that doesn't change is said again so often.
    pub heartbeat: Duration,
}

/// What a reading is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is to be published.
    News(Box<Event>),
    /// It says what was said lately.
    Unchanged,
    /// It was measured too long ago.
    TooOld,
    /// Its sequence is below the last one.
    Backwards,
    /// It says something else under the same sequence.
    Standing,
    /// There are more keys than one source may have.
    Full,
}

/// The last published readings of one source.
#[derive(Debug)]
pub struct Values {
    source: Box<str>,
    rules: ValueRules,
    known: HashMap<(Route, Box<str>), Known>,
    /// By key: behind one address may stand several devices, each with a clock of its own.
    skews: HashMap<Box<str>, Skew>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    sequence: Option<u64>,
    data: u64,
    published_at: Timestamp,
}

impl Values {
    /// Of the source of that name, which has published nothing.
    pub fn new(source: &str, rules: ValueRules) -> Self {
        Self { source: source.into(), rules, known: HashMap::new(), skews: HashMap::new() }
    }

    /// Keys it has published.
    pub fn keys(&self) -> usize {
        self.known.len()
    }

    /// What the clock that is furthest off is behind ours (ahead, if negative).
    pub fn skew(&self) -> Option<i64> {
        self.skews.values().filter_map(Skew::estimate).max_by_key(|skew| skew.abs())
    }

    /// Judges a reading that came at `received_at`, in the answer to the tick of that number.
    pub fn judge(
        &mut self,
        reading: &Reading,
        received_at: Timestamp,
        tick: u64,
        correlation: &str,
    ) -> Verdict {
        let skew = reading.measured_at.and_then(|at| self.note_skew(reading, at, received_at));
        let offset = skew.filter(|by| by.abs() > TRUSTED_US).unwrap_or(0);
        let occurred_at = reading.measured_at.map_or(received_at, |at| Timestamp(at.0 + offset));
        let age_us = received_at.0 - occurred_at.0;
        if age_us > i64::try_from(self.rules.age_max.as_micros()).unwrap_or(i64::MAX) {
            return Verdict::TooOld;
        }
        let known = self.known.get(&(reading.route.clone(), reading.key.clone())).copied();
        let mut id = id_of(reading, tick);
        match known {
            None if self.known.len() >= KEYS_MAX => return Verdict::Full,
            None => {}
            Some(known) => match self.compare(reading, &known, received_at) {
                Ok(is_repeat) if is_repeat => {
                    // The same on every node that says it again in this heartbeat.
                    let heartbeat_us = self.rules.heartbeat.as_micros().max(1) as i64;
                    id = format!("{id}~{}", received_at.0 / heartbeat_us);
                }
                Ok(_) => {}
                Err(verdict) => return verdict,
            },
        }
        Verdict::News(Box::new(Event {
            stream: Stream::Sensor,
            source: self.source.clone(),
            id: id.into(),
            route: reading.route.clone(),
            kind: reading.kind.clone(),
            occurred_at: occurred_at.min(received_at),
            data: reading.data.clone().into(),
            lang: None,
            supersedes: None,
            sensor: Some(SensorKey { key: reading.key.clone(), sequence: reading.sequence }),
            correlation: correlation.into(),
        }))
    }

    fn note_skew(&mut self, reading: &Reading, at: Timestamp, now: Timestamp) -> Option<i64> {
        if !self.skews.contains_key(&reading.key) {
            if self.skews.len() >= KEYS_MAX {
                return None;
            }
            self.skews.insert(reading.key.clone(), Skew::default());
        }
        let skew = self.skews.get_mut(&reading.key)?;
        skew.note(now.0 - at.0, now);
        skew.estimate()
    }

    /// Against what is known of its key: whether it repeats what was said, or why it is no news.
    fn compare(
        &self,
        reading: &Reading,
        known: &Known,
        received_at: Timestamp,
    ) -> Result<bool, Verdict> {
        let is_same = known.data == xxh3_64(&reading.data);
        let is_due = received_at >= known.published_at.plus(self.rules.heartbeat);
        match (known.sequence, reading.sequence) {
            (Some(last), Some(now)) if now < last => Err(Verdict::Backwards),
            (Some(last), Some(now)) if now == last && !is_same => Err(Verdict::Standing),
            _ if is_same && !is_due => Err(Verdict::Unchanged),
            _ => Ok(is_same),
        }
    }

    /// The log has refused `event`: whatever its key says next is news.
    pub fn forget(&mut self, event: &Event) {
        if let Some(sensor) = &event.sensor {
            self.known.remove(&(event.route.clone(), sensor.key.clone()));
        }
    }

    /// `event` is handed to the log, at `published_at`.
    pub fn keep(&mut self, event: &Event, published_at: Timestamp) {
        let Some(sensor) = &event.sensor else { return };
        let known = Known { sequence: sensor.sequence, data: xxh3_64(&event.data), published_at };
        self.known.insert((event.route.clone(), sensor.key.clone()), known);
    }
}

/// The key and the device's sequence, else its time, else the tick's (R20).
fn id_of(reading: &Reading, tick: u64) -> String {
    let key = &reading.key;
    match (reading.sequence, reading.measured_at) {
        (Some(sequence), _) => format!("{key}:{sequence}"),
        (None, Some(at)) => format!("{key}:@{}", at.0),
        (None, None) => format!("{key}:#{tick}"),
    }
}

/// The least delay lately.
#[derive(Debug, Default)]
struct Skew {
    /// Since when, and the least since then.
    now: Option<(Timestamp, i64)>,
    before: Option<i64>,
}

impl Skew {
    fn note(&mut self, delay_us: i64, at: Timestamp) {
        match &mut self.now {
            Some((since, least)) if at.0 - since.0 < SKEW_PERIOD_US => {
                *least = delay_us.min(*least)
            }
            now => {
                self.before = now.map(|(_, least)| least);
                *now = Some((at, delay_us));
            }
        }
    }

    fn estimate(&self) -> Option<i64> {
        let (_, now) = self.now?;
        Some(self.before.map_or(now, |before| before.min(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;
    const NOON: i64 = 1_000_000 * SECOND;

    fn values() -> Values {
        let rules =
            ValueRules { age_max: Duration::from_secs(10), heartbeat: Duration::from_secs(5) };
        Values::new("emirates", rules)
    }

    fn reading(sequence: Option<u64>, at_s: Option<i64>, data: &str) -> Reading {
        Reading {
            route: Route::parse("ars").unwrap(),
            kind: "wind".into(),
            key: "mast".into(),
            sequence,
            measured_at: at_s.map(|s| Timestamp(NOON + s * SECOND)),
            data: data.as_bytes().to_vec(),
        }
    }

    /// Judges at a second after noon, and keeps what is news.
    fn take(it: &mut Values, reading: &Reading, at_s: i64) -> Result<String, Verdict> {
        let at = Timestamp(NOON + at_s * SECOND);
        match it.judge(reading, at, at_s as u64, "c") {
            Verdict::News(event) => {
                it.keep(&event, at);
                Ok(event.id.to_string())
            }
            other => Err(other),
        }
    }

    #[test]
    fn only_changes_are_news_and_what_stays_is_said_again_before_it_is_stale() {
        let mut it = values();
        assert_eq!(take(&mut it, &reading(Some(1), None, "{}"), 0).unwrap(), "mast:1");
        assert_eq!(take(&mut it, &reading(Some(2), None, "{}"), 1), Err(Verdict::Unchanged));
        assert_eq!(take(&mut it, &reading(Some(3), None, "[]"), 2).unwrap(), "mast:3");
        assert_eq!(take(&mut it, &reading(Some(3), None, "[]"), 6), Err(Verdict::Unchanged));
        let again = take(&mut it, &reading(Some(3), None, "[]"), 7).unwrap();
        assert_eq!(again, format!("mast:3~{}", (NOON + 7 * SECOND) / (5 * SECOND)), "its own id");
    }

    #[test]
    fn an_id_is_the_sequence_else_the_time_else_the_tick() {
        let mut it = values();
        let by_time = take(&mut it, &reading(None, Some(1), "1"), 1).unwrap();
        assert_eq!(by_time, format!("mast:@{}", NOON + SECOND));
        assert_eq!(take(&mut it, &reading(None, None, "2"), 9).unwrap(), "mast:#9");
    }

    #[test]
    fn sequences_that_go_back_or_stand_still_are_noticed() {
        let mut it = values();
        take(&mut it, &reading(Some(5), None, "1"), 0).unwrap();
        assert_eq!(take(&mut it, &reading(Some(4), None, "2"), 1), Err(Verdict::Backwards));
        assert_eq!(take(&mut it, &reading(Some(5), None, "2"), 1), Err(Verdict::Standing));
        assert!(take(&mut it, &reading(Some(6), None, "2"), 1).is_ok());
    }

    #[test]
    fn what_the_log_refused_is_tried_again() {
        let mut it = values();
        let one = reading(Some(1), None, "1");
        let at = Timestamp(NOON);
        let Verdict::News(event) = it.judge(&one, at, 0, "c") else { panic!("news") };
        it.keep(&event, at);
        assert_eq!(it.judge(&one, at, 1, "c"), Verdict::Unchanged);
        it.forget(&event);
        assert!(matches!(it.judge(&one, at, 2, "c"), Verdict::News(_)));
    }

    #[test]
    fn a_clock_that_is_an_hour_off_is_measured_and_corrected() {
        for off_s in [-3_600, 3_600] {
            let mut it = values();
            for s in 0..5 {
                let late = reading(None, Some(s + off_s), &s.to_string());
                let at = Timestamp(NOON + s * SECOND);
                let Verdict::News(event) = it.judge(&late, at, 0, "c") else { panic!("{off_s}") };
                assert_eq!(event.occurred_at, at, "by our clock");
                it.keep(&event, at);
            }
            assert_eq!(it.skew(), Some(-off_s * SECOND));
            let stale = reading(None, Some(off_s - 20), "stale");
            assert_eq!(take(&mut it, &stale, 5), Err(Verdict::TooOld), "25 s by its own clock");
        }
    }

    #[test]
    fn a_delay_of_the_network_is_no_skew() {
        let mut it = values();
        let at = Timestamp(NOON + SECOND);
        let Verdict::News(event) = it.judge(&reading(None, Some(0), "1"), at, 0, "c") else {
            panic!("news")
        };
        assert_eq!(event.occurred_at, Timestamp(NOON));
    }
}

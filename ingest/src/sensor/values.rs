//! Which of a source's readings are news (R20): what has changed, and what clients would soon take
//! for stale if it were not said again.
//!
//! [`Values`] remembers the last reading of each (route, key) that was news.
//! [`Values::judge`] says what a reading is worth, and remembers it where it is news;
//! [`Values::forget`] is told if the log refuses it: then it is news again, under the same id.
//!
//! # Ids
//! Route and key, then the device's sequence, else its time, else the tick's: `ars/mast:7`. Where
//! that was said before with other content (the device counts anew, or changes faster than its
//! time), the tick is added: `ars/mast:7.1782324000000`. A value that is said again has the number
//! of the heartbeat: `ars/mast:7~356464800`.
//!
//! # Taking over
//! Whoever asks a device first, after a start or after another node, knows nothing of when a value
//! was published last. Its first value of a key may be a repeat to the log, which says nothing to
//! anybody: then it is said again at once, for the last time it was said may be long ago by now.
//!
//! # Devices that count anew
//! A sequence below the last is dropped, for it may be an answer that was under way for long. It is
//! a new run of the device where so many answers in a row are below and rise among themselves, or
//! where nothing could be taken for [`ValueRules::age_max`].
//!
//! # Devices that are frozen
//! One that says the same number and the same value for ever is no news and no trouble: only
//! [`Values::still_since`] tells it from a calm. It looks at the key that stands longest, of those
//! in the last answer: where a device counts what it measures every number moves with every answer,
//! however calm it is, and one frozen mast of ten shows. The key that moved last would tell nothing
//! before all ten are frozen.
//!
//! # Clocks
//! Devices' clocks are off, by hours at times: see `skew`. An age is what a reading is late beyond
//! that. Heartbeats go by monotonic time.

mod known;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use touchline_core::event::{Event, Route, SensorKey, Stream};
use touchline_core::time::Timestamp;

use self::known::{Course, Fate, Known, id_of};
use super::mapping::Reading;
use super::skew::Skews;
use crate::limits::{KEY_IDLE_MAX, KEYS_MAX};
use crate::poll::At;

/// Clocks that differ by less are taken to agree: it is the network's delay.
pub(super) const TRUSTED_US: i64 = 2_000_000;
/// Between two looks for keys that aren't seen any more.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

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
    /// It is to be published, and is the first of a device that counts anew.
    Restarted(Box<Event>),
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

/// The last readings of one source that were news.
#[derive(Debug)]
pub struct Values {
    source: Box<str>,
    rules: ValueRules,
    known: HashMap<(Route, Box<str>), Known>,
    skews: Skews,
    swept_at: Option<Instant>,
    still_since: Option<Instant>,
}

impl Values {
    /// Of the source of that name, which has published nothing.
    pub fn new(source: &str, rules: ValueRules) -> Self {
        let (known, skews) = (HashMap::new(), Skews::default());
        Self { source: source.into(), rules, known, skews, swept_at: None, still_since: None }
    }

    /// Readings of another answer follow.
    pub(super) fn begin_answer(&mut self) {
        self.still_since = None;
    }

    /// Since when the sequence of some key of the last answer has stood still; `None`: it holds no
    /// sequence.
    pub fn still_since(&self) -> Option<Instant> {
        self.still_since
    }

    /// What the clock that is furthest off is behind ours (ahead, if negative).
    pub fn skew(&self) -> Option<i64> {
        self.skews.furthest()
    }

    /// Judges a reading of an answer that came at `at`.
    pub(super) fn judge(&mut self, reading: &Reading, at: &At<'_>) -> Verdict {
        self.skews.look(at);
        self.sweep(at.now);
        let slot = (reading.route.clone(), reading.key.clone());
        let is_full = self.known.len() >= KEYS_MAX;
        let (course, moved_at) = match self.known.get_mut(&slot) {
            Some(known) => (known.course(reading, at, self.rules.age_max), known.moved_at),
            None if is_full => return Verdict::Full,
            None => (Course::Forward, at.now),
        };
        if reading.sequence.is_some() {
            self.still_since = Some(self.still_since.map_or(moved_at, |it| it.min(moved_at)));
        }
        match course {
            Course::Backwards => return Verdict::Backwards,
            Course::Standing => return Verdict::Standing,
            Course::NewRun => self.skews.forget(&reading.key),
            Course::Forward => {}
        }
        let Some(occurred_at) = self.time_of(reading, at) else { return Verdict::TooOld };
        let id = match self.known.get_mut(&slot) {
            None => {
                let id = id_of(reading, None, at.tick);
                self.known.insert(slot, Known::new(reading, &id, at));
                id
            }
            Some(known) => match known.take(reading, course, at, self.rules.heartbeat) {
                Some(id) => id,
                None => return Verdict::Unchanged,
            },
        };
        let event = Box::new(self.event(reading, id, occurred_at, at));
        if course == Course::NewRun { Verdict::Restarted(event) } else { Verdict::News(event) }
    }

    /// When a reading was measured, by our clock; `None`: too long ago.
    fn time_of(&mut self, reading: &Reading, at: &At<'_>) -> Option<Timestamp> {
        let Some(measured_at) = reading.measured_at else { return Some(at.received_at) };
        let skew = self.skews.note(&reading.key, measured_at, at);
        let offset = skew.filter(|by| by.abs() > TRUSTED_US).unwrap_or(0);
        let occurred_at = Timestamp(measured_at.0.saturating_add(offset));
        let age_max = i64::try_from(self.rules.age_max.as_micros()).unwrap_or(i64::MAX);
        let is_old = at.received_at.0.saturating_sub(occurred_at.0) > age_max;
        (!is_old).then_some(occurred_at.min(at.received_at))
    }

    fn event(&self, reading: &Reading, id: Box<str>, at: Timestamp, seen: &At<'_>) -> Event {
        Event {
            stream: Stream::Sensor,
            source: self.source.clone(),
            id,
            route: reading.route.clone(),
            kind: reading.kind.clone(),
            occurred_at: at,
            data: reading.data.clone().into(),
            lang: None,
            supersedes: None,
            sensor: Some(SensorKey { key: reading.key.clone(), sequence: reading.sequence }),
            trace: None,
            correlation: seen.correlation.into(),
        }
    }

    /// The log has not taken `event`: it is news again, under the id it had.
    pub fn forget(&mut self, event: &Event) {
        self.set_fate(event, Fate::Refused);
    }

    /// The log knows the id of `event` under other content: it is news again, under another.
    pub fn rename(&mut self, event: &Event) {
        self.set_fate(event, Fate::Reused);
    }

    /// The log has `event`, of an answer that came at `received_at`, already. If it is the first of
    /// its key, nobody knows for how long: what says it again.
    pub fn say_again(&mut self, event: &Event, received_at: Timestamp) -> Option<Event> {
        let sensor = event.sensor.as_ref()?;
        let known = self.known.get_mut(&(event.route.clone(), sensor.key.clone()))?;
        let id = known.again(&event.id, received_at, self.rules.heartbeat)?;
        Some(Event { id: id.into(), ..event.clone() })
    }

    fn set_fate(&mut self, event: &Event, fate: Fate) {
        let Some(sensor) = &event.sensor else { return };
        // If its key has said something else since, that counts.
        if let Some(known) = self.known.get_mut(&(event.route.clone(), sensor.key.clone()))
            && known.id == event.id
        {
            known.fate = fate;
        }
    }

    /// Forgets keys that weren't seen for long; once a minute, over [`KEYS_MAX`] at most.
    fn sweep(&mut self, now: Instant) {
        let is_due = self.swept_at.is_none_or(|swept| now >= swept + SWEEP_EVERY);
        if !is_due {
            return;
        }
        self.swept_at = Some(now);
        if let Some(oldest) = now.checked_sub(KEY_IDLE_MAX) {
            self.known.retain(|_, known| known.seen_at >= oldest);
            self.skews.forget_before(oldest);
        }
    }
}

#[cfg(test)]
mod tests;

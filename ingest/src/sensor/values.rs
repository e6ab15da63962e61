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
//! # Devices that count anew
//! A sequence below the last is dropped, for it may be an answer that was under way for long. It is
//! a new run of the device where so many answers in a row are below and rise among themselves, or
//! where nothing could be taken for [`ValueRules::age_max`].
//!
//! # Clocks
//! Devices' clocks are off, by hours at times: see `skew`. An age is what a reading is late beyond
//! that. Heartbeats go by monotonic time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use touchline_core::event::{Event, Route, SensorKey, Stream};
use touchline_core::limits::ID_BYTES_MAX;
use touchline_core::time::Timestamp;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::mapping::Reading;
use super::skew::Skews;
use crate::limits::{KEY_IDLE_MAX, KEYS_MAX};
use crate::poll::At;

/// Clocks that differ by less are taken to agree: it is the network's delay.
const TRUSTED_US: i64 = 2_000_000;
/// Answers in a row with sequences below the last, rising, that make a new run.
const RISES: u32 = 3;
/// Between two looks for keys that aren't seen any more.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Of an id that would be too long: so much of it, and a hash of the whole.
const ID_HEAD_BYTES: usize = ID_BYTES_MAX - 33;

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
}

#[derive(Debug)]
struct Known {
    sequence: Option<u64>,
    measured_at: Option<Timestamp>,
    data: u64,
    id: Box<str>,
    published_at: Instant,
    /// When a reading was news or unchanged, rather than dropped.
    taken_at: Instant,
    seen_at: Instant,
    fate: Fate,
    /// What is added to ids since the device counts anew.
    mark: Option<u64>,
    /// The last tick and the last heartbeat in an id: a clock that is set back repeats none.
    stamp: u64,
    repeat: u64,
    back: Option<Back>,
}

/// What the log makes of the last reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It has taken it, or will.
    Taken,
    /// It may be tried again.
    Refused,
    /// Its id stands for something else.
    Reused,
}

/// Sequences below the last one, since one was taken.
#[derive(Clone, Copy, Debug)]
struct Back {
    tick: u64,
    sequence: u64,
    rises: u32,
}

/// How a reading follows the last one by its sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    Forward,
    NewRun,
    Backwards,
    Standing,
}

impl Values {
    /// Of the source of that name, which has published nothing.
    pub fn new(source: &str, rules: ValueRules) -> Self {
        let (known, skews) = (HashMap::new(), Skews::default());
        Self { source: source.into(), rules, known, skews, swept_at: None }
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
        let course = match self.known.get_mut(&slot) {
            Some(known) => known.course(reading, at, self.rules.age_max),
            None if is_full => return Verdict::Full,
            None => Course::Forward,
        };
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

impl Known {
    fn new(reading: &Reading, id: &str, at: &At<'_>) -> Self {
        Self {
            sequence: reading.sequence,
            measured_at: reading.measured_at,
            data: xxh3_64(&reading.data),
            id: id.into(),
            published_at: at.now,
            taken_at: at.now,
            seen_at: at.now,
            fate: Fate::Taken,
            mark: None,
            stamp: at.tick,
            repeat: 0,
            back: None,
        }
    }

    fn course(&mut self, reading: &Reading, at: &At<'_>, age_max: Duration) -> Course {
        self.seen_at = at.now;
        let (Some(last), Some(now)) = (self.sequence, reading.sequence) else {
            return Course::Forward;
        };
        let is_same = self.data == xxh3_64(&reading.data);
        if now < last {
            let is_late = at.now.saturating_duration_since(self.taken_at) >= age_max;
            let is_run = self.rises(now, at.tick) >= RISES && !self.is_before(reading);
            return if is_late || is_run { Course::NewRun } else { Course::Backwards };
        }
        match now == last && !is_same && self.fate == Fate::Taken {
            true => Course::Standing,
            false => Course::Forward,
        }
    }

    /// Answers in a row whose sequences are below the last and rise, with this one.
    fn rises(&mut self, sequence: u64, tick: u64) -> u32 {
        let rises = match self.back {
            // One answer counts once: it may list what was said before.
            Some(back) if back.tick == tick || back.sequence == sequence => return back.rises,
            Some(back) if back.sequence < sequence => back.rises + 1,
            _ => 1,
        };
        self.back = Some(Back { tick, sequence, rises });
        rises
    }

    /// Whether it was measured before the last one, by the device: then it is only late.
    fn is_before(&self, reading: &Reading) -> bool {
        let times = self.measured_at.zip(reading.measured_at);
        times.is_some_and(|(last, now)| now < last)
    }

    /// The id under which it is news; `None`: it repeats what was said.
    fn take(
        &mut self,
        reading: &Reading,
        course: Course,
        at: &At<'_>,
        heartbeat: Duration,
    ) -> Option<Box<str>> {
        (self.taken_at, self.back) = (at.now, None);
        let data = xxh3_64(&reading.data);
        let is_same = self.data == data && course == Course::Forward;
        let is_due = at.now.saturating_duration_since(self.published_at) >= heartbeat;
        let is_twin =
            is_same && (self.sequence, self.measured_at) == (reading.sequence, reading.measured_at);
        let id = match self.fate {
            Fate::Taken if is_same && !is_due => return None,
            Fate::Refused if is_twin => self.id.clone(),
            fate => self.new_id(reading, course, fate, is_same, at, heartbeat),
        };
        let (stamp, repeat, mark) = (self.stamp, self.repeat, self.mark);
        *self = Self { stamp, repeat, mark, ..Self::new(reading, &id, at) };
        Some(id)
    }

    fn new_id(
        &mut self,
        reading: &Reading,
        course: Course,
        fate: Fate,
        is_same: bool,
        at: &At<'_>,
        heartbeat: Duration,
    ) -> Box<str> {
        let is_same_time = reading.measured_at == self.measured_at;
        let stamp = at.tick.max(self.stamp + 1);
        self.mark = match (reading.sequence, reading.measured_at) {
            _ if course == Course::NewRun || fate == Fate::Reused => Some(stamp),
            (Some(_), _) => self.mark,
            (None, Some(_)) if is_same_time && is_same => self.mark,
            (None, Some(_)) if is_same_time => Some(stamp),
            _ => None,
        };
        self.stamp = stamp;
        let id = id_of(reading, self.mark, stamp);
        if !is_same || fate != Fate::Taken {
            return id;
        }
        // The same on every node that says it again in this heartbeat.
        let heartbeat_us = i64::try_from(heartbeat.as_micros()).unwrap_or(i64::MAX).max(1);
        let number = u64::try_from(at.received_at.0 / heartbeat_us).unwrap_or(0);
        self.repeat = number.max(self.repeat + 1);
        fitting(format!("{id}~{}", self.repeat))
    }
}

/// Route and key, and the device's sequence, else its time, else the tick's (R20).
fn id_of(reading: &Reading, mark: Option<u64>, tick: u64) -> Box<str> {
    let (route, key) = (reading.route.as_str(), &reading.key);
    let mark = mark.map_or(String::new(), |mark| format!(".{mark}"));
    fitting(match (reading.sequence, reading.measured_at) {
        (Some(sequence), _) => format!("{route}/{key}:{sequence}{mark}"),
        (None, Some(at)) => format!("{route}/{key}:@{}{mark}", at.0),
        (None, None) => format!("{route}/{key}:#{tick}"),
    })
}

/// An id of a length that it may have.
fn fitting(id: String) -> Box<str> {
    if id.len() <= ID_BYTES_MAX {
        return id.into();
    }
    let head = &id[..id.floor_char_boundary(ID_HEAD_BYTES)];
    format!("{head}-{:032x}", xxh3_128(id.as_bytes())).into()
}

#[cfg(test)]
mod tests;

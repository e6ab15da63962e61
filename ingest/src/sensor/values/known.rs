//! The last reading of one key: how the next follows it, and under which id that is news.

use std::time::{Duration, Instant};

use touchline_core::limits::ID_BYTES_MAX;
use touchline_core::time::Timestamp;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::poll::At;
use crate::sensor::mapping::Reading;

/// Answers in a row with sequences below the last, rising, that make a new run.
const RISES: u32 = 3;
/// How often a first value is said again that the log has already: whoever asked before may have
/// used the number of this heartbeat too, hardly those of the next.
const AGAIN_MAX: u8 = 3;
/// Of an id that would be too long: so much of it, and a hash of the whole.
const ID_HEAD_BYTES: usize = ID_BYTES_MAX - 33;

/// The last reading of one key that was news.
#[derive(Debug)]
pub(super) struct Known {
    sequence: Option<u64>,
    measured_at: Option<Timestamp>,
    data: u64,
    pub id: Box<str>,
    pub published_at: Instant,
    /// When a reading was news or unchanged, rather than dropped.
    taken_at: Instant,
    pub seen_at: Instant,
    pub fate: Fate,
    /// What is added to ids since the device counts anew.
    mark: Option<u64>,
    /// The last tick and the last heartbeat in an id: a clock that is set back repeats none.
    stamp: u64,
    repeat: u64,
    back: Option<Back>,
    /// The highest sequence of this run that was seen, news or not, and when it was first.
    highest: Option<u64>,
    pub moved_at: Instant,
    /// So often it may be said again at once. Of what isn't the first of its key: never.
    again: u8,
}

/// What the log makes of the last reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
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
pub(super) enum Course {
    Forward,
    NewRun,
    Backwards,
    Standing,
}

impl Known {
    pub fn new(reading: &Reading, id: &str, at: &At<'_>) -> Self {
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
            highest: reading.sequence,
            moved_at: at.now,
            again: AGAIN_MAX,
        }
    }

    pub fn course(&mut self, reading: &Reading, at: &At<'_>, age_max: Duration) -> Course {
        self.seen_at = at.now;
        if reading.sequence > self.highest {
            (self.highest, self.moved_at) = (reading.sequence, at.now);
        }
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
    pub fn take(
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
        let again = if self.id == id { self.again } else { 0 };
        let moved = (self.highest, self.moved_at);
        *self = Self { stamp, repeat, mark, again, ..Self::new(reading, &id, at) };
        if course != Course::NewRun {
            (self.highest, self.moved_at) = moved;
        }
        Some(id)
    }

    /// The id under which it is said again at once, as the log has `id` already; `None`: no need.
    pub fn again(&mut self, id: &str, at: Timestamp, heartbeat: Duration) -> Option<&str> {
        if *self.id != *id || self.again == 0 {
            return None;
        }
        self.again -= 1;
        self.id = self.repeated(id, at, heartbeat);
        Some(&self.id)
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
        self.repeated(&id, at.received_at, heartbeat)
    }

    /// The id of what repeats `id`: the same on every node that says it again in this heartbeat.
    fn repeated(&mut self, id: &str, received_at: Timestamp, heartbeat: Duration) -> Box<str> {
        let heartbeat_us = i64::try_from(heartbeat.as_micros()).unwrap_or(i64::MAX).max(1);
        let number = u64::try_from(received_at.0 / heartbeat_us).unwrap_or(0);
        self.repeat = number.max(self.repeat + 1);
        fitting(format!("{id}~{}", self.repeat))
    }
}

/// Route and key, and the device's sequence, else its time, else the tick's (R20).
pub(super) fn id_of(reading: &Reading, mark: Option<u64>, tick: u64) -> Box<str> {
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

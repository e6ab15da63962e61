//! What the threads of the Kafka log share: how far each lane reaches, who follows, how it is.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use touchline_core::dead::DeadLetters;
use touchline_core::log::{Epoch, Lane, LaneBounds, LogBounds, LogHealthError};
use touchline_core::log::{Looks, Record, Span, TailSink};

use super::clock::BrokerClock;
use super::door::Door;
use super::hints::explained;
use super::lanes::Lanes;
use super::owed::Owed;
use super::pulse::Pulse;
use super::stats::Stats;
use crate::limits::SUPPRESSED_MAX;

/// Shared by all threads of one log.
pub(super) struct Shared {
    /// Which lanes there are.
    pub lanes: Lanes,
    /// Life of the log.
    pub epoch: Epoch,
    /// What is pending, and what each lane has held lately.
    pub door: Mutex<Door>,
    /// What is counted.
    pub stats: Stats,
    /// Where records go that can't be shown.
    pub dead: Arc<dyn DeadLetters>,
    /// Such as were acknowledged, on their way there.
    pub owed: Owed,
    /// When brokers were heard last.
    pub pulse: Pulse,
    /// Threads end once it is set.
    pub is_closing: AtomicBool,
    places: Vec<Place>,
    pasts: Mutex<Vec<Past>>,
    sinks: Mutex<Vec<Box<dyn TailSink>>>,
    down: Mutex<Option<Down>>,
    /// Why nothing can be taken until a restart.
    broken: Mutex<Option<Arc<str>>>,
    /// Why another producer is being made.
    mending: Mutex<Option<Arc<str>>>,
    /// Somebody wants to know how far the lanes reach, now.
    looks_ahead: AtomicBool,
    clock: Mutex<BrokerClock>,
    behind: Mutex<Option<(Lane, u64)>>,
    is_over: AtomicBool,
    /// Nobody can know yet that this node runs: nothing is appended.
    is_unheard: AtomicBool,
}

/// No broker answers, or none can take anything.
struct Down {
    since: Instant,
    /// What that most likely means, as far as it is known.
    likely: Arc<str>,
}

/// How far a lane reaches.
#[derive(Default)]
struct Place {
    first: AtomicU64,
    next: AtomicU64,
    end: AtomicU64,
    /// How often that end was asked for, and which question was the last to be answered.
    begun: AtomicU64,
    answered: AtomicU64,
}

/// What is known of a lane's duplicates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Past {
    /// From here on every duplicate is in the list.
    pub exact_from: u64,
    suppressed: VecDeque<u64>,
}

impl Past {
    /// Of a lane in which nothing is known below `exact_from`.
    pub fn new(exact_from: u64) -> Self {
        Self { exact_from, suppressed: VecDeque::new() }
    }

    /// The record `seq` is a duplicate. They come ascending.
    fn suppress(&mut self, seq: u64) {
        if self.suppressed.len() >= SUPPRESSED_MAX {
            // Older reads judge for themselves again.
            let half = self.suppressed[SUPPRESSED_MAX / 2];
            self.suppressed.drain(..SUPPRESSED_MAX / 2);
            self.exact_from = self.exact_from.max(half);
        }
        self.suppressed.push_back(seq);
    }

    /// Whether `seq`, at or above `exact_from`, is a duplicate.
    pub fn is_suppressed(&self, seq: u64) -> bool {
        self.suppressed.binary_search(&seq).is_ok()
    }

    /// Nothing below `first` will be read again.
    fn cut(&mut self, first: u64) {
        let gone = self.suppressed.partition_point(|seq| *seq < first);
        self.suppressed.drain(..gone);
    }
}

impl Shared {
    /// Of a log that was read up to `next` in each lane.
    pub fn new(lanes: Lanes, epoch: Epoch, door: Door, dead: Arc<dyn DeadLetters>) -> Self {
        let count = lanes.count();
        Self {
            lanes,
            epoch,
            door: Mutex::new(door),
            stats: Stats::default(),
            dead,
            owed: Owed::default(),
            is_closing: AtomicBool::new(false),
            places: (0..count).map(|_| Place::default()).collect(),
            pasts: Mutex::new(vec![Past::default(); count]),
            sinks: Mutex::default(),
            down: Mutex::default(),
            pulse: Pulse::default(),
            broken: Mutex::default(),
            mending: Mutex::default(),
            looks_ahead: AtomicBool::new(false),
            clock: Mutex::default(),
            behind: Mutex::default(),
            is_over: AtomicBool::new(false),
            is_unheard: AtomicBool::new(false),
        }
    }

    /// A broker has stamped something with `at_ms`.
    pub fn saw_stamp(&self, at_ms: i64) {
        lock(&self.clock).saw(at_ms, Instant::now());
    }

    /// What time it is by the brokers' clocks; `None` before any stamp was seen.
    pub fn broker_now_ms(&self) -> Option<i64> {
        lock(&self.clock).at(Instant::now())
    }

    /// Lets the reach of all lanes be measured soon.
    pub fn look_ahead(&self) {
        self.looks_ahead.store(true, Ordering::Relaxed);
    }

    /// Whether that was asked for since this was last called.
    pub fn take_look_ahead(&self) -> bool {
        self.looks_ahead.swap(false, Ordering::Relaxed)
    }

    /// The end of `lane` is asked for; the question's number.
    pub fn begin_look(&self, lane: Lane) -> u64 {
        self.places[usize::from(lane.0)].begun.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The question `number` was answered, and bounds tell what was found.
    pub fn end_look(&self, lane: Lane, number: u64) {
        self.places[usize::from(lane.0)].answered.fetch_max(number, Ordering::AcqRel);
    }

    /// For `EventLog::looks`.
    pub fn looks(&self, lane: Lane) -> Looks {
        let load = |place: &Place| Looks {
            begun: place.begun.load(Ordering::Acquire),
            answered: place.answered.load(Ordering::Acquire),
        };
        self.places.get(usize::from(lane.0)).map(load).unwrap_or_default()
    }

    /// Whether the log is being closed.
    pub fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }

    /// One above the last record of `lane` that this node has read.
    pub fn next(&self, lane: Lane) -> u64 {
        self.places[usize::from(lane.0)].next.load(Ordering::Acquire)
    }

    /// The first record of `lane` that can be read.
    pub fn first(&self, lane: Lane) -> u64 {
        self.places[usize::from(lane.0)].first.load(Ordering::Acquire)
    }

    /// Reading of `lane` begins at `next`; its duplicates are known from `exact_from` on.
    pub fn begin(&self, lane: Lane, first: u64, next: u64, exact_from: u64) {
        let place = &self.places[usize::from(lane.0)];
        place.first.store(first, Ordering::Release);
        place.next.store(next, Ordering::Release);
        place.end.store(next, Ordering::Release);
        lock(&self.pasts)[usize::from(lane.0)] = Past::new(exact_from);
    }

    /// Retention has left `first` and what follows; the brokers have all below `end`.
    pub fn set_reach(&self, lane: Lane, first: u64, end: u64) {
        let place = &self.places[usize::from(lane.0)];
        place.first.fetch_max(first, Ordering::AcqRel);
        place.end.fetch_max(end, Ordering::AcqRel);
        lock(&self.pasts)[usize::from(lane.0)].cut(first);
    }

    /// For `EventLog::bounds`.
    pub fn bounds(&self) -> LogBounds {
        let of = |place: &Place| {
            let next = place.next.load(Ordering::Acquire);
            let first = place.first.load(Ordering::Acquire).min(next);
            LaneBounds { first, next, end: place.end.load(Ordering::Acquire).max(next) }
        };
        LogBounds { epoch: self.epoch, lanes: self.places.iter().map(of).collect() }
    }

    /// How far each lane is behind its brokers, in records.
    pub fn lags(&self) -> impl Iterator<Item = (Lane, u64)> {
        self.places.iter().enumerate().map(|(lane, place)| {
            let next = place.next.load(Ordering::Acquire);
            let end = place.end.load(Ordering::Acquire);
            (Lane(lane as u16), end.saturating_sub(next))
        })
    }

    /// The lane in which this node has fallen behind, and by how many records.
    pub fn set_behind(&self, behind: Option<(Lane, u64)>) {
        *lock(&self.behind) = behind;
    }

    /// The same, as it was last found.
    pub fn behind(&self) -> Option<(Lane, u64)> {
        *lock(&self.behind)
    }

    /// What is known of the duplicates of `lane`.
    pub fn past<T>(&self, lane: Lane, look: impl FnOnce(&Past) -> T) -> T {
        look(&lock(&self.pasts)[usize::from(lane.0)])
    }

    /// Records of `lane` that are duplicates, ascending.
    pub fn suppress(&self, duplicates: &[(Lane, u64)]) {
        let mut pasts = lock(&self.pasts);
        duplicates.iter().for_each(|(lane, seq)| pasts[usize::from(lane.0)].suppress(*seq));
    }

    /// From now on `sink` learns of every record that is read.
    pub fn attach(&self, sink: Box<dyn TailSink>) {
        lock(&self.sinks).push(sink);
    }

    /// Lets go of all sinks.
    pub fn detach_all(&self) {
        lock(&self.sinks).clear();
    }

    /// `records` are to be shown, and all of `spans` has been read. Bounds and sinks move together:
    /// a sink that is attached gets everything that bounds didn't show yet, and nothing twice.
    pub fn publish(&self, records: Vec<Record>, spans: &[Span]) {
        let mut sinks = lock(&self.sinks);
        for span in spans {
            let place = &self.places[usize::from(span.lane.0)];
            place.next.store(span.next, Ordering::Release);
            place.end.fetch_max(span.next, Ordering::AcqRel);
        }
        let Some((last, others)) = sinks.split_last_mut() else { return };
        for sink in others {
            tell(sink.as_mut(), records.clone(), spans);
        }
        tell(last.as_mut(), records, spans);
    }

    /// Brokers have answered, or haven't, or can take nothing.
    pub fn set_up(&self, is_up: bool) {
        let mut down = lock(&self.down);
        let begin = || Down { since: Instant::now(), likely: Arc::default() };
        match is_up {
            true => *down = None,
            false => drop(down.get_or_insert_with(begin)),
        }
    }

    /// While no broker answers: what that most likely means. What was known stays where nothing is
    /// said any more.
    pub fn set_likely(&self, likely: &str) {
        if let Some(down) = &mut *lock(&self.down)
            && !likely.is_empty()
            && likely != &*down.likely
        {
            down.likely = likely.into();
        }
    }

    /// For how long no broker has answered.
    pub fn down_for(&self) -> Option<Duration> {
        lock(&self.down).as_ref().map(|down| down.since.elapsed())
    }

    /// From now on nothing is taken until a restart; the first reason stays.
    pub fn set_broken(&self, why: &str) {
        let mut broken = lock(&self.broken);
        if broken.is_none() {
            tracing::error!(why, "the log takes nothing until this node is restarted");
            *broken = Some(why.into());
        }
    }

    /// Another producer is being made, because of `why`; or is in place.
    pub fn set_mending(&self, why: Option<&Arc<str>>) {
        *lock(&self.mending) = why.cloned();
    }

    /// Whether one is being made.
    pub fn is_mending(&self) -> bool {
        lock(&self.mending).is_some()
    }

    /// This life of the log is over, or has lost something: a start finds or begins the next (R8).
    pub fn set_over(&self, why: &str) {
        self.is_over.store(true, Ordering::Relaxed);
        self.set_broken(why);
    }

    /// Whether that has happened.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Whether others can know that this node runs.
    pub fn set_unheard(&self, is_unheard: bool) {
        self.is_unheard.store(is_unheard, Ordering::Relaxed);
    }

    /// Whether they can't.
    pub fn is_unheard(&self) -> bool {
        self.is_unheard.load(Ordering::Relaxed)
    }

    /// Whether nothing can be taken until a restart.
    pub fn is_broken(&self) -> bool {
        lock(&self.broken).is_some()
    }

    /// Whether it can be written to.
    pub fn health(&self) -> Result<(), LogHealthError> {
        if let Some(why) = lock(&self.broken).clone() {
            return Err(LogHealthError::Broken(why));
        }
        if let Some(down) = &*lock(&self.down) {
            let likely = Arc::clone(&down.likely);
            return Err(LogHealthError::Unreachable(down.since.elapsed(), likely));
        }
        match lock(&self.mending).as_deref() {
            Some(why) => Err(LogHealthError::Mending(explained(why, true).into())),
            None => Ok(()),
        }
    }
}

/// A sink must not panic; one that does must not take the log with it.
fn tell(sink: &mut dyn TailSink, records: Vec<Record>, spans: &[Span]) {
    if catch_unwind(AssertUnwindSafe(|| sink.durable(records, spans))).is_err() {
        tracing::error!("a reader of the log's tail panicked; what it missed it has to reread");
    }
}

/// What a lock guards here is whole between any two statements, so a panic elsewhere doesn't spoil
/// it.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_are_known_from_where_the_list_begins() {
        let mut past = Past::new(10);
        [12, 15, 40].into_iter().for_each(|seq| past.suppress(seq));
        assert!(past.is_suppressed(15) && !past.is_suppressed(16));
        past.cut(15);
        assert!(!past.is_suppressed(12) && past.is_suppressed(15));
    }

    #[test]
    fn a_list_that_grows_too_long_forgets_its_older_half_and_says_so() {
        let mut past = Past::new(0);
        (0..=SUPPRESSED_MAX as u64).for_each(|n| past.suppress(n * 2));
        assert_eq!(past.exact_from, SUPPRESSED_MAX as u64);
        assert!(past.suppressed.len() <= SUPPRESSED_MAX / 2 + 1);
        assert!(past.is_suppressed(SUPPRESSED_MAX as u64 * 2));
    }
}

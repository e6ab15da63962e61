//! What the journal's threads share: which segments there are, how far they may be read, and how
//! the log is.
//!
//! The writer replaces the list of segments as a whole; readers take the list they find and keep it
//! for one read. The watermark is an atomic beside it. Nobody holds a lock here while a disk works.
//!
//! # Invariants
//! - A segment is in the list before anything in it is below the watermark.
//! - [`Shared::publish`] moves the watermark and feeds the sinks under one lock, so that a sink
//!   that is attached gets everything that `bounds` didn't show yet, and nothing twice.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use touchline_core::log::{Epoch, Lane, LaneBounds, LogBounds, LogHealthError};
use touchline_core::log::{Record, Span, TailSink};
use touchline_core::time::Timestamp;

use super::stats::Stats;

/// Where a group begins in its file: an entry of the sparse index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// First sequence of the group.
    pub seq: u64,
    /// Offset of its head.
    pub offset: u64,
}

/// One file of the log.
#[derive(Debug)]
pub struct Segment {
    /// First sequence it may hold; it holds nothing from the next segment's first on.
    pub first: u64,
    /// Its file.
    pub name: Arc<str>,
    /// Log time when it was made.
    pub opened_at: Timestamp,
    /// Offset of the first damage, of a segment that is set aside.
    pub damaged_at: Option<u64>,
    /// Its length and index, which grow while it is written to.
    pub extent: Arc<Extent>,
}

/// What of a segment grows.
#[derive(Debug, Default)]
pub struct Extent {
    /// Length of the file, as far as it is known to be written.
    pub bytes: AtomicU64,
    index: Mutex<Vec<IndexEntry>>,
}

impl Extent {
    /// With what a scan or a checkpoint has found.
    pub fn new(bytes: u64, index: Vec<IndexEntry>) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicU64::new(bytes), index: Mutex::new(index) })
    }

    /// Adds an entry; they ascend.
    pub fn push(&self, entry: IndexEntry) {
        lock(&self.index).push(entry);
    }

    /// Last group that is known to begin at or below `seq`.
    pub fn find(&self, seq: u64) -> Option<IndexEntry> {
        let index = lock(&self.index);
        let after = index.partition_point(|entry| entry.seq <= seq);
        index.get(after.checked_sub(1)?).copied()
    }

    /// All entries.
    pub fn entries(&self) -> Vec<IndexEntry> {
        lock(&self.index).clone()
    }
}

/// The segments, by first sequence.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Ascending; the last one is written to.
    pub segments: Vec<Arc<Segment>>,
}

impl View {
    /// The segment that holds `seq`, and one above the last sequence it may hold.
    pub fn find(&self, seq: u64) -> Option<(&Arc<Segment>, u64)> {
        let after = self.segments.partition_point(|segment| segment.first <= seq);
        let segment = self.segments.get(after.checked_sub(1)?)?;
        Some((segment, self.segments.get(after).map_or(u64::MAX, |next| next.first)))
    }
}

/// Whether the log takes events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It does.
    Writable,
    /// There is no room; tried again with backoff.
    DiskFull,
    /// A write or sync has failed; until restart.
    ReadOnly,
    /// It has been closed.
    Closed,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    damage: Option<(Arc<str>, u64)>,
    clock_off: Option<Duration>,
}

/// Shared by the writer, the readers and the face of the journal.
pub struct Shared {
    /// Life of the log.
    pub epoch: Epoch,
    /// What is counted.
    pub stats: Stats,
    first: AtomicU64,
    next: AtomicU64,
    held_from: AtomicU64,
    view: Mutex<Arc<View>>,
    state: Mutex<State>,
    sinks: Mutex<Vec<Box<dyn TailSink>>>,
}

impl Shared {
    /// Of a log that can be read up to `next`.
    pub fn new(epoch: Epoch, view: View, next: u64) -> Arc<Self> {
        let shared = Self {
            epoch,
            stats: Stats::default(),
            first: AtomicU64::new(0),
            next: AtomicU64::new(next),
            held_from: AtomicU64::new(u64::MAX),
            view: Mutex::default(),
            state: Mutex::new(State { mode: Mode::Writable, damage: None, clock_off: None }),
            sinks: Mutex::default(),
        };
        shared.set_view(view);
        Arc::new(shared)
    }

    /// Retention leaves alone what stands at `seq` and above.
    pub fn hold_from(&self, seq: u64) {
        self.held_from.store(seq, Ordering::Relaxed);
    }

    /// See [`Shared::hold_from`].
    pub fn held_from(&self) -> u64 {
        self.held_from.load(Ordering::Relaxed)
    }

    /// One above the durable watermark.
    pub fn next(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// First sequence that can be read.
    pub fn first(&self) -> u64 {
        self.first.load(Ordering::Acquire)
    }

    /// For `EventLog::bounds`.
    pub fn bounds(&self) -> LogBounds {
        let next = self.next();
        let first = self.first().min(next);
        LogBounds { epoch: self.epoch, lanes: [LaneBounds::whole(first, next)].into() }
    }

    /// The segments as they are now.
    pub fn view(&self) -> Arc<View> {
        lock(&self.view).clone()
    }

    /// Replaces the segments.
    pub fn set_view(&self, view: View) {
        let first = view.segments.first().map_or(self.next(), |segment| segment.first);
        *lock(&self.view) = Arc::new(view);
        self.first.store(first, Ordering::Release);
    }

    /// Whether events are taken.
    pub fn mode(&self) -> Mode {
        lock(&self.state).mode
    }

    /// A log that is read-only or closed stays so.
    pub fn set_mode(&self, mode: Mode) {
        let mut state = lock(&self.state);
        if !matches!(state.mode, Mode::ReadOnly | Mode::Closed) || mode == Mode::Closed {
            state.mode = mode;
        }
    }

    /// How far the host's clock is from log time, if that is too far to take anything.
    pub fn set_clock_off(&self, by: Option<Duration>) {
        lock(&self.state).clock_off = by;
    }

    /// Remembers the first damage found.
    pub fn set_damage(&self, file: Arc<str>, offset: u64) {
        lock(&self.state).damage.get_or_insert((file, offset));
    }

    /// Whether writing is impossible, or something is damaged.
    pub fn health(&self) -> Result<(), LogHealthError> {
        let state = lock(&self.state);
        if let (Mode::Writable, Some(by)) = (state.mode, state.clock_off) {
            return Err(LogHealthError::Clock(by));
        }
        match (state.mode, &state.damage) {
            (Mode::ReadOnly | Mode::Closed, _) => Err(LogHealthError::ReadOnly),
            (Mode::DiskFull, _) => Err(LogHealthError::DiskFull),
            (Mode::Writable, Some((file, offset))) => {
                Err(LogHealthError::Damaged { file: file.clone(), offset: *offset })
            }
            (Mode::Writable, None) => Ok(()),
        }
    }

    /// From now on `sink` learns of every record that becomes durable.
    pub fn attach(&self, sink: Box<dyn TailSink>) {
        lock(&self.sinks).push(sink);
    }

    /// Lets go of all sinks.
    pub fn detach_all(&self) {
        lock(&self.sinks).clear();
    }

    /// `records` are durable, and all of the lane up to `next`.
    pub fn publish(&self, records: Vec<Record>, from: u64, next: u64) {
        let mut sinks = lock(&self.sinks);
        self.next.store(next, Ordering::Release);
        let spans = [Span { lane: Lane(0), from, next }];
        let Some((last, others)) = sinks.split_last_mut() else { return };
        for sink in others {
            tell(sink.as_mut(), records.clone(), &spans);
        }
        tell(last.as_mut(), records, &spans);
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

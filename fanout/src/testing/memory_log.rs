//! A log that forgets everything at its end: one lane, in memory, durable at once.

use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use touchline_core::event::{Event, Topic};
use touchline_core::log::{
    AppendReply, Epoch, EventLog, Hole, HoleReason, Lane, LaneBounds, LogBounds, LogHealthError,
    Outcome, Position, ReadChunk, ReadReply, ReadRequest, Record, Span, TailSink,
};
use touchline_core::time::Timestamp;

use crate::clock;

const LANE: Lane = Lane(0);

/// An [`EventLog`] in memory. Reads are answered on a thread of their own, as a real log's are.
#[derive(Clone)]
pub struct MemoryLog(Arc<Mutex<Inner>>);

struct Inner {
    epoch: Epoch,
    first: u64,
    records: Vec<Record>,
    sinks: Vec<Box<dyn TailSink>>,
    reads: u64,
    /// Whether other nodes read this log as well.
    is_shared: bool,
    /// Records that other nodes may have shown before this one has read them.
    ahead: u64,
    looks_ahead: u64,
}

impl MemoryLog {
    /// An empty log of one life.
    pub fn new(epoch: u64) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            epoch: Epoch(epoch),
            first: 0,
            records: Vec::new(),
            sinks: Vec::new(),
            reads: 0,
            is_shared: false,
            ahead: 0,
            looks_ahead: 0,
        })))
    }

    /// From now on the log is one that other nodes read too, and this one is `ahead` records behind
    /// what it knows the log to hold.
    pub fn share(&self, ahead: u64) {
        let mut inner = self.inner();
        (inner.is_shared, inner.ahead) = (true, ahead);
    }

    /// How often it was asked how far it reaches.
    pub fn looks_ahead(&self) -> u64 {
        self.inner().looks_ahead
    }

    /// From now on `sink` hears of what is appended.
    pub fn attach(&self, sink: Box<dyn TailSink>) {
        self.inner().sinks.push(sink);
    }

    /// Appends `events` and returns when the sinks have them.
    pub fn push(&self, events: Vec<Event>) {
        let mut inner = self.inner();
        let from = inner.first + inner.records.len() as u64;
        let received_at = clock::wall();
        let record =
            |(seq, event)| Record { position: Position { lane: LANE, seq }, received_at, event };
        let records: Vec<_> = (from..).zip(events).map(record).collect();
        inner.records.extend(records.iter().cloned());
        let span = Span { lane: LANE, from, next: from + records.len() as u64 };
        for sink in &mut inner.sinks {
            sink.durable(records.clone(), &[span]);
        }
    }

    /// Retention: what lies below `seq` can't be read any more.
    pub fn forget_below(&self, seq: u64) {
        let mut inner = self.inner();
        let gone = seq.saturating_sub(inner.first).min(inner.records.len() as u64);
        inner.records.drain(..gone as usize);
        inner.first += gone;
    }

    /// Reads so far.
    pub fn reads(&self) -> u64 {
        self.inner().reads
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Inner {
    fn read(&self, request: ReadRequest) -> ReadChunk {
        let asked = request.from.seq;
        let from = asked.max(self.first);
        let index = (from - self.first) as usize;
        let mut bytes = 0;
        let take = |record: &&Record| {
            let fits = bytes < request.bytes_max;
            bytes += record.event.size_bytes();
            fits
        };
        let records: Vec<_> = self.records.iter().skip(index).take_while(take).cloned().collect();
        let hole = Hole { from: asked, to: from.max(1) - 1, reason: HoleReason::Retention };
        ReadChunk {
            lane: LANE,
            from: asked,
            next: from + records.len() as u64,
            records,
            holes: if from > asked { vec![hole] } else { Vec::new() },
        }
    }
}

impl EventLog for MemoryLog {
    fn append(&self, events: Vec<Event>, _received_at: Timestamp, reply: AppendReply) {
        let from = self.bounds().lanes[0].next;
        let position = |n| Outcome::Accepted(Position { lane: LANE, seq: from + n });
        let outcomes = (0..events.len() as u64).map(position).collect();
        self.push(events);
        reply(Ok(outcomes));
    }

    fn read(&self, request: ReadRequest, reply: ReadReply) {
        self.inner().reads += 1;
        let log = self.clone();
        thread::spawn(move || {
            let chunk = log.inner().read(request);
            reply(Ok(chunk));
        });
    }

    fn bounds(&self) -> LogBounds {
        let inner = self.inner();
        let next = inner.first + inner.records.len() as u64;
        let lane = LaneBounds { first: inner.first, next, end: next + inner.ahead };
        LogBounds { epoch: inner.epoch, lanes: [lane].into() }
    }

    fn look_ahead(&self) -> bool {
        let mut inner = self.inner();
        inner.looks_ahead += 1;
        inner.is_shared
    }

    fn lane_of(&self, _topic: &Topic) -> Lane {
        LANE
    }

    fn health(&self) -> Result<(), LogHealthError> {
        Ok(())
    }
}

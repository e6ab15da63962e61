//! A log in memory and records to put into it, for the tests of this module.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use touchline_core::event::{Event, Topic};
use touchline_core::log::{
    AppendReply, Epoch, EventLog, Hole, HoleReason, Lane, LaneBounds, LogBounds, LogHealthError,
    Position, ReadChunk, ReadReply, ReadRequest, Record,
};
use touchline_core::time::Timestamp;

/// A broadcast record of lane 0.
pub(crate) fn record(seq: u64, id: &str, kind: &str, data: &str) -> Record {
    let event = Event {
        kind: kind.into(),
        occurred_at: Timestamp(1_000_000 * seq as i64),
        data: Bytes::copy_from_slice(data.as_bytes()),
        ..Event::sample(id, "ars+che")
    };
    let position = Position { lane: Lane(0), seq };
    Record { position, received_at: Timestamp(1_000 * seq as i64), event }
}

/// Lanes of records that can be read at once; appending is a plain push.
pub(crate) struct MemoryLog {
    pub(crate) lanes: Mutex<Vec<Vec<Record>>>,
    /// Lowest sequence that retention has left, in every lane.
    pub(crate) first: Mutex<u64>,
    /// Reads aren't answered, but kept.
    pub(crate) is_stuck: AtomicBool,
    pub(crate) unanswered: Mutex<Vec<ReadReply>>,
}

impl MemoryLog {
    pub(crate) fn new(lanes: usize) -> Self {
        Self {
            lanes: Mutex::new(vec![Vec::new(); lanes]),
            first: Mutex::new(0),
            is_stuck: AtomicBool::new(false),
            unanswered: Mutex::default(),
        }
    }

    /// Gives `record` the next sequence of `lane`.
    pub(crate) fn push(&self, lane: usize, mut record: Record) -> Record {
        let mut lanes = self.lanes.lock().unwrap();
        let seq = lanes[lane].len() as u64;
        record.position = Position { lane: Lane(lane as u16), seq };
        lanes[lane].push(record.clone());
        record
    }
}

impl EventLog for MemoryLog {
    fn append(&self, _: Vec<Event>, _: Timestamp, _: AppendReply) {
        unreachable!("the live state only reads")
    }

    fn read(&self, request: ReadRequest, reply: ReadReply) {
        if self.is_stuck.load(Ordering::Relaxed) {
            self.unanswered.lock().unwrap().push(reply);
            return;
        }
        let lanes = self.lanes.lock().unwrap();
        let first = *self.first.lock().unwrap();
        let lane = &lanes[usize::from(request.from.lane.0)];
        let (asked, end) = (request.from.seq, lane.len() as u64);
        let from = asked.max(first.min(end));
        let mut holes = Vec::new();
        if from > asked {
            holes.push(Hole { from: asked, to: from - 1, reason: HoleReason::Retention });
        }
        // Small chunks, so that every read of more than a few records takes several.
        let records: Vec<Record> = lane.iter().skip(from as usize).take(7).cloned().collect();
        let next = from + records.len() as u64;
        let lane = request.from.lane;
        reply(Ok(ReadChunk { lane, from: asked, next, records, holes }));
    }

    fn bounds(&self) -> LogBounds {
        let first = *self.first.lock().unwrap();
        let lanes = self.lanes.lock().unwrap();
        let bounds = |lane: &Vec<Record>| {
            let next = lane.len() as u64;
            LaneBounds::whole(first.min(next), next)
        };
        LogBounds { epoch: Epoch(9), lanes: lanes.iter().map(bounds).collect() }
    }

    fn lane_of(&self, _: &Topic) -> Lane {
        Lane(0)
    }

    fn health(&self) -> Result<(), LogHealthError> {
        Ok(())
    }
}

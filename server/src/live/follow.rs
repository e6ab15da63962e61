//! Keeps a [`MatchDay`] in step with the log, whatever becomes of the tap.
//!
//! The [`LiveTap`](super::LiveTap) hands over what becomes durable, but it drops a batch rather
//! than hold up the log. So a [`Reader`] trusts sequences, not deliveries: it knows the next
//! sequence of each lane, takes from a batch what continues it, skips what it already has, and
//! rereads from the log what a batch shows to be missing. Its mark is exactly what its state
//! contains (R27).
//!
//! # Invariants
//! - `mark.next(lane)` only grows; every record below it was applied once, or is a hole the log has
//!   named, or lies before the tail that a start reads.
//! - Nothing waits longer than [`READ_WAIT_MAX`] for the log, nor longer than [`STOP_LOOK`] once it
//!   is told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Instant;

use touchline_core::log::{
    EventLog, Lane, LogBounds, Mark, Position, ReadChunk, ReadError, ReadRequest, Record, Span,
};

use super::state::MatchDay;
use crate::limits::live::{READ_BYTES_MAX, READ_WAIT_MAX, STOP_LOOK, TAIL_RECORDS_MAX};

/// State and mark of one reader of the log.
pub(super) struct Reader {
    log: Arc<dyn EventLog>,
    mark: Mark,
    day: MatchDay,
    stop: Arc<AtomicBool>,
}

impl Reader {
    /// Stands before the log's tail; [`Reader::catch_up`] reads it. Once `stop` is set, reads end
    /// as if the log were closed.
    pub(super) fn new(log: Arc<dyn EventLog>, stop: Arc<AtomicBool>) -> Self {
        let bounds = log.bounds();
        let tail =
            |lane: &touchline_core::log::LaneBounds| lane.next.saturating_sub(TAIL_RECORDS_MAX);
        let next = bounds.lanes.iter().map(|lane| lane.first.max(tail(lane))).collect();
        Self { log, mark: Mark { epoch: bounds.epoch, next }, day: MatchDay::default(), stop }
    }

    /// What it has read so far.
    pub(super) fn day(&self) -> &MatchDay {
        &self.day
    }

    /// What exactly that is.
    pub(super) fn mark(&self) -> &Mark {
        &self.mark
    }

    /// Takes a batch from the tap.
    pub(super) fn handle_batch(
        &mut self,
        records: Vec<Record>,
        spans: &[Span],
    ) -> Result<(), ReadError> {
        for span in spans {
            self.read_until(span.lane, span.from)?;
        }
        for record in records {
            let Position { lane, seq } = record.position;
            if seq >= self.mark.next(lane) {
                self.day.apply(record);
            }
        }
        spans.iter().for_each(|span| self.advance(span.lane, span.next));
        Ok(())
    }

    /// Whether the log has more than was taken in.
    pub(super) fn is_behind(&self, bounds: &LogBounds) -> bool {
        let lanes = bounds.lanes.iter().enumerate();
        lanes.into_iter().any(|(n, lane)| lane.next > self.mark.next(Lane(n as u16)))
    }

    /// Reads whatever the log has and the tap didn't bring.
    pub(super) fn catch_up(&mut self) -> Result<(), ReadError> {
        let bounds = self.log.bounds();
        for (n, lane) in bounds.lanes.iter().enumerate() {
            self.read_until(Lane(n as u16), lane.next)?;
        }
        Ok(())
    }

    /// Reads `lane` until `end` at least. A log that names no hole and gives nothing is asked again
    /// another time.
    fn read_until(&mut self, lane: Lane, end: u64) -> Result<(), ReadError> {
        while self.mark.next(lane) < end {
            let chunk = self.read(Position { lane, seq: self.mark.next(lane) })?;
            if chunk.next <= self.mark.next(lane) {
                return Err(ReadError::Busy);
            }
            chunk.records.into_iter().for_each(|record| self.day.apply(record));
            self.advance(lane, chunk.next);
        }
        Ok(())
    }

    fn read(&self, from: Position) -> Result<ReadChunk, ReadError> {
        let (sender, receiver) = sync_channel(1);
        let request = ReadRequest { from, bytes_max: READ_BYTES_MAX };
        self.log.read(request, Box::new(move |result| drop(sender.send(result))));
        let deadline = Instant::now() + READ_WAIT_MAX;
        while !self.stop.load(Ordering::Relaxed) {
            match receiver.recv_timeout(STOP_LOOK) {
                Ok(chunk) => return chunk,
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(_) => return Err(ReadError::Busy),
            }
        }
        Err(ReadError::Closed)
    }

    fn advance(&mut self, lane: Lane, next: u64) {
        if let Some(slot) = self.mark.next.get_mut(usize::from(lane.0)) {
            *slot = (*slot).max(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::live::testing::{MemoryLog, record};

    /// The naive thing: the whole log up to a mark, lane after lane as the reader saw them.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// Becomes durable in this lane; the tap loses it or not.
        Append { lane: usize, lost: bool },
        /// The tap brings a batch that was already read.
        Again,
        /// The reader looks at the log by itself.
        CatchUp,
        /// A page opens.
        Open,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0..2usize, prop::bool::weighted(0.3))
                .prop_map(|(lane, lost)| Step::Append { lane, lost }),
            1 => Just(Step::Again),
            1 => Just(Step::CatchUp),
            2 => Just(Step::Open),
        ]
    }

    /// A fact of the match of its lane, so that each match lives in one lane as topics do.
    fn fact(n: usize, lane: usize) -> Record {
        let kind = ["match.scheduled", "goal", "card.yellow", "goal", "var.overturned"][n % 5];
        let data = format!(
            r#"{{"match":"m{lane}","home":"h{lane}","away":"a{lane}","minute":{n},"score":{{"home":{n},"away":0}},"overturns":"e{}"}}"#,
            n.saturating_sub(1)
        );
        record(0, &format!("e{n}"), kind, &data)
    }

    /// Matches by id, since two lanes have no order between them.
    fn matches(day: &MatchDay) -> Vec<crate::live::state::Match> {
        let mut matches = day.matches.clone();
        matches.sort_by(|a, b| a.id.cmp(&b.id));
        matches
    }

    fn replay(log: &MemoryLog, from: Option<&Mark>, to: Option<&Mark>, day: &mut MatchDay) {
        for (n, lane) in log.lanes.lock().unwrap().iter().enumerate() {
            let from = from.map_or(0, |mark| mark.next[n]) as usize;
            let to = to.map_or(lane.len(), |mark| mark.next[n] as usize);
            lane[from..to].iter().for_each(|record| day.apply(record.clone()));
        }
    }

    proptest! {
        #[test]
        fn a_snapshot_and_what_follows_its_mark_are_the_whole_log(
            steps in prop::collection::vec(step(), 1..120),
        ) {
            let log = Arc::new(MemoryLog::new(2));
            let mut reader = Reader::new(log.clone(), Arc::default());
            let mut last = None;
            let mut opened = Vec::new();
            for (n, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Append { lane, lost } => {
                        let record = log.push(lane, fact(n, lane));
                        let Position { lane, seq } = record.position;
                        let batch = (vec![record], [Span { lane, from: seq, next: seq + 1 }]);
                        if !lost {
                            reader.handle_batch(batch.0.clone(), &batch.1).unwrap();
                        }
                        last = Some(batch);
                    }
                    Step::Again => if let Some((records, spans)) = &last {
                        reader.handle_batch(records.clone(), spans).unwrap();
                    },
                    Step::CatchUp => reader.catch_up().unwrap(),
                    Step::Open => opened.push((reader.day().clone(), reader.mark().clone())),
                }
            }
            let mut whole = MatchDay::default();
            replay(&log, None, None, &mut whole);
            for (day, mark) in opened {
                let mut upto = MatchDay::default();
                replay(&log, None, Some(&mark), &mut upto);
                prop_assert_eq!(matches(&day), matches(&upto), "a snapshot is its mark");
                prop_assert_eq!(day.events_total, upto.events_total);
                let mut followed = day;
                replay(&log, Some(&mark), None, &mut followed);
                prop_assert_eq!(matches(&followed), matches(&whole), "following leaves no hole");
                prop_assert_eq!(followed.events_total, whole.events_total, "and repeats nothing");
            }
            reader.catch_up().unwrap();
            prop_assert_eq!(matches(reader.day()), matches(&whole));
            prop_assert!(!reader.is_behind(&log.bounds()));
        }
    }

    #[test]
    fn what_retention_has_taken_is_passed_over() {
        let log = Arc::new(MemoryLog::new(1));
        let mut reader = Reader::new(log.clone(), Arc::default());
        for n in 0..40 {
            log.push(0, fact(n, 0));
        }
        *log.first.lock().unwrap() = 30;
        reader.catch_up().unwrap();
        assert_eq!(reader.mark().next(Lane(0)), 40);
        assert_eq!(reader.day().events_total, 10);
    }

    #[test]
    fn a_lane_that_retention_has_emptied_is_passed_over_by_a_batch_of_nothing() {
        let log = Arc::new(MemoryLog::new(1));
        let mut reader = Reader::new(log.clone(), Arc::default());
        for n in 0..40 {
            log.push(0, fact(n, 0));
        }
        *log.first.lock().unwrap() = 40;
        let empty = [Span { lane: Lane(0), from: 40, next: 40 }];
        reader.handle_batch(vec![], &empty).unwrap();
        assert_eq!((reader.mark().next(Lane(0)), reader.day().events_total), (40, 0));
    }

    #[test]
    fn a_start_reads_the_tail_and_no_more() {
        let log = Arc::new(MemoryLog::new(1));
        for n in 0..TAIL_RECORDS_MAX as usize + 10 {
            log.push(0, record(0, &format!("e{n}"), "weather", "{}"));
        }
        let reader = Reader::new(log, Arc::default());
        assert_eq!(reader.mark().next(Lane(0)), 10);
    }
}

//! Reading every lane as it grows: what Kafka has, this node's sockets get.
//!
//! One consumer is assigned all partitions. What it has fetched is taken in batches: each record is
//! judged (R17), what is to be shown goes to the sinks, and the bounds move. A batch is what has
//! arrived meanwhile: nothing waits for more.
//!
//! # Invariants
//! - Records of a lane are taken once and in order. Where some are skipped (retention overtook us),
//!   a span without records comes at once, where the lane goes on, and doesn't join the one before;
//!   whoever follows rereads, and is told of the hole, also where nothing more is written there.
//! - A partition whose offset isn't there is told of once, and fetched no more until it is assigned
//!   again: so all are assigned again after such an error, whichever brokers answer meanwhile.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use touchline_core::log::{Lane, Position, Span};

use super::client::{ASK_MAX, Reader, poll, settle};
use super::part::Part;
use super::state::{Shared, lock};
use super::wire::{Taken, decode};
use crate::limits::{TAIL_BATCH_BYTES_MAX, TAIL_BATCH_EVENTS_MAX};

/// How long it waits for something to come, and so how soon it sees that it is to end.
const WAIT: Duration = Duration::from_millis(100);
/// How long it waits after an error.
const RETRY: Duration = Duration::from_secs(1);
/// How long one lane, and all of them, may take to say how far they reach while nothing is read.
const REACH_MAX: Duration = Duration::from_secs(2);
const REACHES_MAX: Duration = ASK_MAX;
/// How often it says how far it has got, before it is ready.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Where a lane's reading begins, and how far it must have got before the node is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub lane: Lane,
    /// First offset to be read: W before what may be shown.
    pub from: u64,
    /// The end, when reading began.
    pub until: u64,
}

/// The reader of all lanes.
pub(super) struct Tail {
    reader: Reader,
    shared: Arc<Shared>,
    /// By lane.
    next: Vec<u64>,
    /// By lane: what must be read before anybody is shown anything.
    until: Vec<u64>,
    ready: Option<SyncSender<()>>,
    told_at: Instant,
    /// What was to be read next in some lane isn't there.
    must_jump: bool,
    /// Where looking for it begins: one lane that doesn't answer must not hide those behind it.
    jump_from: usize,
    assigned_at: Option<Instant>,
}

impl Tail {
    /// Reads from `starts` on; `ready` is told once all of what there was then has been read.
    pub fn new(
        reader: Reader,
        shared: Arc<Shared>,
        starts: &[Start],
        ready: SyncSender<()>,
    ) -> Result<Self, KafkaError> {
        let mut tail = Self {
            reader,
            next: vec![0; shared.lanes.count()],
            until: vec![0; shared.lanes.count()],
            shared,
            ready: Some(ready),
            told_at: Instant::now(),
            must_jump: false,
            jump_from: 0,
            assigned_at: None,
        };
        for start in starts {
            tail.next[usize::from(start.lane.0)] = start.from;
            tail.until[usize::from(start.lane.0)] = start.until;
        }
        tail.assign()?;
        Ok(tail)
    }

    fn assign(&mut self) -> Result<(), KafkaError> {
        settle(self.assigned_at);
        self.assigned_at = Some(Instant::now());
        let mut wanted = TopicPartitionList::with_capacity(self.next.len());
        for (lane, topic, partition) in self.shared.lanes.all() {
            let next = i64::try_from(self.next[usize::from(lane.0)]).unwrap_or(i64::MAX);
            wanted.add_partition_offset(topic, partition, Offset::Offset(next))?;
        }
        self.reader.assign(&wanted)
    }

    /// Reads until the log is closed.
    pub fn run(mut self) {
        while !self.shared.is_closing() {
            self.look_whether_ready();
            let batch = self.gather();
            if !batch.is_empty() {
                self.take(batch);
            }
            // Not before what came with the error has been taken.
            if self.must_jump {
                self.jump();
                self.pause();
            }
        }
        settle(self.assigned_at);
    }

    fn look_whether_ready(&mut self) {
        let Some(ready) = &self.ready else { return };
        let left: u64 = self
            .next
            .iter()
            .zip(&self.until)
            .map(|(next, until)| until.saturating_sub(*next))
            .sum();
        if left == 0 {
            let _ = ready.send(());
            self.ready = None;
        } else if self.told_at.elapsed() > TELL_EVERY {
            self.told_at = Instant::now();
            tracing::info!(records_left = left, "reading the log before serving");
        }
    }

    /// What has been fetched by now; waits a little if that is nothing.
    fn gather(&mut self) -> Vec<Taken> {
        let (mut batch, mut bytes, mut wait) = (Vec::new(), 0, WAIT);
        while batch.len() < TAIL_BATCH_EVENTS_MAX && bytes < TAIL_BATCH_BYTES_MAX {
            let error = match poll(&self.reader, wait) {
                None => break,
                Some(Ok(message)) => {
                    if let Some(taken) = decode(&message, &self.shared.lanes) {
                        bytes += taken.bytes;
                        batch.push(taken);
                    }
                    None
                }
                Some(Err(error)) => Some(error),
            };
            if let Some(error) = error {
                self.meet(&error);
                break;
            }
            wait = Duration::ZERO;
        }
        batch
    }

    fn meet(&mut self, error: &KafkaError) {
        match error.rdkafka_error_code() {
            // What was to be read next isn't there: retention has removed it, or the log has
            // shrunk.
            Some(RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset) => {
                self.must_jump = true;
            }
            _ => {
                tracing::warn!(%error, "the tail of the log can't be read; it is tried again");
                self.pause();
            }
        }
    }

    /// An error that comes again at once must not keep a core busy.
    fn pause(&self) {
        let until = Instant::now() + RETRY;
        while Instant::now() < until && !self.shared.is_closing() {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Goes on where retention has left something, in all lanes that answer. Of one that doesn't
    /// the error comes again, once it does.
    fn jump(&mut self) {
        let (lanes, begin) = (self.shared.lanes.clone(), Instant::now());
        let all: Vec<_> = lanes.all().collect();
        let (before, from) = all.split_at(self.jump_from);
        for (lane, topic, partition) in from.iter().chain(before) {
            let left = REACHES_MAX.saturating_sub(begin.elapsed());
            if self.shared.is_closing() || left.is_zero() {
                break;
            }
            self.jump_from = (usize::from(lane.0) + 1) % all.len();
            match self.reader.fetch_watermarks(topic, *partition, left.min(REACH_MAX)) {
                Ok((low, high)) => {
                    let [low, high] = [low, high].map(|offset| u64::try_from(offset).unwrap_or(0));
                    self.jump_in(*lane, topic, *partition, low, high);
                }
                Err(error) => tracing::warn!(%error, topic, partition, "its reach isn't known"),
            }
        }
        match self.assign() {
            Ok(()) => self.must_jump = false,
            Err(error) => {
                tracing::error!(%error, "partitions can't be assigned again; it is tried again");
            }
        }
    }

    /// What lies between is missing, and whoever follows is told so when it rereads. A lane that
    /// ends below what was read has lost what was acknowledged (R8): that is for the watchman to
    /// say.
    fn jump_in(&mut self, lane: Lane, topic: &str, partition: i32, low: u64, high: u64) {
        let next = &mut self.next[usize::from(lane.0)];
        if high < *next {
            // The watchman looks again, and says so if it stays like that.
            self.shared.look_ahead();
        } else if low > *next {
            tracing::error!(
                topic,
                partition,
                from = *next,
                to = low - 1,
                "retention has overtaken this node: clients are told of a gap"
            );
            *next = low;
            lock(&self.shared.door).jump(lane, low);
            self.shared.stats.add_jump();
            self.shared.set_reach(lane, low, low);
            // Retention may have left nothing, and nothing more may come: a lane whose bounds
            // waited for its next record would keep the node behind, and its clients unaware.
            self.shared.publish(Vec::new(), &[Span { lane, from: low, next: low }]);
        }
    }

    /// Judges a batch, and shows what is to be shown. A lane that has jumped begins another batch.
    fn take(&mut self, batch: Vec<Taken>) {
        let mut part = Part::default();
        for taken in batch {
            let Position { lane, seq } = taken.position;
            let next = self.next[usize::from(lane.0)];
            if seq < next {
                // Fetched again after an assignment.
                continue;
            }
            if seq > next && part.holds(lane) {
                std::mem::take(&mut part).show(&self.shared);
            }
            self.next[usize::from(lane.0)] = seq + 1;
            part.add(taken);
        }
        part.show(&self.shared);
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::{Context, reader};
    use super::super::door::{Door, Rules};
    use super::super::lanes::Lanes;
    use super::super::options::KafkaOptions;
    use super::*;
    use std::sync::Mutex;
    use touchline_core::dead::NoDeadLetters;
    use touchline_core::log::{Epoch, Record, TailSink};

    struct Spans(Arc<Mutex<Vec<Span>>>);

    impl TailSink for Spans {
        fn durable(&mut self, records: Vec<Record>, spans: &[Span]) {
            assert!(records.is_empty());
            self.0.lock().unwrap().extend(spans);
        }
    }

    /// Of a log of four lanes, each of which was read up to 3. Nothing answers.
    fn tail() -> Tail {
        let (lanes, options) = (Lanes::new("", 1), KafkaOptions::default());
        let (windows, entries_max, pending_bytes_max) = (options.windows, 9, 9);
        let door = Door::new(&lanes, Rules { windows, entries_max, pending_bytes_max });
        let (next, until) = (vec![3; lanes.count()], vec![3; lanes.count()]);
        let shared = Arc::new(Shared::new(lanes, Epoch(1), door, Arc::new(NoDeadLetters)));
        (0..4).for_each(|lane| shared.begin(Lane(lane), 0, 3, 0));
        Tail {
            reader: reader(&options, &Context::new(&options)).unwrap(),
            shared,
            next,
            until,
            ready: None,
            told_at: Instant::now(),
            must_jump: false,
            jump_from: 0,
            assigned_at: None,
        }
    }

    #[test]
    fn a_lane_that_retention_has_emptied_shows_its_hole_though_nothing_more_comes() {
        let mut tail = tail();
        let spans = Arc::new(Mutex::new(Vec::new()));
        tail.shared.attach(Box::new(Spans(Arc::clone(&spans))));
        let lane = Lane(2);
        tail.shared.set_reach(lane, 0, 9);
        assert_eq!(tail.shared.lags().map(|(_, lag)| lag).max(), Some(6));
        tail.jump_in(lane, "social-events", 0, 9, 9);
        assert_eq!(*spans.lock().unwrap(), [Span { lane, from: 9, next: 9 }]);
        assert!(tail.shared.lags().all(|(_, lag)| lag == 0), "nothing is left to be read");
        let bounds = tail.shared.bounds().lanes[2];
        assert_eq!((bounds.first, bounds.next, bounds.end), (9, 9, 9));
        // What is left is read as ever, and joins on.
        tail.jump_in(lane, "social-events", 0, 9, 12);
        assert_eq!((spans.lock().unwrap().len(), tail.next[2]), (1, 9));
    }
}

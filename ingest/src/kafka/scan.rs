//! Reading a range back: for sessions that resume below the windows, and for shards that are
//! behind.
//!
//! A thread of its own takes one request after the other. Which records of a range are duplicates
//! is known from where this node's own reading is exact; below that a [`Scout`] reads the lane from
//! W earlier and judges for itself (R17): never more than that, wherever others have been. Scouts
//! are kept for a while, since the next request mostly goes on where the last one ended.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{Offset, TopicPartitionList};
use touchline_core::log::{Hole, HoleReason, Lane, Position};
use touchline_core::log::{ReadChunk, ReadError, ReadReply, ReadRequest, Record};

use super::client::{Reader, drain, poll, settle};
use super::clock::millis;
use super::options::KafkaOptions;
use super::scouts::{Scout, Scouts};
use super::state::Shared;
use super::watch::offset_at;
use super::wire::{Taken, decode};
use crate::limits::{BROKER_SKEW_MAX, READ_BYTES_MAX};

/// How long no message may come: longer than a fetch takes, shorter than anybody's patience. One
/// partition without a leader must not hold up the reads of all others.
const SILENCE_MAX: Duration = Duration::from_secs(4);
/// How long it waits for a message before it looks at the time.
const WAIT: Duration = Duration::from_millis(100);

/// The reader of ranges.
pub(super) struct Scan {
    reader: Reader,
    shared: Arc<Shared>,
    windows: [Duration; 4],
    scouts: Scouts,
    /// What the consumer is assigned, and the offset of its next message.
    stands: Option<(Lane, u64)>,
    /// When that was, if no message of it has come yet.
    assigned_at: Option<Instant>,
}

impl Scan {
    pub fn new(reader: Reader, shared: Arc<Shared>, options: &KafkaOptions) -> Self {
        let scouts = Scouts::new(options.dedupe_entries_max);
        let windows = options.windows;
        Self { reader, shared, windows, scouts, stands: None, assigned_at: None }
    }

    /// Answers requests until nobody can send any, or the log is closed.
    pub fn run(mut self, requests: &Receiver<(ReadRequest, ReadReply)>) {
        self.answer(requests);
        settle(self.assigned_at);
    }

    fn answer(&mut self, requests: &Receiver<(ReadRequest, ReadReply)>) {
        loop {
            self.scouts.forget_idle(Instant::now());
            match requests.recv_timeout(WAIT) {
                Ok((_, reply)) if self.shared.is_closing() => reply(Err(ReadError::Closed)),
                Ok((request, reply)) => {
                    let answer = self.read(request);
                    reply(answer);
                }
                Err(RecvTimeoutError::Timeout) if !self.shared.is_closing() => self.rest(),
                Err(_) => return,
            }
        }
    }

    /// Nobody asks for anything: nothing is fetched ahead, and what the client has queued is
    /// thrown away.
    fn rest(&mut self) {
        if self.stands.take().is_some()
            && let Err(error) = self.reader.unassign()
        {
            tracing::debug!(%error, "a partition can't be let go of");
        }
        drain(&self.reader);
    }

    fn read(&mut self, request: ReadRequest) -> Result<ReadChunk, ReadError> {
        let Position { lane, seq } = request.from;
        let (first, next) = (self.shared.first(lane), self.shared.next(lane));
        let mut chunk =
            ReadChunk { lane, from: seq, next: seq, records: Vec::new(), holes: Vec::new() };
        if usize::from(lane.0) >= self.shared.lanes.count() || seq >= next {
            return Ok(chunk);
        }
        if seq < first {
            let to = first.min(next) - 1;
            chunk.holes.push(Hole { from: seq, to, reason: HoleReason::Retention });
            chunk.next = to + 1;
        }
        if chunk.next < next {
            let bytes_max = request.bytes_max.min(READ_BYTES_MAX);
            self.fill(&mut chunk, next, bytes_max).map_err(|error| {
                self.stands = None;
                match error {
                    Trouble::Closing => ReadError::Closed,
                    Trouble::Kafka(error) => ReadError::Io(error.to_string().into()),
                    Trouble::Late => ReadError::Io("brokers don't answer".into()),
                }
            })?;
        }
        Ok(chunk)
    }

    /// Adds records from `chunk.next` on, below `end`.
    fn fill(&mut self, chunk: &mut ReadChunk, end: u64, bytes_max: usize) -> Result<(), Trouble> {
        let lane = chunk.lane;
        let exact_from = self.shared.past(lane, |past| past.exact_from);
        let mut scout = match chunk.next < exact_from {
            true => Some(self.scout(lane, chunk.next)?),
            false => None,
        };
        let mut bytes = 0;
        self.stand_at(lane, chunk.next)?;
        while chunk.next < end && bytes < bytes_max {
            let taken = self.message(lane)?;
            let seq = taken.position.seq;
            if seq >= end {
                // What lies between holds no records of ours.
                chunk.next = end;
                self.stands = None;
                break;
            }
            chunk.next = seq + 1;
            bytes += taken.bytes;
            let Ok((event, received_at)) = taken.event else { continue };
            let is_first = match &mut scout {
                Some(scout) => {
                    scout.next = seq + 1;
                    scout.judge.is_first(taken.at_ms, event.identity(), event.content())
                }
                None => !self.shared.past(lane, |past| past.is_suppressed(seq)),
            };
            if is_first {
                chunk.records.push(Record { position: taken.position, received_at, event });
            }
        }
        if let Some(scout) = scout {
            self.scouts.keep(scout, Instant::now());
        }
        Ok(())
    }

    /// The next message of what is assigned.
    fn message(&mut self, lane: Lane) -> Result<Taken, Trouble> {
        let deadline = Instant::now() + SILENCE_MAX;
        loop {
            if self.shared.is_closing() {
                return Err(Trouble::Closing);
            }
            match poll(&self.reader, WAIT) {
                Some(Ok(message)) => {
                    let Some(taken) = self.of_lane(lane, &message) else { continue };
                    self.assigned_at = None;
                    self.stands = Some((lane, taken.position.seq + 1));
                    return Ok(taken);
                }
                Some(Err(error)) => return Err(Trouble::Kafka(error)),
                None if Instant::now() > deadline => return Err(Trouble::Late),
                None => {}
            }
        }
    }

    /// A message of an earlier assignment may still have been under way.
    fn of_lane(&self, lane: Lane, message: &BorrowedMessage<'_>) -> Option<Taken> {
        decode(message, &self.shared.lanes).filter(|taken| taken.position.lane == lane)
    }

    fn stand_at(&mut self, lane: Lane, seq: u64) -> Result<(), Trouble> {
        if self.stands == Some((lane, seq)) {
            return Ok(());
        }
        let Some((stream, partition)) = self.shared.lanes.place(lane) else { return Ok(()) };
        let mut wanted = TopicPartitionList::with_capacity(1);
        let offset = Offset::Offset(i64::try_from(seq).unwrap_or(i64::MAX));
        wanted.add_partition_offset(self.shared.lanes.topic(stream), partition, offset)?;
        settle(self.assigned_at);
        self.assigned_at = Some(Instant::now());
        self.reader.assign(&wanted)?;
        self.stands = Some((lane, seq));
        Ok(())
    }

    /// One that has judged what lies within W before `seq`: the one that has just been there; else
    /// one that is kept and stands within that; else a new one.
    fn scout(&mut self, lane: Lane, seq: u64) -> Result<Scout, Trouble> {
        if let Some(scout) = self.scouts.take(lane, seq, seq) {
            return Ok(scout);
        }
        let Some((stream, partition)) = self.shared.lanes.place(lane) else {
            return Err(Trouble::Late);
        };
        let window = self.windows[stream as usize];
        self.stand_at(lane, seq)?;
        // Stamps behind it may be as much earlier as clocks differ.
        let since_ms = self.message(lane)?.at_ms - millis(window + BROKER_SKEW_MAX);
        let topic = self.shared.lanes.topic(stream);
        let from = offset_at(&self.reader, topic, partition, since_ms.max(0))?;
        // Where the next record stands further on, W before it may begin behind `seq`.
        let from = from.map_or(seq, |from| from.min(seq));
        let kept = self.scouts.take(lane, from, seq);
        let mut scout = kept.unwrap_or_else(|| Scout::new(lane, from, window));
        match self.advance(&mut scout, seq) {
            Ok(()) => Ok(scout),
            Err(trouble) => {
                // The next try goes on where this one ended.
                self.scouts.keep(scout, Instant::now());
                Err(trouble)
            }
        }
    }

    /// Lets a scout read on to `seq`.
    fn advance(&mut self, scout: &mut Scout, seq: u64) -> Result<(), Trouble> {
        if scout.next < seq {
            self.stand_at(scout.lane, scout.next)?;
        }
        while scout.next < seq {
            let taken = self.message(scout.lane)?;
            if taken.position.seq >= seq {
                self.stands = None;
                break;
            }
            if let Ok((event, _)) = &taken.event {
                scout.judge.is_first(taken.at_ms, event.identity(), event.content());
            }
            self.shared.stats.add_scouted();
            scout.next = taken.position.seq + 1;
        }
        scout.next = seq;
        Ok(())
    }
}

/// Why a range couldn't be read.
enum Trouble {
    Kafka(KafkaError),
    Late,
    Closing,
}

impl From<KafkaError> for Trouble {
    fn from(error: KafkaError) -> Self {
        Self::Kafka(error)
    }
}

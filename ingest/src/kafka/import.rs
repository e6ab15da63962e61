//! Moving a journal into Kafka, once.
//!
//! Records are appended in their order, as they were received (R16: their age was judged then), and
//! begin a new life of the log (R8). An import may be killed at any moment and run again: nothing
//! is put in twice.
//!
//! # How
//! It begins as [`claims`](super::claims) say, so that it never runs beside a node, and looks again
//! before each batch. Before a batch is sent, `touchline-meta` is told which records of the journal
//! it holds, and where every lane ends: so all before it is in, and of this batch nobody knows. Who
//! goes on reads what has come behind those ends, and leaves that out of the batch. Whatever stands
//! there and is none of the batch's was written by somebody else, and the import refuses to go on.

pub(super) mod deliveries;
mod error;
mod found;

pub use error::ImportError;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde::{Deserialize, Serialize};
use touchline_core::event::Identity;
use touchline_core::log::{Epoch, Position, Record};

use super::claims::{await_alone, claim, refuse_nodes, withdraw};
use super::client::{Context, Reader, config, reader, unreachable};
use super::lanes::Lanes;
use super::life::{self, Life, hex};
use super::meta::{Meta, Placed, Writer};
use super::notes::Note;
use super::options::{KafkaOptions, OpenError};
use super::reach::{Reach, watermarks};
use super::state::lock;
use super::{topics, wire};
use crate::limits::IMPORT_BATCH_MAX;
use deliveries::{Deliveries, State};
use found::{Sent, is_alive, refuse_events, sent_already};

/// How long brokers may take to acknowledge one batch.
const BATCH_MAX: Duration = Duration::from_secs(60);

/// How far a journal has been moved in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    #[serde(with = "hex")]
    journal: u64,
    /// Life of the log that it has begun, or is about to begin.
    pub generation: u64,
    /// All below is in.
    next: u64,
    /// Of what lies between `next` and here nobody knows.
    until: u64,
    is_done: bool,
    /// By lane: where it ended when `next` was reached.
    lanes: Vec<u64>,
}

impl Progress {
    /// Whether the log holds a part of a journal or is about to, and isn't ready for nodes.
    pub fn is_under_way(&self, life: &Life) -> bool {
        !self.is_done && self.generation >= life.generation
    }

    /// Whether something is left to be moved, whatever life the log is in.
    pub fn is_open(&self) -> bool {
        !self.is_done
    }

    /// Whether it is in the way of `other`.
    pub fn rivals(&self, other: &Self) -> bool {
        !self.is_done && self.generation >= other.generation
    }

    /// For a node that finds that.
    pub fn told(&self) -> String {
        format!(
            "a journal is being moved into this log, and is in up to sequence {}: run `touchline \
             log migrate` to its end first",
            self.next
        )
    }

    pub fn key(&self) -> String {
        format!("import/{:016x}", self.journal)
    }
}

/// Clients of a log into which a journal is to be moved.
struct Ground {
    context: Context,
    lanes: Lanes,
    asking: Reader,
    writer: Writer,
}

/// An import that has looked at the log, and has yet to say so.
pub(super) struct Prospect {
    options: KafkaOptions,
    ground: Ground,
    /// What stands there of it.
    before: Option<Progress>,
    progress: Progress,
    reaches: Vec<Reach>,
}

impl Prospect {
    /// What is to be done; `None`: nothing.
    pub fn look(
        options: &KafkaOptions,
        journal: Epoch,
        first: u64,
        end: u64,
    ) -> Result<Option<Self>, ImportError> {
        options.check()?;
        let context = Context::new(options);
        let lanes = Lanes::new(&options.prefix, options.partitions);
        let asking = reader(options, &context)?;
        topics::ensure(options, &lanes, &asking, &context)?;
        let writer = Writer::new(options, &context)?;
        let meta = Meta::read(options, &asking)?;
        let reaches = watermarks(options, &lanes, &asking)?;
        let known = meta.imports.get(&format!("{:016x}", journal.0)).map(|it| &it.progress);
        let known = known.filter(|it| is_alive(it, &meta, &reaches)).cloned();
        if known.as_ref().is_some_and(|it| it.is_done && it.next >= end) {
            return Ok(None);
        }
        if known.is_none() {
            refuse_events(&lanes, &reaches)?;
        }
        refuse_nodes(&meta, now_ms(options, &writer)?)?;
        let fresh = || Progress {
            journal: journal.0,
            generation: meta.life.as_ref().map_or(0, |life| life.generation) + 1,
            next: first,
            until: first,
            is_done: false,
            lanes: reaches.iter().map(|reach| reach.high).collect(),
        };
        let progress = known.clone().unwrap_or_else(fresh);
        let progress = Progress { is_done: false, ..progress };
        let ground = Ground { context, lanes, asking, writer };
        Ok(Some(Self { options: options.clone(), ground, before: known, progress, reaches }))
    }

    /// Says so, and goes on if nobody else is there.
    pub fn claim(self, end: u64) -> Result<Import, ImportError> {
        let Self { options, ground, before, mut progress, reaches } = self;
        let Ground { asking, writer, lanes, .. } = &ground;
        let heard = claim(&options, asking, writer, &progress, before.as_ref())?;
        let sent = match &before {
            Some(before) => {
                let sent = sent_already(&options, lanes, asking, &progress)?;
                if before.is_done && !sent.is_empty() {
                    withdraw(writer, &progress, Some(before));
                    let left = end - progress.next;
                    return Err(ImportError::Overtaken { next: progress.next, left });
                }
                sent
            }
            None => {
                // A node may have come and gone since the log was looked at.
                let now = watermarks(&options, lanes, asking)?;
                if now != reaches {
                    withdraw(writer, &progress, None);
                    refuse_events(lanes, &now)?;
                    return Err(ImportError::Restless);
                }
                let life = life::begin(&options, asking, writer, progress.generation)?;
                progress.generation = life.generation;
                Vec::new()
            }
        };
        let epoch = Meta::read(&options, asking)?.life.map_or(Epoch(0), |life| life.epoch());
        let import = Import::new(&options, ground, progress, epoch, sent, heard);
        let import = import.map_err(OpenError::Client)?;
        if before.is_none() {
            import.save()?;
        }
        Ok(import)
    }
}

/// What time it is by the brokers' clocks: a message of our own tells.
fn now_ms(options: &KafkaOptions, writer: &Writer) -> Result<i64, ImportError> {
    let own = Note { generation: 0, epoch: 0, next: Vec::new(), is_open: false };
    let failed = unreachable(options, "be written to");
    Ok(writer.put(&Note::key("log-migrate"), &own).map_err(failed)?.at_ms)
}

/// A journal on its way into the log.
pub struct Import {
    options: KafkaOptions,
    lanes: Lanes,
    asking: Reader,
    writer: Writer,
    producer: BaseProducer<Deliveries>,
    progress: Progress,
    epoch: Epoch,
    /// What an import that was killed has sent of the batch that is to come.
    sent: Vec<Sent>,
    skipped: u64,
    /// `touchline-meta` is known up to there.
    heard: i64,
}

impl Import {
    /// Takes up the import of the journal of epoch `journal`, which holds `first..end`, or begins
    /// it. `None`: all of it is in.
    pub fn begin(
        options: &KafkaOptions,
        journal: Epoch,
        first: u64,
        end: u64,
    ) -> Result<Option<Self>, ImportError> {
        let prospect = Prospect::look(options, journal, first, end)?;
        prospect.map(|prospect| prospect.claim(end)).transpose()
    }

    fn new(
        options: &KafkaOptions,
        ground: Ground,
        progress: Progress,
        epoch: Epoch,
        sent: Vec<Sent>,
        heard: i64,
    ) -> Result<Self, KafkaError> {
        let Ground { context, lanes, asking, writer } = ground;
        let state = Arc::new(Mutex::new(State::default()));
        let deliveries = Deliveries { context, state };
        let producer = config(options)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", BATCH_MAX.as_millis().to_string())
            .set("linger.ms", "5")
            .set("queue.buffering.max.messages", (IMPORT_BATCH_MAX * 2).to_string())
            .set("message.max.bytes", "1000000")
            .create_with_context(deliveries)?;
        let (options, skipped) = (options.clone(), 0);
        Ok(Self { options, lanes, asking, writer, producer, progress, epoch, sent, skipped, heard })
    }

    /// From where on the journal is to be read.
    pub fn next(&self) -> u64 {
        self.progress.next
    }

    /// Where the batch that is to come must end, if one was under way when an import was killed.
    pub fn until(&self) -> Option<u64> {
        Some(self.progress.until).filter(|until| *until > self.progress.next)
    }

    /// Life of the log that the import has begun.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Records that an import which was killed had put in, and this one left out.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Appends the next `records` of the journal, up to sequence `until` (below which there may be
    /// holes). Returns once brokers have acknowledged all of them.
    pub fn put(&mut self, records: &[Record], until: u64) -> Result<(), ImportError> {
        debug_assert!(self.until().is_none_or(|it| it == until), "a batch is taken up as it was");
        let is_in = self.tell_apart(records)?;
        self.progress.until = until;
        self.progress.is_done = false;
        let placed = self.save()?;
        self.heard = await_alone(&self.options, &self.asking, &self.progress, placed, self.heard)?;
        for (n, record) in records.iter().enumerate() {
            if is_in[n] {
                self.skipped += 1;
            } else {
                self.send(n, record)?;
            }
        }
        self.settle(records)?;
        // Only now: who takes this batch up once more must find again what was left out.
        for it in std::mem::take(&mut self.sent) {
            let end = &mut self.progress.lanes[usize::from(it.at.lane.0)];
            *end = (*end).max(it.at.seq + 1);
        }
        self.progress.next = until;
        Ok(())
    }

    /// Which of `records` were sent before; all that was sent must be among them.
    fn tell_apart(&self, records: &[Record]) -> Result<Vec<bool>, ImportError> {
        let mut sent: HashMap<Identity, Vec<Position>> = HashMap::new();
        for it in &self.sent {
            sent.entry(it.identity).or_default().push(it.at);
        }
        let is_sent = |record: &Record| {
            let places = sent.get_mut(&record.event.identity());
            places.is_some_and(|places| places.pop().is_some())
        };
        let is_in = records.iter().map(is_sent).collect();
        match sent.into_values().flatten().next() {
            None => Ok(is_in),
            Some(at) => {
                let place = self.lanes.place(at.lane);
                let topic = place.map_or("", |(stream, _)| self.lanes.topic(stream)).to_owned();
                let partition = place.map_or(0, |(_, partition)| partition);
                Err(ImportError::Foreign { topic, partition, offset: at.seq })
            }
        }
    }

    /// The journal has been read to its end, `end`.
    pub fn finish(mut self, end: u64) -> Result<(), ImportError> {
        self.progress.next = end;
        self.progress.until = end;
        self.progress.is_done = true;
        self.save().map(drop)
    }

    fn save(&self) -> Result<Placed, ImportError> {
        let failed = unreachable(&self.options, "note how far the journal is in");
        let saved = self.writer.put(&self.progress.key(), &self.progress);
        saved.map_err(|error| failed(error).into())
    }

    fn send(&mut self, n: usize, record: &Record) -> Result<(), ImportError> {
        let event = &record.event;
        let lane = self.lanes.of(event.stream, &event.route);
        let Some((stream, partition)) = self.lanes.place(lane) else { return Ok(()) };
        let value = wire::encode(event, record.received_at);
        let message = BaseRecord::with_opaque_to(self.lanes.topic(stream), n)
            .partition(partition)
            .key(event.route.as_str())
            .payload(&value)
            .headers(wire::headers(event));
        lock(&self.producer.context().state).left += 1;
        self.producer
            .send(message)
            .map_err(|(error, _)| ImportError::Refused { seq: record.position.seq, error })
    }

    /// Waits for all that was sent, and takes in where lanes end now.
    fn settle(&mut self, records: &[Record]) -> Result<(), ImportError> {
        let flushed = self.producer.flush(BATCH_MAX + Duration::from_secs(5));
        let mut state = std::mem::take(&mut *lock(&self.producer.context().state));
        let seq = |n: usize| records.get(n).map_or(0, |record| record.position.seq);
        if let Some((n, error)) = state.failed.take() {
            return Err(ImportError::Refused { seq: seq(n), error });
        }
        if let Err(error) = flushed {
            return Err(ImportError::Refused { seq: seq(0), error });
        }
        if state.left > 0 {
            let error = KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut);
            return Err(ImportError::Refused { seq: seq(0), error });
        }
        for ((topic, partition), next) in state.ends {
            if let Some(lane) = self.lanes.find(&topic, partition) {
                let end = &mut self.progress.lanes[usize::from(lane.0)];
                *end = (*end).max(next);
            }
        }
        Ok(())
    }
}

//! Moving a journal into Kafka, once.
//!
//! Records are appended in their order, as they were received (R16: their age was judged then), and
//! begin a new life of the log (R8). An import may be killed at any moment and run again: nothing
//! is put in twice.
//!
//! # How
//! Before a batch is sent, `touchline-meta` is told which records of the journal it holds, and
//! where every lane ends: so all before it is in, and of this batch nobody knows. Who goes on reads
//! what has come behind those ends, and leaves that out of the batch. Whatever stands there and is
//! none of the batch's was written by somebody else, and the import refuses to go on.

mod deliveries;
mod error;

pub use error::ImportError;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde::{Deserialize, Serialize};
use touchline_core::event::Identity;
use touchline_core::log::{Epoch, Position, Record};

use super::client::{Context, Reader, config, reader, unreachable};
use super::clock::millis;
use super::lanes::Lanes;
use super::life::{self, Life, hex};
use super::meta::{Meta, Writer};
use super::notes::Note;
use super::options::{KafkaOptions, OpenError};
use super::outside::Outside;
use super::reach::{Reach, watermarks};
use super::state::lock;
use super::{topics, wire};
use crate::limits::IMPORT_BATCH_MAX;
use deliveries::{Deliveries, State};

/// How long brokers may take to acknowledge one batch.
const BATCH_MAX: Duration = Duration::from_secs(60);
/// How long lanes must stand still before it is known what an import that was killed had sent.
const STILL: Duration = Duration::from_secs(2);
/// A node whose note is younger still runs: it writes one a minute.
const NODE_SILENCE: Duration = Duration::from_secs(90);

/// How far a journal has been moved in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    #[serde(with = "hex")]
    journal: u64,
    /// Life of the log that it has begun.
    generation: u64,
    /// All below is in.
    next: u64,
    /// Of what lies between `next` and here nobody knows.
    until: u64,
    is_done: bool,
    /// By lane: where it ended when `next` was reached.
    lanes: Vec<u64>,
}

impl Progress {
    /// Whether the log holds a part of a journal, and isn't ready for nodes.
    pub fn is_under_way(&self, life: &Life) -> bool {
        !self.is_done && self.generation == life.generation
    }

    /// For a node that finds that.
    pub fn told(&self) -> String {
        format!(
            "a journal is being moved into this log, and is in up to sequence {}: run `touchline \
             log migrate` to its end first",
            self.next
        )
    }

    fn key(&self) -> String {
        format!("import/{:016x}", self.journal)
    }
}

/// A journal on its way into the log.
pub struct Import {
    options: KafkaOptions,
    lanes: Lanes,
    writer: Writer,
    producer: BaseProducer<Deliveries>,
    progress: Progress,
    epoch: Epoch,
    /// What an import that was killed has sent of the batch that is to come.
    sent: Vec<Sent>,
    skipped: u64,
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
        options.check()?;
        let context = Context::new();
        let lanes = Lanes::new(&options.prefix, options.partitions);
        let asking = reader(options, &context)?;
        topics::ensure(options, &lanes, &asking, &context)?;
        let writer = Writer::new(options, &context)?;
        let meta = Meta::read(options, &asking)?;
        let reaches = watermarks(options, &lanes, &asking)?;
        let known = meta.imports.get(&format!("{:016x}", journal.0));
        let known = known.filter(|it| is_alive(it, &meta, &reaches)).cloned();
        let (progress, sent) = match known {
            Some(progress) if progress.is_done && progress.next >= end => return Ok(None),
            Some(progress) => {
                refuse_nodes(&writer, &meta, options)?;
                let sent = sent_already(options, &lanes, &asking, &progress)?;
                if progress.is_done && !sent.is_empty() {
                    let left = end - progress.next;
                    return Err(ImportError::Overtaken { next: progress.next, left });
                }
                (progress, sent)
            }
            None => {
                refuse_events(&lanes, &reaches)?;
                refuse_nodes(&writer, &meta, options)?;
                let generation = meta.life.as_ref().map_or(0, |life| life.generation) + 1;
                let life = life::begin(options, &asking, &writer, generation)?;
                let progress = Progress {
                    journal: journal.0,
                    generation: life.generation,
                    next: first,
                    until: first,
                    is_done: false,
                    lanes: reaches.iter().map(|reach| reach.high).collect(),
                };
                (progress, Vec::new())
            }
        };
        let epoch = Meta::read(options, &asking)?.life.map_or(Epoch(0), |life| life.epoch());
        let import = Self::new(options, &context, lanes, writer, progress, epoch);
        Ok(Some(Self { sent, ..import.map_err(OpenError::Client)? }))
    }

    fn new(
        options: &KafkaOptions,
        context: &Context,
        lanes: Lanes,
        writer: Writer,
        progress: Progress,
        epoch: Epoch,
    ) -> Result<Self, KafkaError> {
        let state = Arc::new(Mutex::new(State::default()));
        let deliveries = Deliveries { context: context.clone(), state };
        let producer = config(options)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", BATCH_MAX.as_millis().to_string())
            .set("linger.ms", "5")
            .set("queue.buffering.max.messages", (IMPORT_BATCH_MAX * 2).to_string())
            .set("message.max.bytes", "1000000")
            .create_with_context(deliveries)?;
        let (options, sent) = (options.clone(), Vec::new());
        Ok(Self { options, lanes, writer, producer, progress, epoch, sent, skipped: 0 })
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
        self.save()?;
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
        self.save()
    }

    fn save(&self) -> Result<(), ImportError> {
        let failed = unreachable(&self.options, "note how far the journal is in");
        let saved = self.writer.put(&self.progress.key(), &self.progress);
        saved.map(drop).map_err(|error| failed(error).into())
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

/// Whether a progress speaks of the log as it is: the life it began is the present one, and no lane
/// is shorter than it was.
fn is_alive(progress: &Progress, meta: &Meta, reaches: &[Reach]) -> bool {
    let is_present = meta.life.as_ref().is_some_and(|life| life.generation == progress.generation);
    is_present
        && progress.lanes.len() == reaches.len()
        && progress.lanes.iter().zip(reaches).all(|(end, reach)| *end <= reach.high)
}

/// A log into which a journal may be moved is empty.
fn refuse_events(lanes: &Lanes, reaches: &[Reach]) -> Result<(), ImportError> {
    let mut all = lanes.all().zip(reaches);
    let taken = all.find(|(_, reach)| reach.low < reach.high);
    taken.map_or(Ok(()), |((_, topic, partition), _)| {
        Err(ImportError::NotEmpty { topic: topic.to_owned(), partition })
    })
}

/// Nobody must be shown a journal as if it happened now: no node may run on the log.
fn refuse_nodes(writer: &Writer, meta: &Meta, options: &KafkaOptions) -> Result<(), ImportError> {
    // Brokers' time, by the stamp of a message of our own.
    let own = Note { generation: 0, epoch: 0, next: Vec::new(), is_open: false };
    let failed = unreachable(options, "be written to");
    let now_ms = writer.put(&Note::key("log-migrate"), &own).map_err(failed)?;
    for (node, (note, at_ms)) in &meta.notes {
        let ago_ms = now_ms.saturating_sub(*at_ms);
        if note.is_open && ago_ms < millis(NODE_SILENCE) {
            let ago_s = u64::try_from(ago_ms / 1_000).unwrap_or(0);
            return Err(ImportError::NodeRuns { node: node.clone(), ago_s });
        }
    }
    Ok(())
}

/// Something that has come behind what is known to be in.
struct Sent {
    identity: Identity,
    at: Position,
}

/// What an import that was killed has sent of its last batch. Waits until nothing comes any more:
/// what it had handed to its kernel may still be under way.
fn sent_already(
    options: &KafkaOptions,
    lanes: &Lanes,
    asking: &Reader,
    progress: &Progress,
) -> Result<Vec<Sent>, ImportError> {
    let mut reaches = watermarks(options, lanes, asking)?;
    loop {
        std::thread::sleep(STILL);
        let again = watermarks(options, lanes, asking)?;
        if std::mem::replace(&mut reaches, again) == reaches {
            break;
        }
    }
    let outside = Outside::open(options)?;
    let mut sent = Vec::new();
    for (lane, topic, partition) in lanes.all() {
        let n = usize::from(lane.0);
        let mut foreign = None;
        outside.read(lane, progress.lanes[n], reaches[n].high, |found| match found.record {
            Ok(record) if sent.len() < IMPORT_BATCH_MAX => {
                sent.push(Sent { identity: record.event.identity(), at: record.position });
                true
            }
            _ => {
                foreign = Some(found.position.seq);
                false
            }
        })?;
        if let Some(offset) = foreign {
            let topic = topic.to_owned();
            return Err(ImportError::Foreign { topic, partition, offset });
        }
    }
    Ok(sent)
}

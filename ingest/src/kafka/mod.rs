//! Kafka as the log: what several nodes share, and what outlives each of them.
//!
//! A [`KafkaLog`] appends to a cluster and reads all of it back. [`EventLog::append`] answers when
//! the brokers have acknowledged (`acks=all`); every node reads every partition directly, so that
//! what Kafka has, every node's sockets get, with no hop in between. A position is (lane, offset)
//! and means the same on every node.
//!
//! # Nouns
//! - *Lane*: a partition of a stream's topic (R1).
//! - *Life*: the epoch, as the topic `touchline-meta` holds it (R8).
//! - *Door*: what may be appended, judged by what this node has read and sent (R14 to R16).
//! - *Judge*: which records are duplicates, a function of the log alone (R17).
//! - *Flight*: an append whose acknowledgements are under way.
//!
//! # How it is laid out
//! | module | what it holds |
//! |---|---|
//! | [`options`] | what it is told, why it may not start |
//! | [`lanes`], [`judge`], `wire`, `door`, `flight` | the logic, without brokers |
//! | `client`, `topics`, `life` | clients, topics, epochs |
//! | `producer` | sending, and what becomes of it |
//! | `tail`, `scan` | reading as the log grows; reading a range back |
//! | `roster` | which node asks which source |
//! | `watch` | whether brokers answer, how far lanes reach |
//! | `state` | what the threads share |
//!
//! # Threads
//! `kafka-tail`, `kafka-scan`, `kafka-watch`, `kafka-roster`, and those of librdkafka. No caller ever waits for a
//! broker.

mod client;
mod door;
mod flight;
pub mod judge;
pub mod lanes;
mod life;
pub mod options;
mod producer;
mod roster;
mod scan;
mod state;
mod stats;
mod tail;
mod topics;
mod watch;
mod wire;

pub use options::{DenialCause, KafkaOptions, OpenError, Sasl, Security, Tls};
pub use stats::KafkaStats;
pub use wire::{Poison, SCHEMA};

use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use touchline_core::dead::DeadLetters;
use touchline_core::event::{Event, Topic};
use touchline_core::log::{AppendError, AppendReply, Epoch, EventLog, Lane, LogBounds, Outcome};
use touchline_core::log::{LogHealthError, ReadError, ReadReply, ReadRequest, TailSink};
use touchline_core::time::Timestamp;

use crate::broadcast::system_clock;
use crate::limits::{APPEND_EVENTS_MAX, BROKER_SKEW_MAX, READS_WAITING_MAX};
use crate::roster::Roster;
use client::{ASK_MAX, Context, Reader, reader, unreachable};
use door::{Admitted, Door, Rules};
use lanes::Lanes;
use producer::Sender;
use roster::Group;
use scan::Scan;
use state::{Shared, lock};
use tail::{Start, Tail};
use watch::{Watch, offset_at};

/// The log that several nodes share. Closed when it is dropped, at the latest.
pub struct KafkaLog {
    shared: Arc<Shared>,
    sender: Sender,
    reads: SyncSender<(ReadRequest, ReadReply)>,
    roster: Arc<dyn Roster>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What a start has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenReport {
    /// Life of the log.
    pub epoch: Epoch,
    /// How many lives there were before, and this one.
    pub generation: u64,
    /// Lanes.
    pub lanes: usize,
    /// Records read before the node was ready.
    pub records_read: u64,
    /// How long all of it took.
    pub took: Duration,
}

impl KafkaLog {
    /// Connects, makes or checks the topics, finds the epoch, and reads the dedupe window of every
    /// lane. Blocks meanwhile; ends early once `is_stopped` says so. Records that can't be shown
    /// are parked in `dead`.
    pub fn open(
        options: &KafkaOptions,
        dead: Arc<dyn DeadLetters>,
        is_stopped: impl Fn() -> bool,
    ) -> Result<(Arc<Self>, OpenReport), OpenError> {
        options.check()?;
        let began = Instant::now();
        let context = Context::new();
        let lanes = Lanes::new(&options.prefix, options.partitions);
        let asking = reader(options, &context)?;
        let before = life::before(options, &asking)
            .map_err(|error| context.denial(options, &asking).unwrap_or(error))?;
        let were_lost = topics::ensure(options, &lanes, &asking, &context)?;
        let life = life::find(options, &asking, &context, before.filter(|_| were_lost))?;
        let rules = Rules {
            windows: options.windows,
            entries_max: options.dedupe_entries_max,
            pending_bytes_max: options.pending_bytes_max,
        };
        let door = Door::new(&lanes, rules);
        let shared = Arc::new(Shared::new(lanes, life.epoch(), door, dead));
        let starts = starts(options, &shared, &asking)?;
        let (ready_in, ready) = sync_channel(1);
        let tail = Tail::new(reader(options, &context)?, Arc::clone(&shared), &starts, ready_in)
            .map_err(OpenError::Client)?;
        let scan = Scan::new(reader(options, &context)?, Arc::clone(&shared), options.windows);
        let watch = Watch::new(asking, Arc::clone(&shared), options.windows);
        let group = Group::join(options, context.clone(), &shared)?;
        let roster = group.roster();
        let sender = Sender::new(options, context, Arc::clone(&shared))?;
        let (reads, requests) = sync_channel(READS_WAITING_MAX);
        let threads = Mutex::default();
        let log = Self { shared: Arc::clone(&shared), sender, reads, roster, threads };
        // From here on dropping the log ends what has begun.
        log.spawn("kafka-tail", move || tail.run())?;
        log.spawn("kafka-scan", move || scan.run(&requests))?;
        log.spawn("kafka-watch", move || watch.run())?;
        log.spawn("kafka-roster", move || group.run())?;
        while let Err(error) = ready.recv_timeout(Duration::from_millis(100)) {
            if is_stopped() || error == RecvTimeoutError::Disconnected {
                return Err(OpenError::Stopped);
            }
        }
        let report = OpenReport {
            epoch: life.epoch(),
            generation: life.generation,
            lanes: shared.lanes.count(),
            records_read: shared.stats.snapshot().read,
            took: began.elapsed(),
        };
        Ok((Arc::new(log), report))
    }

    fn spawn(&self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), OpenError> {
        let spawned = std::thread::Builder::new().name(name.into()).spawn(run);
        let failed = |error| OpenError::Host { what: format!("start thread {name}").into(), error };
        lock(&self.threads).push(spawned.map_err(failed)?);
        Ok(())
    }

    /// From now on every record that is read goes to `sink`, in order of each lane. What is below
    /// `bounds` at that moment has to be read.
    pub fn attach(&self, sink: Box<dyn TailSink>) {
        self.shared.attach(sink);
    }

    /// Which sources this node is to ask.
    pub fn roster(&self) -> Arc<dyn Roster> {
        Arc::clone(&self.roster)
    }

    /// Topic, partition and how many records this node is behind its end, of every lane.
    pub fn lags(&self) -> Vec<(String, i32, u64)> {
        let lanes = &self.shared.lanes;
        let place = |(lane, lag): (Lane, u64)| {
            let (stream, partition) = lanes.place(lane)?;
            Some((lanes.topic(stream).to_owned(), partition, lag))
        };
        self.shared.lags().filter_map(place).collect()
    }

    /// What it has counted.
    pub fn stats(&self) -> KafkaStats {
        let door = lock(&self.shared.door);
        let (pending, entries) = (door.pending_bytes() as u64, door.entries() as u64);
        drop(door);
        KafkaStats {
            pending_bytes: pending,
            dedupe_entries: entries,
            lag_max: self.shared.lags().map(|(_, lag)| lag).max().unwrap_or(0),
            ..self.shared.stats.snapshot()
        }
    }

    /// Waits for acknowledgements that are under way, for so long at most, and ends the threads.
    /// Whatever comes later is refused. `false` if some were still under way.
    pub fn close(&self, timeout: Duration) -> bool {
        let is_through = self.sender.flush(timeout);
        self.end_threads();
        self.shared.detach_all();
        is_through
    }

    fn end_threads(&self) {
        self.shared.is_closing.store(true, Ordering::Relaxed);
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            let _ = thread.join();
        }
    }
}

impl Drop for KafkaLog {
    fn drop(&mut self) {
        self.end_threads();
    }
}

impl EventLog for KafkaLog {
    fn append(&self, events: Vec<Event>, received_at: Timestamp, reply: AppendReply) {
        let refusal = match self.shared.down_for() {
            _ if self.shared.is_closing() => Some(AppendError::Closed),
            _ if events.len() > APPEND_EVENTS_MAX => Some(AppendError::Busy),
            _ if self.shared.is_broken() => Some(AppendError::ReadOnly),
            Some(_) => Some(AppendError::Unreachable),
            None => None,
        };
        if let Some(error) = refusal {
            return reply(Err(error));
        }
        let admitted =
            lock(&self.shared.door).admit(&events, received_at, &self.shared.lanes, reply);
        match admitted {
            Err((error, reply)) => reply(Err(error)),
            Ok(Admitted::Settled(reply, outcomes)) => {
                let of = |wanted| outcomes.iter().filter(|it| **it == wanted).count() as u64;
                self.shared.stats.add_outcomes(0, of(Outcome::Duplicate), of(Outcome::TooOld));
                reply(Ok(outcomes));
            }
            Ok(Admitted::Flying(flight, new)) => {
                self.sender.send(&flight, new, &events, received_at);
            }
        }
    }

    fn read(&self, request: ReadRequest, reply: ReadReply) {
        match self.reads.try_send((request, reply)) {
            Ok(()) => {}
            Err(TrySendError::Full((_, reply))) => reply(Err(ReadError::Busy)),
            Err(TrySendError::Disconnected((_, reply))) => reply(Err(ReadError::Closed)),
        }
    }

    fn bounds(&self) -> LogBounds {
        self.shared.bounds()
    }

    fn look_ahead(&self) -> bool {
        self.shared.look_ahead();
        true
    }

    fn lane_of(&self, topic: &Topic) -> Lane {
        self.shared.lanes.of(topic.stream, &topic.route)
    }

    fn health(&self) -> Result<(), LogHealthError> {
        self.shared.health()
    }
}

/// Where reading of each lane begins: its window, and what clocks may differ by, before now.
fn starts(
    options: &KafkaOptions,
    shared: &Shared,
    reader: &Reader,
) -> Result<Vec<Start>, OpenError> {
    let failed = unreachable(options, "tell how far its partitions reach");
    let now = system_clock();
    let mut starts = Vec::with_capacity(shared.lanes.count());
    for (lane, topic, partition) in shared.lanes.all() {
        let (low, high) = reader.fetch_watermarks(topic, partition, ASK_MAX).map_err(&failed)?;
        let [low, until] = [low, high].map(|offset| u64::try_from(offset).unwrap_or(0));
        let window = shared
            .lanes
            .place(lane)
            .map_or(Duration::ZERO, |(stream, _)| options.windows[stream as usize]);
        let at_ms = now.minus(window + BROKER_SKEW_MAX * 2).0 / 1_000;
        let from = offset_at(reader, topic, partition, at_ms).map_err(&failed)?.unwrap_or(until);
        let from = from.clamp(low, until);
        // Of a lane that is read from its very beginning all duplicates are known.
        let exact_from = if from == 0 { 0 } else { until };
        shared.begin(lane, low, until, exact_from);
        starts.push(Start { lane, from, until });
    }
    Ok(starts)
}

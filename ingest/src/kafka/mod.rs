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
//! | [`lanes`], [`judge`], `wire`, `door`, `flight`, `clock`, `gate` | the logic, without brokers |
//! | `hints` | what keeps us from the brokers, in words of our configuration |
//! | `client`, `token` | clients, and how they sign in |
//! | `topics`, `meta`, `life`, `notes` | topics, what nodes tell each other |
//! | `claims` | nodes and a migration that begin in the same second |
//! | `opening`, `reach` | a start; how far lanes reach |
//! | `sender`, `line`, `producer` | sending, and what becomes of it |
//! | `tail`, `part` | reading as the log grows; judging and showing what has come |
//! | `owed` | keeping what was acknowledged and nobody is shown |
//! | `scan`, `scouts` | reading a range back, and what it is judged by |
//! | `roster` | which node asks which source |
//! | [`letters`] | dead letters where every node sees them |
//! | `watch`, `rounds`, `behind`, `witness` | whether brokers answer, how far lanes reach; noting it |
//! | `state` | what the threads share |
//! | [`outside`], `import` | reading without being a node; moving a journal in |
//!
//! # Threads
//! `kafka-tail`, `kafka-scan`, `kafka-watch`, `kafka-owed`, `kafka-roster`, `kafka-acks`,
//! `kafka-mend` (of the last two another pair where a spool is handed on), and those of librdkafka.
//! No caller ever waits for a broker.

mod behind;
mod claims;
mod client;
mod clock;
mod door;
mod flight;
mod gate;
mod hints;
mod import;
pub mod judge;
pub mod lanes;
pub mod letters;
mod life;
mod line;
mod meta;
mod notes;
mod opening;
pub mod options;
pub mod outside;
mod owed;
mod part;
mod producer;
mod pulse;
mod reach;
mod roster;
mod rounds;
mod scan;
mod scouts;
mod sender;
mod state;
mod stats;
mod tail;
mod token;
mod topics;
mod watch;
mod wire;
mod witness;

pub use behind::LagError;
pub use import::{Import, ImportError};
pub use options::{DenialCause, KafkaOptions, OpenError, Sasl, Security, Tls};
pub use stats::KafkaStats;
pub use wire::{Poison, SCHEMA};

use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use touchline_core::event::{Event, Topic};
use touchline_core::log::{AppendError, AppendReply, Epoch, EventLog, Lane, LogBounds, Outcome};
use touchline_core::log::{LogHealthError, Looks, ReadError, ReadReply, ReadRequest, TailSink};
use touchline_core::time::Timestamp;

use crate::limits::APPEND_EVENTS_MAX;
use crate::roster::Roster;
use client::Context;
use door::Admitted;
use sender::{Manner, Sender};
use state::{Shared, lock};

/// The log that several nodes share. Closed when it is dropped, at the latest.
pub struct KafkaLog {
    shared: Arc<Shared>,
    sender: Arc<Sender>,
    /// For who hands on what was kept, made when it is needed.
    orderly: Mutex<Option<Arc<Sender>>>,
    /// What it is made from.
    origin: (KafkaOptions, Context),
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

    /// Whether this node shows what brokers have.
    ///
    /// # Errors
    /// The lane that is furthest behind, once it has been for some seconds.
    pub fn keeps_up(&self) -> Result<(), LagError> {
        let Some((lane, records)) = self.shared.behind() else { return Ok(()) };
        let Some((stream, partition)) = self.shared.lanes.place(lane) else { return Ok(()) };
        let topic = self.shared.lanes.topic(stream).into();
        Err(LagError { topic, partition, records, records_max: self.origin.0.lag_records_max })
    }

    /// Whether this life of the log is over (R8): health says why, and only a new start goes on.
    pub fn is_over(&self) -> bool {
        self.shared.is_over()
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
            producers_replaced: self.sender.replaced(),
            ..self.shared.stats.snapshot()
        }
    }

    /// Waits for acknowledgements that are under way, for so long at most, and ends the threads.
    /// Whatever comes later is refused. `false` if some were still under way.
    pub fn close(&self, timeout: Duration) -> bool {
        let is_through = self.sender.flush(timeout)
            && lock(&self.orderly).as_ref().is_none_or(|it| it.flush(timeout));
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
        // What was read after that thread had ended.
        owed::keep(&self.shared);
        self.sender.end();
        if let Some(orderly) = &*lock(&self.orderly) {
            orderly.end();
        }
    }
}

impl Drop for KafkaLog {
    fn drop(&mut self) {
        self.end_threads();
    }
}

impl KafkaLog {
    /// The sender that keeps order.
    fn orderly(&self) -> Result<Arc<Sender>, OpenError> {
        let mut orderly = lock(&self.orderly);
        if let Some(sender) = &*orderly {
            return Ok(Arc::clone(sender));
        }
        let (options, context) = &self.origin;
        let sender = Sender::new(options, context, &self.shared, Manner::InOrder)?;
        let mended = Arc::clone(&sender);
        self.spawn("kafka-mend-2", move || mended.mend())?;
        Ok(Arc::clone(orderly.insert(sender)))
    }

    fn append_in(
        &self,
        manner: Manner,
        events: &[Event],
        received_at: Timestamp,
        reply: AppendReply,
    ) {
        let refusal = match self.shared.down_for() {
            _ if self.shared.is_closing() => Some(AppendError::Closed),
            _ if events.len() > APPEND_EVENTS_MAX => Some(AppendError::Busy),
            _ if self.shared.is_broken() => Some(AppendError::ReadOnly),
            _ if self.shared.is_mending() => Some(AppendError::Unreachable),
            Some(_) => Some(AppendError::Unreachable),
            None if self.shared.is_unheard() => Some(AppendError::Unreachable),
            None => None,
        };
        if let Some(error) = refusal {
            return reply(Err(error));
        }
        let sender = match manner {
            Manner::Quick => Arc::clone(&self.sender),
            Manner::InOrder => match self.orderly() {
                Ok(sender) => sender,
                Err(error) => return reply(Err(AppendError::Unknown(error.to_string().into()))),
            },
        };
        let admitted =
            lock(&self.shared.door).admit(events, received_at, &self.shared.lanes, reply);
        match admitted {
            Err((error, reply)) => reply(Err(error)),
            Ok(Admitted::Settled(reply, outcomes)) => {
                let of = |wanted| outcomes.iter().filter(|it| **it == wanted).count() as u64;
                self.shared.stats.add_outcomes(0, of(Outcome::Duplicate), of(Outcome::TooOld));
                reply(Ok(outcomes));
            }
            Ok(Admitted::Flying(flight, new)) => {
                if manner == Manner::InOrder {
                    flight.put_refusals_first();
                }
                sender.send(&flight, new, events, received_at);
            }
        }
    }
}

impl EventLog for KafkaLog {
    fn append(&self, events: Vec<Event>, received_at: Timestamp, reply: AppendReply) {
        self.append_in(Manner::Quick, &events, received_at, reply);
    }

    fn append_in_order(&self, events: Vec<Event>, received_at: Timestamp, reply: AppendReply) {
        self.append_in(Manner::InOrder, &events, received_at, reply);
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

    fn looks(&self, lane: Lane) -> Looks {
        self.shared.looks(lane)
    }

    fn lane_of(&self, topic: &Topic) -> Lane {
        self.shared.lanes.of(topic.stream, &topic.route)
    }

    fn health(&self) -> Result<(), LogHealthError> {
        self.shared.health()
    }
}

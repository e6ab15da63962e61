//! The way into the log, and what happens when the client that sends has failed for good.
//!
//! librdkafka's idempotent producer gives up on some errors: what it had under way can be neither
//! sent again nor left out without a repeat or a gap, and it takes nothing any more. For us that is
//! no reason to end. What was under way has an outcome that isn't known (R14): its source is told
//! so (503), sends again, and a repeat is hidden by every reader (R17). So another producer takes
//! the place of the one that has failed, by and by if that one fails as well.
//!
//! # Two manners
//! - [`Manner::Quick`], for sources: each message has its own time, and one that isn't
//!   acknowledged by then is unknown while those behind it go on.
//! - [`Manner::InOrder`], for who hands on what was kept (R18): of each lane one batch is under way
//!   at a time, which brokers take as a whole or not at all, and the next follows once it is known
//!   to be in. Messages have no time of their own. If one fails, or brokers take too long, nothing
//!   else is sent, and the producer is given up with what it still had: that may come in late, and
//!   is the next batch of each lane or nothing. Whoever begins again with the first event may
//!   repeat some, and a repeat changes nothing: of all events the first copies stand in order.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rdkafka::producer::{BaseRecord, Producer, PurgeConfig, ThreadedProducer};
use touchline_core::event::Event;
use touchline_core::log::{AppendError, Lane};
use touchline_core::retry::Backoff;
use touchline_core::time::Timestamp;

use super::client::{Context, config};
use super::door::New;
use super::flight::Flight;
use super::options::{KafkaOptions, OpenError};
use super::producer::{Deliveries, Ticket, said, settle};
use super::state::{Shared, lock};
use super::wire;

/// How often it is looked whether a producer has failed or is late.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A producer that has served for so long was no part of the trouble before it.
const STEADY: Duration = Duration::from_secs(60);
/// Bytes of a batch of several: what topics must take at least is 128 KiB (`max.message.bytes`
/// bounds batches), so none is refused for what stands beside it.
const BATCH_BYTES: usize = 100_000;
/// What an event takes in a batch beside its own bytes, at most.
const EVENT_HEAD_BYTES: usize = 512;

/// What is promised of the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// As long as nothing fails.
    Quick,
    /// Whatever fails.
    InOrder,
}

/// Whether a producer has lost a message, or failed for good.
#[derive(Default)]
pub(super) struct Load {
    failed: Mutex<Option<Arc<str>>>,
    has_lost: AtomicBool,
    bell: Condvar,
}

impl Load {
    /// A message was not acknowledged.
    pub fn lose(&self) {
        self.has_lost.store(true, Ordering::Release);
    }

    /// The producer has failed for good; the first reason counts.
    pub fn fail(&self, why: &str) {
        lock(&self.failed).get_or_insert_with(|| why.into());
        self.lose();
        self.bell.notify_all();
    }

    /// Whether nothing more may be sent in order.
    fn has_lost(&self) -> bool {
        self.has_lost.load(Ordering::Acquire)
    }

    /// Why it has failed, if it has. Waits a little for that.
    fn failure(&self) -> Option<Arc<str>> {
        let failed = lock(&self.failed);
        let waited = self.bell.wait_timeout_while(failed, LOOK_EVERY, |it| it.is_none());
        waited.unwrap_or_else(std::sync::PoisonError::into_inner).0.clone()
    }
}

/// One producer.
struct Line {
    producer: ThreadedProducer<Deliveries>,
    load: Arc<Load>,
}

/// The way into the log.
pub(super) struct Sender {
    options: KafkaOptions,
    context: Context,
    shared: Arc<Shared>,
    manner: Manner,
    line: Mutex<Arc<Line>>,
    replaced: AtomicU64,
}

impl Sender {
    pub fn new(
        options: &KafkaOptions,
        context: &Context,
        shared: &Arc<Shared>,
        manner: Manner,
    ) -> Result<Self, OpenError> {
        let line = Line::new(options, context, shared, manner)?;
        let (options, context, shared) = (options.clone(), context.clone(), Arc::clone(shared));
        let (line, replaced) = (Mutex::new(Arc::new(line)), AtomicU64::new(0));
        Ok(Self { options, context, shared, manner, line, replaced })
    }

    /// Sends `new` of `events`. Each settles its part of `flight`, here or later. In order it waits
    /// for brokers meanwhile.
    pub fn send(&self, flight: &Arc<Flight>, new: Vec<New>, events: &[Event], at: Timestamp) {
        // One producer for all of them: what it doesn't take the next one must not be given.
        let line = self.line();
        match self.manner {
            Manner::Quick => new.into_iter().for_each(|new| {
                self.send_one(&line, flight, new, &events[new.index], at);
            }),
            Manner::InOrder => {
                for wave in waves(new, events) {
                    self.send_wave(&line, flight, wave, events, at);
                }
            }
        }
    }

    /// A batch of each lane, and its outcome; nothing, once anything was lost.
    fn send_wave(
        &self,
        line: &Line,
        flight: &Arc<Flight>,
        wave: Vec<New>,
        events: &[Event],
        at: Timestamp,
    ) {
        for new in wave {
            match line.load.has_lost() {
                false => self.send_one(line, flight, new, &events[new.index], at),
                true => {
                    let error = AppendError::Unknown("an earlier one was not acknowledged".into());
                    settle(&self.shared, flight, new, Err(error));
                }
            }
        }
        if line.producer.flush(self.options.deliver_max).is_err() {
            line.load.fail("brokers did not acknowledge a batch in time");
        } else if line.load.has_lost() {
            line.load.fail("brokers did not acknowledge a batch");
        }
    }

    fn send_one(&self, line: &Line, flight: &Arc<Flight>, new: New, event: &Event, at: Timestamp) {
        let Some((stream, partition)) = self.shared.lanes.place(new.lane) else { return };
        let value = wire::encode(event, at);
        let ticket = Box::new(Ticket { flight: Arc::clone(flight), new });
        let record = BaseRecord::with_opaque_to(self.shared.lanes.topic(stream), ticket)
            .partition(partition)
            .key(event.route.as_str())
            .payload(&value)
            .headers(wire::headers(event));
        if let Err((error, record)) = line.producer.send(record) {
            drop(record);
            line.load.lose();
            settle(&self.shared, flight, new, Err(said(&error, new.index)));
        }
    }

    /// Waits until everything is settled, for so long at most; whether it is.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.line().producer.flush(timeout).is_ok()
    }

    /// How often a producer has taken the place of another.
    pub fn replaced(&self) -> u64 {
        self.replaced.load(Ordering::Relaxed)
    }

    /// Watches over the producer until the log is closed.
    pub fn mend(&self) {
        let mut backoff = Backoff::new();
        let mut up_since = Instant::now();
        while !self.shared.is_closing() {
            let line = self.line();
            // It is told of as well, where its thread gets to it.
            if let Some((_, why)) = line.producer.client().fatal_error() {
                line.load.fail(&why);
            }
            match line.load.failure() {
                Some(why) => {
                    self.replace(line, &why, &mut backoff);
                    up_since = Instant::now();
                }
                None if up_since.elapsed() >= STEADY => backoff.reset(),
                None => {}
            }
        }
    }

    fn line(&self) -> Arc<Line> {
        Arc::clone(&lock(&self.line))
    }

    /// Puts another producer in place of `old`, if one can be made.
    fn replace(&self, old: Arc<Line>, why: &Arc<str>, backoff: &mut Backoff) {
        // Nothing gets in behind what it has lost.
        old.load.fail(why);
        old.producer.purge(PurgeConfig::default().queue().inflight());
        let wait = backoff.next(rand::random());
        if self.manner == Manner::Quick {
            self.shared.set_mending(Some(why));
            tracing::error!(
                why = &**why,
                again_in_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                "the producer has failed for good, and another takes its place; sources of what it \
                 had under way are told that they don't know, and send again"
            );
        } else {
            tracing::warn!(why = &**why, "a group of the spool is begun again");
        }
        let until = Instant::now() + wait;
        while Instant::now() < until && !self.shared.is_closing() {
            std::thread::sleep(LOOK_EVERY.min(wait));
        }
        match Line::new(&self.options, &self.context, &self.shared, self.manner) {
            Ok(line) => *lock(&self.line) = Arc::new(line),
            Err(error) => {
                tracing::error!(%error, "no producer can be made; it is tried again");
                return;
            }
        }
        self.replaced.fetch_add(1, Ordering::Relaxed);
        if self.manner == Manner::Quick {
            self.shared.set_mending(None);
            tracing::info!("another producer is in place");
        }
        // Its end joins its thread, which may just be calling us: so it ends here.
        while Arc::strong_count(&old) > 1 && !self.shared.is_closing() {
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// Splits `new` so that each part holds one batch of each lane at most, in order.
fn waves(new: Vec<New>, events: &[Event]) -> Vec<Vec<New>> {
    let mut waves: Vec<Vec<New>> = Vec::new();
    // By lane: the wave of its last batch, and that batch's bytes.
    let mut ends: HashMap<Lane, (usize, usize)> = HashMap::new();
    for new in new {
        let bytes = events[new.index].size_bytes() + EVENT_HEAD_BYTES;
        let (wave, filled) = ends.entry(new.lane).or_insert((0, 0));
        if *filled > 0 && *filled + bytes > BATCH_BYTES {
            (*wave, *filled) = (*wave + 1, 0);
        }
        *filled += bytes;
        if waves.len() <= *wave {
            waves.resize_with(*wave + 1, Vec::new);
        }
        waves[*wave].push(new);
    }
    waves
}

impl Line {
    fn new(
        options: &KafkaOptions,
        context: &Context,
        shared: &Arc<Shared>,
        manner: Manner,
    ) -> Result<Self, OpenError> {
        let load = Arc::new(Load::default());
        let deliveries = Deliveries {
            context: context.clone(),
            shared: Arc::clone(shared),
            load: Arc::clone(&load),
        };
        let deliver_ms = options.deliver_max.as_millis().to_string();
        let queue_kib = (options.pending_bytes_max / 512).max(1_024).to_string();
        let mut config = config(options);
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("request.timeout.ms", &deliver_ms)
            .set("retry.backoff.ms", "50")
            .set("retry.backoff.max.ms", "500")
            // The door bounds bytes; this is twice as much, for what librdkafka keeps beside them.
            .set("queue.buffering.max.kbytes", &queue_kib)
            .set("queue.buffering.max.messages", "500000")
            .set("batch.num.messages", "10000")
            .set("message.max.bytes", "1000000");
        match manner {
            Manner::Quick => config
                // What was not acknowledged by then is unknown (R14), whatever comes of it.
                .set("message.timeout.ms", &deliver_ms)
                // Load makes batches: a lone event waits for a millisecond at most.
                .set("linger.ms", "1")
                .set("batch.size", BATCH_BYTES.to_string()),
            // A wave waits until it is flushed, so that it is one batch of each lane.
            Manner::InOrder => config.set("message.timeout.ms", "0").set("linger.ms", "600000"),
        };
        let producer = config.create_with_context(deliveries).map_err(OpenError::Client)?;
        Ok(Self { producer, load })
    }
}

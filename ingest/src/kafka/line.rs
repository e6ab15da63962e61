//! One producer, with the thread that hears of its deliveries.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, PurgeConfig};

use super::client::config;
use super::gate::BATCH_BYTES;
use super::options::{KafkaOptions, OpenError};
use super::producer::{Deliveries, Ticket};
use super::sender::Manner;
use super::state::lock;

/// How often it is looked whether a producer has failed or is late.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often the thread of a producer looks whether it is to end.
const POLL_MAX: Duration = Duration::from_millis(100);

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
    pub fn has_lost(&self) -> bool {
        self.has_lost.load(Ordering::Acquire)
    }

    /// Why it has failed, if it has. Waits a little for that.
    pub fn failure(&self) -> Option<Arc<str>> {
        let failed = lock(&self.failed);
        let waited = self.bell.wait_timeout_while(failed, LOOK_EVERY, |it| it.is_none());
        waited.unwrap_or_else(std::sync::PoisonError::into_inner).0.clone()
    }
}

/// One message, as librdkafka takes it.
pub(super) type Message<'a> = BaseRecord<'a, str, [u8], Box<Ticket>>;

/// One producer. Its messages are settled by [`Deliveries`], on its thread or on that of whoever
/// drops it last.
pub(super) struct Line {
    producer: Arc<BaseProducer<Deliveries>>,
    pub load: Arc<Load>,
    is_over: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Line {
    /// Of a producer that tells `deliveries`.
    pub fn new(
        options: &KafkaOptions,
        deliveries: Deliveries,
        manner: Manner,
    ) -> Result<Self, OpenError> {
        let load = Arc::clone(&deliveries.load);
        let quick_ms = manner.deliver_max(options).as_millis().to_string();
        let queue_kib = (options.pending_bytes_max / 512).max(1_024).to_string();
        let mut config = config(options);
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("request.timeout.ms", &quick_ms)
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
                .set("message.timeout.ms", &quick_ms)
                // The gate hands over whole batches; this keeps one from being sent in pieces.
                .set("linger.ms", "1")
                .set("batch.size", BATCH_BYTES.to_string()),
            // A wave waits until it is flushed, so that it is one batch of each lane.
            Manner::InOrder => config.set("message.timeout.ms", "0").set("linger.ms", "600000"),
        };
        let producer: BaseProducer<_> =
            config.create_with_context(deliveries).map_err(OpenError::Client)?;
        let (producer, is_over) = (Arc::new(producer), Arc::new(AtomicBool::new(false)));
        let (polled, ends) = (Arc::clone(&producer), Arc::clone(&is_over));
        let run = move || {
            while !ends.load(Ordering::Acquire) {
                polled.poll(POLL_MAX);
            }
        };
        let spawned = std::thread::Builder::new().name("kafka-acks".into()).spawn(run);
        let failed = |error| OpenError::Host { what: "start thread kafka-acks".into(), error };
        let thread = Mutex::new(Some(spawned.map_err(failed)?));
        Ok(Self { producer, load, is_over, thread })
    }

    /// Hands over a message; never waits.
    pub fn send(&self, message: Message<'_>) -> Result<(), (KafkaError, Box<Ticket>)> {
        self.producer.send(message).map_err(|(error, message)| (error, message.delivery_opaque))
    }

    /// Waits until all that was handed over is settled, for so long at most; whether it is.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.producer.flush(timeout).is_ok()
    }

    /// Why it has failed for good, if it has. Waits a little for that.
    pub fn failure(&self) -> Option<Arc<str>> {
        // It is told of as well, where its thread gets to it.
        if let Some((_, why)) = self.producer.client().fatal_error() {
            self.load.fail(&why);
        }
        self.load.failure()
    }

    /// Gives up what was handed over: it is settled as unknown.
    pub fn purge(&self) {
        self.producer.purge(PurgeConfig::default().queue().inflight());
    }

    /// Ends its thread. Not to be called by that.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Release);
        let thread = lock(&self.thread).take();
        // Only a panic can have ended it before, which is told of where it happened.
        let _ = thread.map(JoinHandle::join);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // The thread isn't waited for: it may be the one that drops this.
        self.is_over.store(true, Ordering::Release);
    }
}

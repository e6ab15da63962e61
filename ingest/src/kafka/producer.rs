//! Sending what the door has admitted, and what becomes of it.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use touchline_core::event::Event;
use touchline_core::log::{AppendError, Outcome, Position};
use touchline_core::time::Timestamp;

use super::client::{Context, config};
use super::door::New;
use super::flight::Flight;
use super::options::{KafkaOptions, OpenError};
use super::state::{Shared, lock};
use super::wire;

/// A message's ticket: whose it is, and where it counts.
pub(super) struct Ticket {
    flight: Arc<Flight>,
    new: New,
}

/// What is told of each message, on the producer's own thread.
pub(super) struct Deliveries {
    context: Context,
    shared: Arc<Shared>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.shared.set_broken(&format!("the producer has failed for good: {reason}"));
        }
        self.context.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let result = match result {
            Ok(message) => Ok(Position {
                lane: ticket.new.lane,
                seq: u64::try_from(message.offset()).unwrap_or(0),
            }),
            Err((error, _)) => Err(said(error, ticket.new.index)),
        };
        settle(&self.shared, &ticket.flight, ticket.new, result);
    }
}

/// Tells whoever waits for `new`: its own batch, and twins of it.
fn settle(shared: &Shared, flight: &Flight, new: New, result: Result<Position, AppendError>) {
    let twins = lock(&shared.door).landed(new.identity, result.as_ref().ok().copied());
    match &result {
        Ok(_) => shared.stats.add_outcomes(1, twins.len() as u64, 0),
        Err(_) => shared.stats.add_failed(),
    }
    for (twin, index) in twins {
        let of_twin = |error| match error {
            AppendError::Refused(_) => AppendError::Refused(vec![index]),
            error => error,
        };
        twin.settle(index, result.clone().map(|_| Outcome::Duplicate).map_err(of_twin));
    }
    flight.settle(new.index, result.map(Outcome::Accepted));
}

/// What the source of the event `index` of a batch is told.
fn said(error: &KafkaError, index: usize) -> AppendError {
    match error.rdkafka_error_code() {
        // The event's own fault: sending it again changes nothing.
        Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidRecord) => {
            AppendError::Refused(vec![index])
        }
        Some(RDKafkaErrorCode::QueueFull) => AppendError::Busy,
        _ => AppendError::Unknown(error.to_string().into()),
    }
}

/// The way into the log.
pub(super) struct Sender {
    producer: ThreadedProducer<Deliveries>,
    shared: Arc<Shared>,
}

impl Sender {
    pub fn new(
        options: &KafkaOptions,
        context: Context,
        shared: Arc<Shared>,
    ) -> Result<Self, OpenError> {
        let deliveries = Deliveries { context, shared: Arc::clone(&shared) };
        let deliver_ms = options.deliver_max.as_millis().to_string();
        let queue_kib = (options.pending_bytes_max / 512).max(1_024).to_string();
        let producer = config(options)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            // What was not acknowledged by then is unknown (R14), whatever comes of it.
            .set("message.timeout.ms", &deliver_ms)
            .set("request.timeout.ms", &deliver_ms)
            .set("retry.backoff.ms", "50")
            .set("retry.backoff.max.ms", "500")
            // The door bounds bytes; this is twice as much, for what librdkafka keeps beside them.
            .set("queue.buffering.max.kbytes", &queue_kib)
            .set("queue.buffering.max.messages", "500000")
            // Load makes batches: a lone event waits for a millisecond at most.
            .set("linger.ms", "1")
            .set("batch.num.messages", "10000")
            .set("message.max.bytes", "1000000")
            .create_with_context(deliveries)
            .map_err(OpenError::Client)?;
        Ok(Self { producer, shared })
    }

    /// Sends `new` of `events`. Each settles its part of `flight`, here or later.
    pub fn send(&self, flight: &Arc<Flight>, new: Vec<New>, events: &[Event], at: Timestamp) {
        for new in new {
            let event = &events[new.index];
            let Some((stream, partition)) = self.shared.lanes.place(new.lane) else { continue };
            let value = wire::encode(event, at);
            let ticket = Box::new(Ticket { flight: Arc::clone(flight), new });
            let record = BaseRecord::with_opaque_to(self.shared.lanes.topic(stream), ticket)
                .partition(partition)
                .key(event.route.as_str())
                .payload(&value)
                .headers(wire::headers(event));
            if let Err((error, record)) = self.producer.send(record) {
                drop(record);
                settle(&self.shared, flight, new, Err(said(&error, new.index)));
            }
        }
    }

    /// Waits until everything is settled, for so long at most; whether it is.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.producer.flush(timeout).is_ok()
    }
}

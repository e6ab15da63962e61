//! Writing to `touchline-meta`, with another producer where one has failed for good.
//!
//! librdkafka's idempotent producer takes nothing any more after some errors. A node's notes would
//! end with it, others would take the node for dead after a while, and a journal might be moved in
//! beside it. So the next message has another producer, and that one's successor comes no sooner
//! than a [`Backoff`] allows.

use std::error::Error;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use serde::Serialize;
use touchline_core::retry::Backoff;

use super::{Placed, stamp};
use crate::kafka::client::{Context, config};
use crate::kafka::options::{KafkaOptions, OpenError};
use crate::kafka::state::lock;
use crate::kafka::topics::meta_topic;

/// How long brokers may take to acknowledge what is written here.
const WRITE_MAX: Duration = Duration::from_secs(5);

/// Writes to the topic, one message at a time.
pub(in crate::kafka) struct Writer {
    options: KafkaOptions,
    context: Context,
    topic: String,
    line: Mutex<Line>,
}

/// One producer, and when it may have a successor.
struct Line {
    producer: BaseProducer<Told>,
    backoff: Backoff,
    again_at: Instant,
}

/// Tells whoever waits for a message what has become of it.
struct Told(Context);

impl ClientContext for Told {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, of: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.0.generate_oauth_token(of)
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(error, reason);
    }
}

impl ProducerContext for Told {
    type DeliveryOpaque = Box<SyncSender<KafkaResult<Placed>>>;

    fn delivery(&self, result: &DeliveryResult<'_>, told: Self::DeliveryOpaque) {
        let result = match result {
            Ok(message) => {
                Ok(Placed { at_ms: stamp(message.timestamp()), offset: message.offset() })
            }
            Err((error, _)) => Err(error.clone()),
        };
        // Whoever waited may have lost patience.
        let _ = told.try_send(result);
    }
}

impl Writer {
    pub fn new(options: &KafkaOptions, context: &Context) -> Result<Self, OpenError> {
        let producer = producer(options, context).map_err(OpenError::Client)?;
        let line = Line { producer, backoff: Backoff::new(), again_at: Instant::now() };
        let (options, context, topic) = (options.clone(), context.clone(), meta_topic(options));
        Ok(Self { options, context, topic, line: Mutex::new(line) })
    }

    /// Puts `value` under `key`; answers what its broker has made of it.
    pub fn put(&self, key: &str, value: &impl Serialize) -> KafkaResult<Placed> {
        self.put_within(WRITE_MAX * 2, key, value)
    }

    /// The same for who can't wait long.
    pub fn put_within(
        &self,
        patience: Duration,
        key: &str,
        value: &impl Serialize,
    ) -> KafkaResult<Placed> {
        let value = serde_json::to_vec(value).unwrap_or_default();
        self.write(patience, key, Some(&value))
    }

    /// Takes back what stands under `key`.
    pub fn remove(&self, key: &str) -> KafkaResult<Placed> {
        self.write(WRITE_MAX * 2, key, None)
    }

    fn write(&self, patience: Duration, key: &str, value: Option<&[u8]>) -> KafkaResult<Placed> {
        let mut line = self.line()?;
        let (told, answer) = sync_channel(1);
        let record = BaseRecord::with_opaque_to(&self.topic, Box::new(told)).partition(0).key(key);
        let record = match value {
            Some(value) => record.payload(value),
            None => record,
        };
        line.producer.send(record).map_err(|(error, _)| error)?;
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline && line.producer.client().fatal_error().is_none() {
            line.producer.poll(Duration::from_millis(50));
            if let Ok(result) = answer.try_recv() {
                if result.is_ok() {
                    line.backoff.reset();
                }
                return result;
            }
        }
        Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut))
    }

    /// The producer of the moment; another one, where it has failed for good and the wait is over.
    fn line(&self) -> KafkaResult<MutexGuard<'_, Line>> {
        let mut line = lock(&self.line);
        let Some((code, why)) = line.producer.client().fatal_error() else { return Ok(line) };
        if Instant::now() < line.again_at {
            return Err(KafkaError::MessageProduction(code));
        }
        tracing::warn!(why, "who writes this node's notes has failed for good: another takes over");
        line.again_at = Instant::now() + line.backoff.next(rand::random());
        line.producer = producer(&self.options, &self.context)?;
        Ok(line)
    }
}

fn producer(options: &KafkaOptions, context: &Context) -> KafkaResult<BaseProducer<Told>> {
    config(options)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", "0")
        .set("message.timeout.ms", WRITE_MAX.as_millis().to_string())
        .create_with_context(Told(context.clone()))
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

    use super::*;

    #[test]
    fn fault_35_who_writes_notes_is_replaced_where_it_has_failed_for_good_and_not_at_any_rate() {
        const FAILURES: usize = 4;
        let cluster = MockCluster::new(1).expect("a cluster");
        cluster.create_topic("touchline-meta", 1, 1).expect("a topic");
        let options =
            KafkaOptions { brokers: cluster.bootstrap_servers(), ..KafkaOptions::default() };
        let writer = Writer::new(&options, &Context::new(&options)).expect("a client");
        let before = writer.put("seen/a", &1).expect("it is taken");
        // The session is lost, and none is given to those that come next.
        let lost = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
        cluster.request_errors(RDKafkaApiKey::Produce, &[lost]);
        let forbidden = RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
        cluster.request_errors(RDKafkaApiKey::InitProducerId, &[forbidden; FAILURES]);
        let (begin, mut tries) = (Instant::now(), 0);
        let after = loop {
            match writer.put("seen/a", &2) {
                Ok(placed) => break placed,
                Err(error) => assert!(begin.elapsed() < Duration::from_secs(60), "{error}"),
            }
            tries += 1;
            std::thread::sleep(Duration::from_millis(10));
        };
        assert!(after.offset > before.offset && tries >= FAILURES, "{after:?} after {tries} tries");
        // Three quarters of 100, 200 and 400 ms at least.
        assert!(begin.elapsed() > Duration::from_millis(525), "{:?}", begin.elapsed());
    }
}

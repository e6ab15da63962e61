//! The compacted topic `touchline-meta`: what nodes know of the log and tell each other.
//!
//! | key | value |
//! |---|---|
//! | `epoch/<generation>/<epoch>` | a [`Life`]: one key each, so that compaction removes none |
//! | `seen/<node>` | a [`Note`]: how far that node has read, so that a loss is found (R8) |
//! | `import/<epoch of a journal>` | a [`Progress`]: how far that journal has been moved in |
//!
//! What stands under other keys is passed by: a later build may know it.

use std::collections::BTreeMap;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Message, Timestamp as Stamp};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};
use serde::Serialize;

use super::client::{ASK_MAX, Context, Reader, config, drain, poll, unreachable};
use super::import::Progress;
use super::life::{Life, chosen};
use super::notes::Note;
use super::options::{KafkaOptions, OpenError};
use super::topics::meta_topic;

/// How long brokers may take to acknowledge what is written here.
const WRITE_MAX: Duration = Duration::from_secs(5);

/// All that the topic held when it was read.
#[derive(Debug, Default)]
pub(super) struct Meta {
    /// The life that counts.
    pub life: Option<Life>,
    /// By node, the last one, with the stamp its broker gave it.
    pub notes: BTreeMap<String, (Note, i64)>,
    /// By the journal's epoch, the last one.
    pub imports: BTreeMap<String, Progress>,
    /// Where to go on reading.
    pub next: i64,
}

impl Meta {
    /// Reads it; empty where there is no such topic.
    pub fn read(options: &KafkaOptions, reader: &Reader) -> Result<Self, OpenError> {
        Self::read_from(options, reader, 0)
    }

    /// Reads what has come since another reading went up to `from`.
    pub fn read_from(
        options: &KafkaOptions,
        reader: &Reader,
        from: i64,
    ) -> Result<Self, OpenError> {
        let topic = meta_topic(options);
        let failed = unreachable(options, "list its topics");
        let metadata = reader.client().fetch_metadata(Some(&topic), ASK_MAX);
        // What a client has to say of its trouble, it says only when it is asked.
        let metadata = metadata.inspect_err(|_| drain(reader)).map_err(failed)?;
        let is_there = |it: &&rdkafka::metadata::MetadataTopic| {
            it.name() == topic && it.error().is_none() && !it.partitions().is_empty()
        };
        let mut meta = Self::default();
        if metadata.topics().iter().find(is_there).is_none() {
            return Ok(meta);
        }
        let mut lives = Vec::new();
        let (entries, next) = entries(options, reader, &topic, from)?;
        meta.next = next;
        for (key, value, at_ms) in entries {
            meta.take(&mut lives, &key, &value, at_ms).map_err(|error| OpenError::Life {
                topic: topic.as_str().into(),
                why: format!("{key}: {error}").into(),
            })?;
        }
        meta.life = chosen(lives);
        Ok(meta)
    }

    fn take(
        &mut self,
        lives: &mut Vec<Life>,
        key: &str,
        value: &[u8],
        at_ms: i64,
    ) -> Result<(), serde_json::Error> {
        match key.split_once('/') {
            Some(("epoch", _)) => lives.push(serde_json::from_slice(value)?),
            Some(("seen", node)) => match serde_json::from_slice(value) {
                Ok(note) => drop(self.notes.insert(node.to_owned(), (note, at_ms))),
                // Of a later build, in a rolling update: no reason not to start.
                Err(error) => tracing::warn!(key, %error, "a node's note can't be read"),
            },
            Some(("import", journal)) => {
                self.imports.insert(journal.to_owned(), serde_json::from_slice(value)?);
            }
            _ => {}
        }
        Ok(())
    }
}

type Entry = (String, Vec<u8>, i64);

/// Every message of the topic that has a key and a value, from `from` on; and where it ends.
fn entries(
    options: &KafkaOptions,
    reader: &Reader,
    topic: &str,
    from: i64,
) -> Result<(Vec<Entry>, i64), OpenError> {
    let failed = unreachable(options, "read the epoch");
    let (low, high) = reader.fetch_watermarks(topic, 0, ASK_MAX).map_err(&failed)?;
    let low = low.max(from);
    if low >= high {
        return Ok((Vec::new(), high));
    }
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition_offset(topic, 0, Offset::Offset(low)).map_err(&failed)?;
    reader.assign(&wanted).map_err(&failed)?;
    let entries = read_to(reader, high);
    reader.unassign().map_err(&failed)?;
    Ok((entries.map_err(failed)?, high))
}

fn read_to(reader: &Reader, high: i64) -> KafkaResult<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut heard_at = Instant::now();
    // A marker may stand last: the position tells the end.
    let reached = |reader: &Reader| {
        let positions = reader.position().ok();
        positions.and_then(|list| list.elements().first().map(|it| it.offset().to_raw()))
    };
    loop {
        match poll(reader, Duration::from_millis(200)) {
            Some(message) => {
                let message = message?;
                heard_at = Instant::now();
                let key = message.key().map(String::from_utf8_lossy);
                if let (Some(key), Some(value)) = (key, message.payload()) {
                    entries.push((key.into_owned(), value.to_owned(), stamp(message.timestamp())));
                }
                if message.offset() + 1 >= high {
                    return Ok(entries);
                }
            }
            None if reached(reader).flatten().is_some_and(|at| at >= high) => return Ok(entries),
            None if heard_at.elapsed() > ASK_MAX * 2 => {
                return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
            }
            None => {}
        }
    }
}

/// A broker's stamp, in milliseconds; zero where there is none.
pub(super) fn stamp(stamp: Stamp) -> i64 {
    match stamp {
        Stamp::LogAppendTime(ms) | Stamp::CreateTime(ms) => ms,
        Stamp::NotAvailable => 0,
    }
}

/// Writes to the topic, one message at a time.
pub(super) struct Writer {
    producer: BaseProducer<Told>,
    topic: String,
}

/// Tells whoever waits for a message what has become of it.
struct Told(Context);

impl ClientContext for Told {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(error, reason);
    }
}

impl ProducerContext for Told {
    type DeliveryOpaque = Box<SyncSender<KafkaResult<i64>>>;

    fn delivery(&self, result: &DeliveryResult<'_>, told: Self::DeliveryOpaque) {
        let result = match result {
            Ok(message) => Ok(stamp(message.timestamp())),
            Err((error, _)) => Err(error.clone()),
        };
        // Whoever waited may have lost patience.
        let _ = told.try_send(result);
    }
}

impl Writer {
    pub fn new(options: &KafkaOptions, context: &Context) -> Result<Self, OpenError> {
        let producer = config(options)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("linger.ms", "0")
            .set("message.timeout.ms", WRITE_MAX.as_millis().to_string())
            .create_with_context(Told(context.clone()))
            .map_err(OpenError::Client)?;
        Ok(Self { producer, topic: meta_topic(options) })
    }

    /// Puts `value` under `key`; answers the stamp that its broker has given it.
    pub fn put(&self, key: &str, value: &impl Serialize) -> KafkaResult<i64> {
        self.put_within(WRITE_MAX * 2, key, value)
    }

    /// The same for who can't wait long.
    pub fn put_within(
        &self,
        patience: Duration,
        key: &str,
        value: &impl Serialize,
    ) -> KafkaResult<i64> {
        let value = serde_json::to_vec(value).unwrap_or_default();
        let (told, answer) = sync_channel(1);
        let record = BaseRecord::with_opaque_to(&self.topic, Box::new(told))
            .partition(0)
            .key(key)
            .payload(&value);
        self.producer.send(record).map_err(|(error, _)| error)?;
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            self.producer.poll(Duration::from_millis(50));
            if let Ok(result) = answer.try_recv() {
                return result;
            }
        }
        Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(entries: &[(&str, &str)]) -> Result<(Meta, Vec<Life>), serde_json::Error> {
        let (mut meta, mut lives) = (Meta::default(), Vec::new());
        for (n, (key, value)) in entries.iter().enumerate() {
            meta.take(&mut lives, key, value.as_bytes(), n as i64)?;
        }
        Ok((meta, lives))
    }

    #[test]
    fn the_last_word_of_each_node_counts_and_strangers_are_passed_by() {
        let (meta, lives) = taken(&[
            ("epoch/1/0000000000000abc", r#"{"generation":1,"epoch":"abc","partitions":4}"#),
            ("seen/a", r#"{"generation":1,"epoch":"abc","next":[1,2],"is_open":true}"#),
            ("seen/a", r#"{"generation":1,"epoch":"abc","next":[3,2],"is_open":true}"#),
            ("wanted/es", "not even JSON"),
        ])
        .unwrap();
        assert_eq!(lives.len(), 1);
        assert_eq!(meta.notes["a"].0.next, [3, 2]);
        assert_eq!(meta.notes["a"].1, 2, "the stamp of the message");
        assert!(taken(&[("epoch/1/x", "{}")]).is_err(), "a life that can't be read is no stranger");
    }
}

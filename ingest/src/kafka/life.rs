//! Lives of the log: the epoch, as the compacted topic `touchline-meta` holds it (R8).
//!
//! Each life is one message, `{"generation","epoch","partitions"}`, under a key of its own, so that
//! compaction removes none. The life that counts is that of the highest generation; where two nodes
//! have begun one at the same time, the one whose message came first. All nodes read the same
//! messages, so all agree.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};
use touchline_core::log::Epoch;

use super::client::{ASK_MAX, Context, Reader, config, poll, unreachable};
use super::options::{KafkaOptions, OpenError};
use super::topics::meta_topic;

/// One life of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Life {
    /// Counts up.
    pub generation: u64,
    #[serde(with = "hex")]
    epoch: u64,
    /// Partitions of each stream's topic.
    pub partitions: u16,
}

impl Life {
    /// Its epoch.
    pub fn epoch(&self) -> Epoch {
        Epoch(self.epoch)
    }

    fn key(&self) -> String {
        format!("epoch/{}/{:016x}", self.generation, self.epoch)
    }
}

/// The life there is before anything is made; `None` where there is no topic of lives, or none in
/// it.
pub(super) fn before(options: &KafkaOptions, reader: &Reader) -> Result<Option<Life>, OpenError> {
    let topic = meta_topic(options);
    let failed = unreachable(options, "list its topics");
    let metadata = reader.client().fetch_metadata(None, ASK_MAX).map_err(failed)?;
    let is_there = metadata.topics().iter().any(|it| it.name() == topic && it.error().is_none());
    if is_there { present(options, reader) } else { Ok(None) }
}

/// The present life. Begins the first where there is none, and the next where topics had to be made
/// though there was one: whatever stood in them is gone.
pub(super) fn find(
    options: &KafkaOptions,
    reader: &Reader,
    context: &Context,
    lost: Option<Life>,
) -> Result<Life, OpenError> {
    let life = match (lost, present(options, reader)?) {
        (Some(lost), _) => begin(options, reader, context, lost.generation + 1)?,
        (None, Some(life)) => life,
        (None, None) => begin(options, reader, context, 1)?,
    };
    if life.partitions != options.partitions {
        return Err(OpenError::Misfit(vec![format!(
            "this life of the log has {} partitions for each topic, and log.kafka.partitions is \
             {}: set it to what the log has",
            life.partitions, options.partitions
        )]));
    }
    Ok(life)
}

/// Begins life `generation`; answers the one that counts, which may be another node's.
pub(super) fn begin(
    options: &KafkaOptions,
    reader: &Reader,
    context: &Context,
    generation: u64,
) -> Result<Life, OpenError> {
    let epoch = RandomState::new().hash_one(Instant::now()).max(1);
    write(options, context, &Life { generation, epoch, partitions: options.partitions })?;
    present(options, reader)?.ok_or_else(|| OpenError::Life {
        topic: meta_topic(options).into(),
        why: "what was just written can't be read back".into(),
    })
}

fn write(options: &KafkaOptions, context: &Context, life: &Life) -> Result<(), OpenError> {
    let failed = unreachable(options, "store the epoch");
    let producer: BaseProducer<Context> = config(options)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", "10000")
        .create_with_context(context.clone())
        .map_err(OpenError::Client)?;
    let topic = meta_topic(options);
    let (key, value) = (life.key(), serde_json::to_vec(life).unwrap_or_default());
    let record = BaseRecord::to(&topic).partition(0).key(&key).payload(&value);
    producer.send(record).map_err(|(error, _)| failed(error))?;
    producer.flush(Duration::from_secs(12)).map_err(failed)
}

/// Reads all of the topic.
fn present(options: &KafkaOptions, reader: &Reader) -> Result<Option<Life>, OpenError> {
    let failed = unreachable(options, "read the epoch");
    let topic = meta_topic(options);
    let (low, high) = reader.fetch_watermarks(&topic, 0, ASK_MAX).map_err(&failed)?;
    if low >= high {
        return Ok(None);
    }
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition_offset(&topic, 0, Offset::Offset(low)).map_err(&failed)?;
    reader.assign(&wanted).map_err(&failed)?;
    let lives = read_to(reader, high, &topic, &failed);
    reader.unassign().map_err(&failed)?;
    Ok(chosen(lives?))
}

fn read_to(
    reader: &Reader,
    high: i64,
    topic: &str,
    failed: &impl Fn(KafkaError) -> OpenError,
) -> Result<Vec<Life>, OpenError> {
    let mut lives = Vec::new();
    let begin = Instant::now();
    // Compaction may have taken the last messages: the position tells the end.
    let reached = |reader: &Reader| {
        let positions = reader.position().ok();
        positions.and_then(|list| list.elements().first().map(|it| it.offset().to_raw()))
    };
    loop {
        match poll(reader, Duration::from_millis(200)) {
            Some(Ok(message)) => {
                let value = message.payload().unwrap_or_default();
                lives.push(serde_json::from_slice(value).map_err(|error| OpenError::Life {
                    topic: topic.into(),
                    why: error.to_string().into(),
                })?);
                if message.offset() + 1 >= high {
                    return Ok(lives);
                }
            }
            Some(Err(error)) => return Err(failed(error)),
            None if reached(reader).flatten().is_some_and(|at| at >= high) => return Ok(lives),
            None if begin.elapsed() > ASK_MAX * 2 => {
                let timeout = rdkafka::error::RDKafkaErrorCode::OperationTimedOut;
                return Err(failed(KafkaError::MessageConsumption(timeout)));
            }
            None => {}
        }
    }
}

/// Of the highest generation, the first. `lives` are in the order of the topic.
fn chosen(lives: Vec<Life>) -> Option<Life> {
    lives.into_iter().reduce(|best, next| match next.generation > best.generation {
        true => next,
        false => best,
    })
}

mod hex {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(number: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{number:016x}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let text = String::deserialize(from)?;
        u64::from_str_radix(&text, 16).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(generation: u64, epoch: u64) -> Life {
        Life { generation, epoch, partitions: 8 }
    }

    #[test]
    fn all_nodes_choose_the_first_of_the_newest_generation() {
        assert_eq!(chosen(vec![]), None);
        let lives = vec![life(1, 7), life(1, 8), life(2, 9), life(2, 3), life(1, 4)];
        assert_eq!(chosen(lives), Some(life(2, 9)));
    }

    #[test]
    fn a_life_survives_its_message() {
        let text = serde_json::to_string(&life(1, 0xabc)).unwrap();
        assert_eq!(text, r#"{"generation":1,"epoch":"0000000000000abc","partitions":8}"#);
        assert_eq!(serde_json::from_str::<Life>(&text).unwrap(), life(1, 0xabc));
        assert_eq!(life(1, 0xabc).key(), "epoch/1/0000000000000abc");
    }
}

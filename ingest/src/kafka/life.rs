//! Lives of the log: the epoch, as the compacted topic `touchline-meta` holds it (R8).
//!
//! Each life is one message, `{"generation","epoch","partitions"}`, under a key of its own, so that
//! compaction removes none. The life that counts is that of the highest generation; where two nodes
//! have begun one at the same time, the one whose message came first. All nodes read the same
//! messages, so all agree.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use touchline_core::log::Epoch;

use super::client::{Reader, unreachable};
use super::meta::{Meta, Writer};
use super::options::{KafkaOptions, OpenError};
use super::topics::{APPEAR_MAX, meta_topic};

/// How often it is looked whether a life that was written can be read.
const READ_BACK_LOOK: Duration = Duration::from_millis(200);

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

/// The present life. Begins the first where there is none, and the next where topics had to be made
/// though there was one: whatever stood in them is gone.
pub(super) fn find(
    options: &KafkaOptions,
    reader: &Reader,
    writer: &Writer,
    lost: Option<Life>,
) -> Result<Life, OpenError> {
    let life = match (lost, Meta::read(options, reader)?.life) {
        (Some(lost), _) => {
            let generation = lost.generation + 1;
            tracing::error!(generation, "topics of the log were gone: a new life begins");
            begin(options, reader, writer, generation)?
        }
        (None, Some(life)) => life,
        (None, None) => begin(options, reader, writer, 1)?,
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
    writer: &Writer,
    generation: u64,
) -> Result<Life, OpenError> {
    let epoch = RandomState::new().hash_one(Instant::now()).max(1);
    let life = Life { generation, epoch, partitions: options.partitions };
    writer.put(&life.key(), &life).map_err(unreachable(options, "store the epoch"))?;
    let written = Instant::now();
    loop {
        match Meta::read(options, reader)?.life {
            Some(life) => return Ok(life),
            // Another broker is asked than has taken it, and may yet have to hear of the topic.
            None if written.elapsed() < APPEAR_MAX => std::thread::sleep(READ_BACK_LOOK),
            None => {
                return Err(OpenError::Life {
                    topic: meta_topic(options).into(),
                    why: "what was just written can't be read back".into(),
                });
            }
        }
    }
}

/// Of the highest generation, the first. `lives` are in the order of the topic.
pub(super) fn chosen(lives: Vec<Life>) -> Option<Life> {
    lives.into_iter().reduce(|best, next| match next.generation > best.generation {
        true => next,
        false => best,
    })
}

/// Epochs in JSON: 16 digits, since a number of JSON has room for 53 bits.
pub(super) mod hex {
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

//! The compacted topic `touchline-meta`: what nodes know of the log and tell each other.
//!
//! | key | value |
//! |---|---|
//! | `epoch/<generation>/<epoch>` | a [`Life`]: one key each, so that compaction removes none |
//! | `seen/<node>` | a [`Note`]: how far that node has read, so that a loss is found (R8) |
//! | `import/<epoch of a journal>` | a [`Progress`]: how far that journal has been moved in |
//!
//! What stands under other keys is passed by: a later build may know it. A message without a value
//! takes back what stood under its key.

mod writer;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Message, Timestamp as Stamp};
use rdkafka::{Offset, TopicPartitionList};

pub(super) use writer::Writer;

use super::claims::SILENCE;
use super::client::{ASK_MAX, Reader, drain, poll, unreachable};
use super::clock::millis;
use super::import::Progress;
use super::life::{Life, chosen};
use super::notes::Note;
use super::options::{KafkaOptions, OpenError};
use super::topics::meta_topic;

/// All that the topic held when it was read.
#[derive(Debug, Default)]
pub(super) struct Meta {
    /// The life that counts.
    pub life: Option<Life>,
    /// By node, the last one.
    pub notes: BTreeMap<String, Noted>,
    /// By the journal's epoch, the last one.
    pub imports: BTreeMap<String, Moving>,
    /// Where to go on reading.
    pub next: i64,
}

/// What a node has noted last.
#[derive(Clone, Debug)]
pub(super) struct Noted {
    /// Its word.
    pub note: Note,
    /// The stamp its broker gave it.
    pub at_ms: i64,
    /// Where it stands.
    pub offset: i64,
}

/// What an import has told last.
#[derive(Clone, Debug)]
pub(super) struct Moving {
    /// Its word.
    pub progress: Progress,
    /// The stamp its broker gave it.
    pub at_ms: i64,
    /// Where it stands.
    pub offset: i64,
}

/// What brokers have made of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    /// Its stamp.
    pub at_ms: i64,
    /// Where it stands.
    pub offset: i64,
}

impl Meta {
    /// A journal that is being moved into this life of the log, or into one that is about to
    /// begin. `now_ms`: whatever was heard of lately counts as well.
    pub fn moving(&self, life: &Life, now_ms: Option<i64>) -> Option<&Moving> {
        let is_fresh = |it: &Moving| now_ms.is_some_and(|now| now - it.at_ms < millis(SILENCE));
        let is_under_way = |it: &&Moving| {
            it.progress.is_under_way(life) || (it.progress.is_open() && is_fresh(it))
        };
        self.imports.values().find(is_under_way)
    }

    /// Another journal that is being moved in beside `own`.
    pub fn other_import(&self, own: &Progress) -> Option<String> {
        let is_other = |(key, it): &(&String, &Moving)| {
            own.key() != format!("import/{key}") && it.progress.rivals(own)
        };
        self.imports.iter().find(is_other).map(|(key, _)| key.clone())
    }

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
        for entry in entries {
            let key = entry.key.clone();
            meta.take(&mut lives, entry).map_err(|error| OpenError::Life {
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
        Entry { key, value, at_ms, offset }: Entry,
    ) -> Result<(), serde_json::Error> {
        match (key.split_once('/'), value) {
            (Some(("epoch", _)), Some(value)) => lives.push(serde_json::from_slice(&value)?),
            (Some(("seen", node)), Some(value)) => match serde_json::from_slice(&value) {
                Ok(note) => {
                    self.notes.insert(node.to_owned(), Noted { note, at_ms, offset });
                }
                // Of a later build, in a rolling update: no reason not to start.
                Err(error) => tracing::warn!(key, %error, "a node's note can't be read"),
            },
            (Some(("import", journal)), Some(value)) => {
                let progress = serde_json::from_slice(&value)?;
                self.imports.insert(journal.to_owned(), Moving { progress, at_ms, offset });
            }
            (Some(("import", journal)), None) => drop(self.imports.remove(journal)),
            _ => {}
        }
        Ok(())
    }
}

/// One message.
struct Entry {
    key: String,
    value: Option<Vec<u8>>,
    at_ms: i64,
    offset: i64,
}

/// Every message of the topic that has a key, from `from` on; and where it ends.
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
                if let Some(key) = message.key() {
                    entries.push(Entry {
                        key: String::from_utf8_lossy(key).into_owned(),
                        value: message.payload().map(<[u8]>::to_vec),
                        at_ms: stamp(message.timestamp()),
                        offset: message.offset(),
                    });
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

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(entries: &[(&str, &str)]) -> Result<(Meta, Vec<Life>), serde_json::Error> {
        let (mut meta, mut lives) = (Meta::default(), Vec::new());
        for (n, (key, value)) in entries.iter().enumerate() {
            let value = (!value.is_empty()).then(|| value.as_bytes().to_vec());
            let (key, n) = ((*key).to_owned(), n as i64);
            meta.take(&mut lives, Entry { key, value, at_ms: n, offset: n * 2 })?;
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
        assert_eq!(meta.notes["a"].note.next, [3, 2]);
        assert_eq!((meta.notes["a"].at_ms, meta.notes["a"].offset), (2, 4));
        assert!(taken(&[("epoch/1/x", "{}")]).is_err(), "a life that can't be read is no stranger");
    }

    #[test]
    fn an_import_that_was_taken_back_is_none_and_one_of_the_life_to_come_counts() {
        let told = |generation: u64, is_done: bool| {
            format!(
                r#"{{"journal":"7","generation":{generation},"next":0,"until":0,"is_done":{is_done},"lanes":[]}}"#
            )
        };
        let life: Life =
            serde_json::from_str(r#"{"generation":2,"epoch":"abc","partitions":4}"#).unwrap();
        for (generation, is_done, now_ms, counts) in [
            (2, false, None, true),
            (3, false, None, true),
            (1, false, None, false),
            (1, false, Some(1_000), true),
            (1, false, Some(100_000), false),
            (3, true, Some(1_000), false),
        ] {
            let (meta, _) = taken(&[("import/7", &told(generation, is_done))]).unwrap();
            assert_eq!(meta.moving(&life, now_ms).is_some(), counts, "{generation} {is_done}");
        }
        let (meta, _) = taken(&[("import/7", &told(3, false)), ("import/7", "")]).unwrap();
        assert!(meta.moving(&life, None).is_none());
    }
}

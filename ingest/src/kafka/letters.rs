//! Dead letters where every node sees them: the topics `<topic>-dlq`, one for each stream.
//!
//! A letter's home is the disk of its node; what stands here is a copy. Its key is the letter's id,
//! its value the bytes as they came, and its headers say the rest. A letter that was replayed or
//! dropped gets a message without a value, and compaction removes both. Readers go by the last
//! message of each key.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers as _, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use touchline_core::event::Stream;

use super::client::{ASK_MAX, Context, Reader, config, reader_to_ends, unreachable};
use super::import::deliveries::{Deliveries, State};
use super::lanes::Lanes;
use super::options::{KafkaOptions, OpenError};
use super::state::lock;
use super::topics::letters_topic;
use crate::limits::{LETTER_CUT_BYTES, LETTERS_READ_MAX};

/// How long brokers may take to acknowledge what was published at once.
const PUBLISH_MAX: Duration = Duration::from_secs(10);
/// How often a publisher that waits looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(100);
/// How long no message may come where some stand.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// Says how much of a letter's bytes stands in its message, where that isn't all that is kept.
const CUT: &str = "published_bytes";

/// What is published of one letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sheet {
    /// Its id.
    pub id: String,
    /// The stream it was meant for.
    pub stream: Stream,
    /// What is known of it, and its bytes; `None`: it needs nobody any more.
    pub letter: Option<(BTreeMap<String, String>, Vec<u8>)>,
}

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Brokers don't take it.
    #[error("brokers don't take it: {0}")]
    Brokers(KafkaError),
    /// The node ends.
    #[error("stopped")]
    Stopped,
}

/// Writes to the topics.
pub struct LetterTopics {
    producer: BaseProducer<Deliveries>,
    topics: [String; Stream::ALL.len()],
}

impl LetterTopics {
    /// A client; nothing is asked of brokers yet.
    ///
    /// # Errors
    /// librdkafka refuses a setting.
    pub fn open(options: &KafkaOptions) -> Result<Self, OpenError> {
        let state = Arc::new(Mutex::new(State::default()));
        let deliveries = Deliveries { context: Context::new(options), state };
        let bytes_max = (options.letter_bytes_max + LETTER_CUT_BYTES).to_string();
        let producer = config(options)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", PUBLISH_MAX.as_millis().to_string())
            // Letters are few; one that brokers refuse for its size takes no other with it.
            .set("batch.num.messages", "1")
            .set("message.max.bytes", bytes_max)
            .create_with_context(deliveries)
            .map_err(OpenError::Client)?;
        let lanes = Lanes::new(&options.prefix, options.partitions);
        Ok(Self { producer, topics: Stream::ALL.map(|it| letters_topic(lanes.topic(it))) })
    }

    /// Publishes `sheets` and waits until brokers have all of them. What they refuse for its size
    /// is published with the beginning of its bytes.
    ///
    /// # Errors
    /// Some may be there and some not: all are to be published again.
    pub fn publish(
        &self,
        sheets: &[Sheet],
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<(), PublishError> {
        for sheet in sheets {
            match self.publish_one(sheet, None, is_stopped) {
                Err(PublishError::Brokers(error)) if is_too_large(&error) => {
                    self.publish_one(sheet, Some(LETTER_CUT_BYTES), is_stopped)?;
                }
                result => result?,
            }
        }
        Ok(())
    }

    fn publish_one(
        &self,
        sheet: &Sheet,
        bytes_max: Option<usize>,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<(), PublishError> {
        let topic = &self.topics[sheet.stream as usize];
        let record = BaseRecord::with_opaque_to(topic, 0).key(&sheet.id);
        *lock(&self.producer.context().state) = State { left: 1, ..State::default() };
        let sent = match &sheet.letter {
            None => self.producer.send::<_, [u8]>(record),
            Some((fields, raw)) => {
                let raw = &raw[..raw.len().min(bytes_max.unwrap_or(usize::MAX))];
                let mut headers = OwnedHeaders::new_with_capacity(fields.len() + 1);
                for (key, value) in fields {
                    headers = headers.insert(Header { key, value: Some(value.as_str()) });
                }
                if bytes_max.is_some() {
                    let bytes = raw.len().to_string();
                    headers = headers.insert(Header { key: CUT, value: Some(&bytes) });
                }
                self.producer.send(record.payload(raw).headers(headers))
            }
        };
        sent.map_err(|(error, _)| PublishError::Brokers(error))?;
        let deadline = Instant::now() + PUBLISH_MAX + LOOK * 10;
        loop {
            self.producer.poll(LOOK);
            let mut state = lock(&self.producer.context().state);
            match state.failed.take() {
                Some((_, error)) => return Err(PublishError::Brokers(error)),
                None if state.left == 0 => return Ok(()),
                None => drop(state),
            }
            if is_stopped() {
                return Err(PublishError::Stopped);
            }
            if Instant::now() > deadline {
                let error = KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut);
                return Err(PublishError::Brokers(error));
            }
        }
    }
}

fn is_too_large(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{InvalidMessageSize, MessageSizeTooLarge};
    matches!(error.rdkafka_error_code(), Some(MessageSizeTooLarge | InvalidMessageSize))
}

/// The letters that the topics show, of all nodes, without their bytes; by id. `false`: there are
/// more than [`LETTERS_READ_MAX`].
///
/// # Errors
/// Brokers don't answer, or there are no such topics.
pub fn read_letters(options: &KafkaOptions) -> Result<(BTreeMap<String, Sheet>, bool), OpenError> {
    options.check()?;
    let context = Context::new(options);
    let reader = reader_to_ends(options, &context)?;
    let lanes = Lanes::new(&options.prefix, options.partitions);
    let mut letters = BTreeMap::new();
    for stream in Stream::ALL {
        let topic = letters_topic(lanes.topic(stream));
        if !read_topic(options, &reader, stream, &topic, &mut letters)
            .map_err(|error| context.denial(options, &reader).unwrap_or(error))?
        {
            return Ok((letters, false));
        }
    }
    Ok((letters, true))
}

fn read_topic(
    options: &KafkaOptions,
    reader: &Reader,
    stream: Stream,
    topic: &str,
    letters: &mut BTreeMap<String, Sheet>,
) -> Result<bool, OpenError> {
    let failed = unreachable(options, "show its dead letters");
    let metadata = reader.client().fetch_metadata(Some(topic), ASK_MAX).map_err(&failed)?;
    let found = metadata.topics().iter().find(|it| it.name() == topic && it.error().is_none());
    let Some(found) = found.filter(|it| !it.partitions().is_empty()) else {
        return Err(OpenError::Misfit(vec![format!(
            "there is no topic {topic}: a node makes it where log.kafka.dead_letter_topics is true"
        )]));
    };
    let mut wanted = TopicPartitionList::new();
    let mut left = 0_usize;
    for partition in found.partitions() {
        let (low, high) =
            reader.fetch_watermarks(topic, partition.id(), ASK_MAX).map_err(&failed)?;
        if low < high {
            wanted
                .add_partition_offset(topic, partition.id(), Offset::Offset(low))
                .map_err(&failed)?;
            left += 1;
        }
    }
    if left == 0 {
        return Ok(true);
    }
    reader.assign(&wanted).map_err(&failed)?;
    let mut heard_at = Instant::now();
    while left > 0 {
        match reader.poll(LOOK) {
            Some(Ok(message)) => {
                heard_at = Instant::now();
                let Some(key) = message.key() else { continue };
                let id = String::from_utf8_lossy(key).into_owned();
                match message.payload() {
                    None => drop(letters.remove(&id)),
                    Some(_) if letters.len() >= LETTERS_READ_MAX => return Ok(false),
                    Some(_) => {
                        let letter = Some((fields(&message), Vec::new()));
                        letters.insert(id.clone(), Sheet { id, stream, letter });
                    }
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => left -= 1,
            _ if heard_at.elapsed() > SILENCE_MAX => {
                let timeout = RDKafkaErrorCode::OperationTimedOut;
                return Err(failed(KafkaError::MessageConsumption(timeout)));
            }
            _ => {}
        }
    }
    reader.unassign().map_err(&failed)?;
    Ok(true)
}

fn fields(message: &impl Message) -> BTreeMap<String, String> {
    let Some(headers) = message.headers() else { return BTreeMap::new() };
    let text =
        |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
    headers.iter().map(|it| (it.key.to_owned(), text(it.value))).collect()
}

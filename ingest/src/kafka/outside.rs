//! Reading the log without being a node: `touchline log verify`, `touchline log dump`, `touchline
//! tail`.
//!
//! It makes no topics, joins no group, notes nothing, and judges nothing: what stands in the log is
//! given as it stands, repeats included. Who wants to know which records are shown has the
//! [`Judge`](super::judge::Judge).

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use touchline_core::event::Stream;
use touchline_core::log::{Epoch, Lane, Position, Record};

use super::client::{Context, Reader, reader_to_ends, unreachable};
use super::lanes::Lanes;
use super::meta::Meta;
use super::options::{KafkaOptions, OpenError};
use super::reach::{Reach, watermarks};
use super::topics::meta_topic;
use super::wire::{Poison, Taken, decode};

/// How long no message may come of a lane in which there are some.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// How long one look for a message takes.
const WAIT: Duration = Duration::from_millis(100);

/// A log as it looks from outside.
pub struct Outside {
    options: KafkaOptions,
    lanes: Lanes,
    reader: Reader,
    meta: Meta,
}

/// One lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneReach {
    /// Which.
    pub lane: Lane,
    /// Its stream.
    pub stream: Stream,
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// The first offset that retention has left.
    pub low: u64,
    /// One above its last offset.
    pub high: u64,
}

/// How far a node has said it had read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The node.
    pub node: String,
    /// Its lane.
    pub lane: Lane,
    /// What it was to read next.
    pub next: u64,
}

/// What stands at one offset.
#[derive(Debug)]
pub struct Found {
    /// Where.
    pub position: Position,
    /// The broker's stamp, in milliseconds.
    pub at_ms: i64,
    /// Of its value.
    pub bytes: usize,
    /// The record, or why it is none of ours.
    pub record: Result<Record, Poison>,
}

impl Outside {
    /// Connects, and reads what nodes know of the log.
    pub fn open(options: &KafkaOptions) -> Result<Self, OpenError> {
        options.check()?;
        let reader = reader_to_ends(options, &Context::new(options))?;
        let meta = Meta::read(options, &reader)?;
        let lanes = Lanes::new(&options.prefix, options.partitions);
        let Some(life) = &meta.life else {
            let topic = meta_topic(options);
            return Err(OpenError::Misfit(vec![format!(
                "there is no log: topic {topic} holds no epoch (see log.kafka.topic_prefix)"
            )]));
        };
        if life.partitions != options.partitions {
            return Err(OpenError::Misfit(vec![format!(
                "the log has {} partitions for each topic: set log.kafka.partitions to that",
                life.partitions
            )]));
        }
        Ok(Self { options: options.clone(), lanes, reader, meta })
    }

    /// Life of the log.
    pub fn epoch(&self) -> Epoch {
        self.meta.life.as_ref().map_or(Epoch(0), |life| life.epoch())
    }

    /// How many lives there were before, and this one.
    pub fn generation(&self) -> u64 {
        self.meta.life.as_ref().map_or(0, |life| life.generation)
    }

    /// How far each lane reaches now.
    pub fn reach(&self) -> Result<Vec<LaneReach>, OpenError> {
        let reaches = watermarks(&self.options, &self.lanes, &self.reader)?;
        let of = |((lane, topic, partition), reach): ((Lane, &str, i32), Reach)| {
            let (stream, _) = self.lanes.place(lane)?;
            let (topic, Reach { low, high, .. }) = (topic.to_owned(), reach);
            Some(LaneReach { lane, stream, topic, partition, low, high })
        };
        Ok(self.lanes.all().zip(reaches).filter_map(of).collect())
    }

    /// What nodes have noted in this life of the log.
    pub fn seen(&self) -> Vec<Seen> {
        let epoch = self.epoch().0;
        let notes = self.meta.notes.iter().filter(|(_, it)| it.note.epoch == epoch);
        notes
            .flat_map(|(node, noted)| {
                let next = noted.note.next.iter().enumerate();
                next.map(|(lane, next)| Seen {
                    node: node.clone(),
                    lane: Lane(u16::try_from(lane).unwrap_or(u16::MAX)),
                    next: *next,
                })
            })
            .collect()
    }

    /// Gives what stands in a lane at `from..to` to `each`, until it says `false`. Ends at the end
    /// of the lane at the latest.
    pub fn read(
        &self,
        lane: Lane,
        from: u64,
        to: u64,
        mut each: impl FnMut(Found) -> bool,
    ) -> Result<(), OpenError> {
        if from >= to {
            return Ok(());
        }
        let failed = unreachable(&self.options, "be read");
        self.assign(&[(lane, from)]).map_err(&failed)?;
        let mut heard_at = Instant::now();
        loop {
            match self.next().map_err(&failed)? {
                Next::Found(found) if found.position.lane != lane => {}
                Next::Found(found) => {
                    heard_at = Instant::now();
                    let seq = found.position.seq;
                    if seq >= to || !each(*found) || seq + 1 >= to {
                        return Ok(());
                    }
                }
                Next::End => return Ok(()),
                Next::Nothing if heard_at.elapsed() > SILENCE_MAX => {
                    return Err(failed(timeout()));
                }
                Next::Nothing => {}
            }
        }
    }

    /// Gives what comes in any lane, from `from` (by lane) on, to `each`, until it says `false`.
    /// Where nothing comes for a moment, it gives `None`.
    pub fn follow(
        &self,
        from: &[u64],
        mut each: impl FnMut(Option<Found>) -> bool,
    ) -> Result<(), OpenError> {
        let failed = unreachable(&self.options, "be read");
        let wanted: Vec<_> =
            self.lanes.all().zip(from).map(|((lane, ..), from)| (lane, *from)).collect();
        self.assign(&wanted).map_err(&failed)?;
        loop {
            let found = match self.next().map_err(&failed)? {
                Next::Found(found) => Some(*found),
                Next::End | Next::Nothing => None,
            };
            if !each(found) {
                return Ok(());
            }
        }
    }

    fn assign(&self, wanted: &[(Lane, u64)]) -> KafkaResult<()> {
        let mut list = TopicPartitionList::with_capacity(wanted.len());
        for (lane, from) in wanted {
            let Some((stream, partition)) = self.lanes.place(*lane) else { continue };
            let offset = Offset::Offset(i64::try_from(*from).unwrap_or(i64::MAX));
            list.add_partition_offset(self.lanes.topic(stream), partition, offset)?;
        }
        self.reader.assign(&list)
    }

    fn next(&self) -> KafkaResult<Next> {
        match self.reader.poll(WAIT) {
            None => Ok(Next::Nothing),
            Some(Ok(message)) => Ok(decode(&message, &self.lanes).map_or(Next::Nothing, found)),
            Some(Err(KafkaError::PartitionEOF(_))) => Ok(Next::End),
            Some(Err(error)) => match error.rdkafka_error_code() {
                Some(
                    RDKafkaErrorCode::OffsetOutOfRange
                    | RDKafkaErrorCode::AutoOffsetReset
                    | RDKafkaErrorCode::Fatal
                    | RDKafkaErrorCode::TopicAuthorizationFailed
                    | RDKafkaErrorCode::UnknownPartition
                    | RDKafkaErrorCode::UnknownTopicOrPartition,
                ) => Err(error),
                _ => Ok(Next::Nothing),
            },
        }
    }
}

enum Next {
    Found(Box<Found>),
    End,
    Nothing,
}

fn found(taken: Taken) -> Next {
    let Taken { position, at_ms, bytes, event, .. } = taken;
    let record = event.map(|(event, received_at)| Record { position, received_at, event });
    Next::Found(Box::new(Found { position, at_ms, bytes, record }))
}

fn timeout() -> KafkaError {
    KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut)
}

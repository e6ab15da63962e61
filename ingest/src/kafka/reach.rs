//! How far lanes reach: their watermarks, and where the last record stands that can be read.
//!
//! The two differ where a lane ends in something that is no record: the marker of a transaction
//! that somebody has written all the same. A reader that waits for a record just below the
//! watermark would wait for ever.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use touchline_core::log::Lane;

use super::client::{ASK_MAX, Context, Reader, reader_to_ends, unreachable};
use super::lanes::Lanes;
use super::meta::stamp;
use super::options::{KafkaOptions, OpenError};

/// How far before the end is looked for a record, first and then each time.
const BACK: u64 = 4;
const BACK_FACTOR: u64 = 64;
/// How long nothing may come: longer than a leader takes to answer.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// How far one lane reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reach {
    /// The first offset that retention has left.
    pub low: u64,
    /// One above the last offset.
    pub high: u64,
    /// One above the last record; `low` where there is none.
    pub end: u64,
    /// Stamp of the last record.
    pub newest_ms: Option<i64>,
}

/// The watermarks of all lanes. As `end` stands what the watermark says.
pub(super) fn watermarks(
    options: &KafkaOptions,
    lanes: &Lanes,
    reader: &Reader,
) -> Result<Vec<Reach>, OpenError> {
    let failed = unreachable(options, "tell how far its partitions reach");
    let of = |(_, topic, partition)| {
        let (low, high) = reader.fetch_watermarks(topic, partition, ASK_MAX).map_err(&failed)?;
        let [low, high] = [low, high].map(|offset| u64::try_from(offset).unwrap_or(0));
        Ok(Reach { low, high, end: high, newest_ms: None })
    };
    lanes.all().map(of).collect()
}

/// Finds the last record of each lane.
pub(super) fn find_ends(
    options: &KafkaOptions,
    lanes: &Lanes,
    context: &Context,
    reaches: &mut [Reach],
    is_stopped: &dyn Fn() -> bool,
) -> Result<(), OpenError> {
    let failed = unreachable(options, "be read");
    let reader = reader_to_ends(options, context)?;
    let mut back = BACK;
    let mut open: Vec<Lane> = lanes.all().map(|(lane, ..)| lane).collect();
    open.retain(|lane| {
        let reach = &mut reaches[usize::from(lane.0)];
        reach.end = reach.low;
        reach.low < reach.high
    });
    while !open.is_empty() {
        if is_stopped() {
            return Err(OpenError::Stopped);
        }
        look_back(&reader, lanes, &open, back, reaches, is_stopped).map_err(&failed)?;
        // Who has been looked through from its first offset on holds no record at all.
        open.retain(|lane| {
            let reach = reaches[usize::from(lane.0)];
            reach.newest_ms.is_none() && reach.low + back < reach.high
        });
        back = back.saturating_mul(BACK_FACTOR);
    }
    Ok(())
}

/// Reads the last `back` offsets of each lane of `open`.
fn look_back(
    reader: &Reader,
    lanes: &Lanes,
    open: &[Lane],
    back: u64,
    reaches: &mut [Reach],
    is_stopped: &dyn Fn() -> bool,
) -> Result<(), KafkaError> {
    let mut wanted = TopicPartitionList::with_capacity(open.len());
    for lane in open {
        let Some((stream, partition)) = lanes.place(*lane) else { continue };
        let reach = reaches[usize::from(lane.0)];
        let from = reach.high.saturating_sub(back).max(reach.low);
        let offset = Offset::Offset(i64::try_from(from).unwrap_or(i64::MAX));
        wanted.add_partition_offset(lanes.topic(stream), partition, offset)?;
    }
    reader.assign(&wanted)?;
    let (mut ends, mut heard_at) = (0, Instant::now());
    let is_found = |reaches: &[Reach]| {
        open.iter()
            .all(|lane| reaches[usize::from(lane.0)].end == reaches[usize::from(lane.0)].high)
    };
    // An end is told once for each partition, and again if it has moved: then it counts too often,
    // and a lane that wasn't reached is looked through again.
    while ends < open.len() && !is_found(reaches) && !is_stopped() {
        if heard_at.elapsed() > SILENCE_MAX {
            return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
        }
        match reader.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let Some(lane) = lanes.find(message.topic(), message.partition()) else { continue };
                let reach = &mut reaches[usize::from(lane.0)];
                reach.end = u64::try_from(message.offset()).map_or(reach.end, |it| it + 1);
                reach.high = reach.high.max(reach.end);
                reach.newest_ms = reach.newest_ms.max(Some(stamp(message.timestamp())));
            }
            Some(Err(KafkaError::PartitionEOF(_))) => ends += 1,
            Some(Err(error)) => tracing::debug!(%error, "a client of Kafka has trouble"),
            None => continue,
        }
        heard_at = Instant::now();
    }
    reader.unassign()
}

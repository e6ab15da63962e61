//! Looking after the brokers: whether they answer, how far each lane reaches, what retention left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use touchline_core::event::Stream;
use touchline_core::log::Lane;

use super::client::{ASK_MAX, Reader};
use super::state::Shared;
use super::wire::decode;

/// How often brokers are asked whether they are there.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long they may take to say so.
const LOOK_MAX: Duration = Duration::from_secs(2);
/// How often the reach of all lanes is asked for.
const REACH_EVERY: Duration = Duration::from_secs(10);

/// The watchman.
pub(super) struct Watch {
    reader: Reader,
    shared: Arc<Shared>,
    windows: [Duration; 4],
    /// By lane: where retention has been found to begin.
    lows: Vec<u64>,
    reached_at: Option<Instant>,
}

impl Watch {
    pub fn new(reader: Reader, shared: Arc<Shared>, windows: [Duration; 4]) -> Self {
        let lows = vec![0; shared.lanes.count()];
        Self { reader, shared, windows, lows, reached_at: None }
    }

    /// Looks until the log is closed.
    pub fn run(mut self) {
        while !self.shared.is_closing() {
            let begin = Instant::now();
            self.look();
            if self.reached_at.is_none_or(|at| at.elapsed() >= REACH_EVERY) {
                self.measure();
            }
            while begin.elapsed() < LOOK_EVERY && !self.shared.is_closing() {
                std::thread::sleep(Duration::from_millis(20));
                if self.shared.take_look_ahead() {
                    self.measure();
                }
            }
        }
    }

    fn look(&mut self) {
        let topic = self.shared.lanes.topic(Stream::Broadcast);
        let answer = self.reader.client().fetch_metadata(Some(topic), LOOK_MAX);
        let has_leaders = answer.as_ref().is_ok_and(|metadata| {
            let mut topics = metadata.topics().iter();
            topics.all(|topic| topic.partitions().iter().all(|it| it.leader() >= 0))
        });
        let was_up = self.shared.down_for().is_none();
        self.shared.set_up(has_leaders);
        match (was_up, has_leaders) {
            (true, false) => {
                let why =
                    answer.err().map_or("a partition has no leader".into(), |e| e.to_string());
                tracing::error!(%why, "Kafka is away: sources are refused, sockets stay");
            }
            (false, true) => tracing::info!("Kafka is back"),
            _ => {}
        }
    }

    /// Asks how far every lane reaches.
    fn measure(&mut self) {
        self.reached_at = Some(Instant::now());
        let lanes = self.shared.lanes.clone();
        for (lane, topic, partition) in lanes.all() {
            if self.shared.is_closing() {
                return;
            }
            let Ok((low, high)) = self.reader.fetch_watermarks(topic, partition, LOOK_MAX) else {
                return;
            };
            let [low, high] = [low, high].map(|offset| u64::try_from(offset).unwrap_or(0));
            let first = match self.first(lane, topic, partition, low) {
                Ok(first) => first,
                Err(error) => return tracing::debug!(%error, topic, partition, "no first record"),
            };
            self.shared.set_reach(lane, first, high);
        }
    }

    /// The first record of a lane that all readers can judge alike: of what retention has left, W
    /// must lie before it (R17).
    fn first(
        &mut self,
        lane: Lane,
        topic: &str,
        partition: i32,
        low: u64,
    ) -> Result<u64, KafkaError> {
        let known = &mut self.lows[usize::from(lane.0)];
        if low <= *known {
            return Ok(self.shared.first(lane));
        }
        let Some(at_ms) = stamp(&self.reader, &self.shared, topic, partition, low)? else {
            // Nothing is left to judge by.
            return Ok(low);
        };
        *known = low;
        let (stream, _) = self.shared.lanes.place(lane).unwrap_or((Stream::Broadcast, 0));
        let window_ms = i64::try_from(self.windows[stream as usize].as_millis()).unwrap_or(0);
        let first = offset_at(&self.reader, topic, partition, at_ms + window_ms)?;
        Ok(first.unwrap_or_else(|| self.shared.next(lane)).max(low))
    }
}

/// The stamp of the record at `offset`; `None` if there is none for a while.
fn stamp(
    reader: &Reader,
    shared: &Shared,
    topic: &str,
    partition: i32,
    offset: u64,
) -> Result<Option<i64>, KafkaError> {
    let mut wanted = TopicPartitionList::with_capacity(1);
    let offset = Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
    wanted.add_partition_offset(topic, partition, offset)?;
    reader.assign(&wanted)?;
    let begin = Instant::now();
    let mut found = None;
    while found.is_none() && begin.elapsed() < ASK_MAX {
        if let Some(message) = reader.poll(Duration::from_millis(100)) {
            found = decode(&message?, &shared.lanes).map(|taken| taken.at_ms);
        }
    }
    reader.unassign()?;
    Ok(found)
}

/// The first offset whose stamp is `at_ms` or later; `None` where there is none yet.
pub(super) fn offset_at(
    reader: &Reader,
    topic: &str,
    partition: i32,
    at_ms: i64,
) -> Result<Option<u64>, KafkaError> {
    let mut asked = TopicPartitionList::with_capacity(1);
    asked.add_partition_offset(topic, partition, Offset::Offset(at_ms))?;
    let found = reader.offsets_for_times(asked, ASK_MAX)?;
    let elements = found.elements();
    Ok(elements.first().and_then(|it| match it.offset() {
        Offset::Offset(offset) => u64::try_from(offset).ok(),
        _ => None,
    }))
}

//! Looking after the brokers: whether they answer, how far each lane reaches, what retention left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataPartition};
use rdkafka::{Offset, TopicPartitionList};
use touchline_core::event::Stream;
use touchline_core::log::Lane;

use super::behind::Behind;
use super::client::{ASK_MAX, Context, Reader, drain, poll};
use super::clock::millis;
use super::hints::{NO_COPY, Telling};
use super::options::KafkaOptions;
use super::rounds::Rounds;
use super::state::{Shared, lock};
use super::wire::decode;
use super::witness::Witness;

/// How often brokers are asked whether they are there.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long they may take to say so.
const LOOK_MAX: Duration = Duration::from_secs(2);
/// For how long messages must fail, and none be acknowledged, before the cluster is tried.
const UNACKNOWLEDGED_MIN: Duration = Duration::from_secs(1);
/// How often the ends are asked for at most, whoever wants to know.
const AHEAD_EVERY: Duration = Duration::from_millis(250);
/// For how long a lane must be found shorter than it was: a leader that has just been elected may
/// not know yet how far it reaches.
const SHORT_MIN: Duration = Duration::from_secs(3);
/// How long it may take to find where lanes begin, in one go.
const MEASURE_MAX: Duration = Duration::from_secs(2);
/// How often the reach of all lanes is asked for.
const REACH_EVERY: Duration = Duration::from_secs(10);

/// The watchman.
pub(super) struct Watch {
    reader: Reader,
    context: Context,
    telling: Telling,
    shared: Arc<Shared>,
    windows: [Duration; 4],
    in_sync_min: u16,
    /// By lane: where retention has been found to begin.
    lows: Vec<u64>,
    reached_at: Option<Instant>,
    /// By lane: since when its end has been found below what was read.
    short: Vec<Option<Instant>>,
    rounds: Rounds,
    behind: Behind,
    witness: Witness,
}

impl Watch {
    pub fn new(
        reader: Reader,
        context: &Context,
        shared: Arc<Shared>,
        options: &KafkaOptions,
        witness: Witness,
    ) -> Self {
        let count = shared.lanes.count();
        let (lows, short) = (vec![0; count], vec![None; count]);
        let (context, telling) = (context.clone(), Telling::default());
        let (behind, rounds) = (Behind::new(count, options.lag_records_max), Rounds::new(count));
        Self {
            reader,
            context,
            telling,
            shared,
            windows: options.windows,
            in_sync_min: options.in_sync_min,
            lows,
            reached_at: None,
            short,
            rounds,
            behind,
            witness,
        }
    }

    /// Looks until the log is closed.
    pub fn run(mut self) {
        self.context.end_trouble();
        while !self.shared.is_closing() {
            let begin = Instant::now();
            self.look();
            drain(&self.reader);
            self.tell();
            if self.shared.is_closing() {
                break;
            }
            if let Some(now_ms) = self.shared.broker_now_ms() {
                lock(&self.shared.door).set_now(now_ms);
            }
            self.witness.note(&self.shared);
            if self.reached_at.is_none_or(|at| at.elapsed() >= REACH_EVERY) {
                self.measure();
            }
            self.look_behind();
            while begin.elapsed() < LOOK_EVERY && !self.shared.is_closing() {
                std::thread::sleep(Duration::from_millis(20));
                if begin.elapsed() >= AHEAD_EVERY && self.shared.take_look_ahead() {
                    self.measure_ends(|_| true);
                }
            }
        }
        self.witness.close(&self.shared);
    }

    fn look(&mut self) {
        let refusal = self.ask().err().or_else(|| self.try_whether_they_take());
        let was_up = self.shared.down_for().is_none();
        self.shared.set_up(refusal.is_none());
        match (was_up, refusal) {
            (true, Some(why)) => {
                tracing::error!(why, "Kafka is away: sources are refused, sockets stay");
            }
            (false, None) => {
                self.context.end_trouble();
                tracing::info!("Kafka is back");
            }
            _ => {}
        }
    }

    /// Asks how the topic of broadcast is; why nothing can be taken, where that is so. A partition
    /// of another stream that can't be written to is no reason to hold up a goal.
    fn ask(&self) -> Result<(), String> {
        let topic = self.shared.lanes.topic(Stream::Broadcast);
        let answer = self.reader.client().fetch_metadata(Some(topic), LOOK_MAX);
        self.judge(&answer.map_err(|error| error.to_string())?)?;
        self.shared.pulse.heard();
        Ok(())
    }

    /// Why nothing can be taken, though a broker answers.
    fn judge(&self, metadata: &Metadata) -> Result<(), String> {
        for topic in metadata.topics() {
            if let Some(error) = topic.error() {
                let why = format!("{}: {}", topic.name(), RDKafkaErrorCode::from(error));
                self.context.hear_trouble(&why);
                return Err(why);
            }
            let partitions = topic.partitions();
            let led = partitions.iter().filter(|it| it.leader() >= 0).count();
            if led != usize::from(self.shared.lanes.partitions()) {
                let why = format!("{}: a partition has no leader", topic.name());
                self.context.hear_trouble(&why);
                return Err(why);
            }
            let lacks = |it: &&MetadataPartition| {
                let (in_sync, copies) = (it.isr().len(), it.replicas().len());
                in_sync < usize::from(self.in_sync_min) && in_sync < copies
            };
            if let Some(partition) = partitions.iter().find(lacks) {
                let why = format!(
                    "{}, partition {}: {} of {} copies are in sync, and it takes {}",
                    topic.name(),
                    partition.id(),
                    partition.isr().len(),
                    partition.replicas().len(),
                    self.in_sync_min,
                );
                self.context.hear_trouble(&why);
                return Err(why);
            }
        }
        Ok(())
    }

    /// Where messages fail and none is acknowledged, one of ours is sent to see whether brokers
    /// take anything: a cluster that has lost most of its controllers goes on naming leaders that
    /// are gone. Why they don't, where that is so.
    fn try_whether_they_take(&mut self) -> Option<String> {
        self.shared.pulse.failing_for().filter(|it| *it >= UNACKNOWLEDGED_MIN)?;
        match self.witness.try_note(&self.shared) {
            Ok(()) => {
                self.shared.pulse.acknowledged(true);
                None
            }
            Err(error) => {
                let why = format!("{NO_COPY}{error}");
                self.context.hear_trouble(&why);
                Some(why)
            }
        }
    }

    /// Says what keeps this node from the brokers, where it can be asked for, and now and then in
    /// the log: what a client has heard of it comes later than the outage.
    fn tell(&mut self) {
        let Some(away) = self.shared.down_for() else { return };
        let likely = self.context.trouble_lately();
        self.shared.set_likely(&likely);
        if self.telling.is_due(&likely, Instant::now()) {
            tracing::warn!(
                away_s = away.as_secs(),
                likely,
                "Kafka is away, and this is likely why"
            );
        }
    }

    /// Whether this node keeps up. Where it may not, its lanes' ends are asked for with every
    /// look: those of some seconds ago would say that it has caught up.
    fn look_behind(&mut self) {
        if self.behind.is_suspected() && self.shared.down_for().is_none() {
            let suspected: Vec<_> = self.behind.suspected().collect();
            self.measure_ends(|lane| suspected.contains(&lane));
        }
        let behind = self.behind.look(self.shared.lags(), Instant::now());
        match (self.shared.behind(), behind) {
            (None, Some((lane, records))) => {
                tracing::warn!(lane = lane.0, records, "this node is behind: not ready");
            }
            (Some(_), None) => tracing::info!("this node has caught up"),
            _ => {}
        }
        self.shared.set_behind(behind);
    }

    /// Asks how far every lane reaches, and where it begins by now.
    fn measure(&mut self) {
        self.reached_at = Some(Instant::now());
        let lanes = self.shared.lanes.clone();
        let reaches = self.measure_ends(|_| true);
        let some_answer = !reaches.is_empty();
        let began = Instant::now();
        for (lane, low, high) in reaches {
            let Some((stream, partition)) = lanes.place(lane) else { continue };
            if self.shared.is_closing() {
                return;
            }
            if began.elapsed() > MEASURE_MAX {
                // Whether brokers answer at all is to be known first; the rest comes next time.
                break;
            }
            match self.first(lane, lanes.topic(stream), partition, low, high) {
                Ok(first) => self.shared.set_reach(lane, first, high),
                Err(error) => tracing::debug!(%error, partition, "no first record"),
            }
        }
        if some_answer {
            self.witness.look_for_successor(&self.shared, &self.reader);
        }
    }

    /// Low and high watermark of every lane that is `asked` and answers; the ends are known from
    /// here on.
    fn measure_ends(&mut self, asked: impl Fn(Lane) -> bool) -> Vec<(Lane, u64, u64)> {
        let lanes = self.shared.lanes.clone();
        let mut reaches = Vec::with_capacity(lanes.count());
        let mut round = self.rounds.begin(asked, Instant::now());
        while let Some((lane, most)) = self.rounds.next(&mut round, Instant::now()) {
            let Some((stream, partition)) = lanes.place(lane) else { continue };
            if self.shared.is_closing() {
                break;
            }
            let topic = lanes.topic(stream);
            // What is read while the answer is under way lies below an end that wasn't asked for;
            // what is written meanwhile lies above the end or is younger than this.
            let (next, asked_ms) = (self.shared.next(lane), self.shared.broker_now_ms());
            let look = self.shared.begin_look(lane);
            let answer = self.reader.fetch_watermarks(topic, partition, most);
            self.rounds.heard(lane, answer.is_ok());
            match answer {
                Ok((low, high)) => {
                    let [low, high] = [low, high].map(|offset| u64::try_from(offset).unwrap_or(0));
                    self.shared.pulse.heard();
                    self.found(lane, high, next, asked_ms);
                    if high >= next {
                        self.shared.end_look(lane, look);
                    }
                    reaches.push((lane, low, high));
                }
                Err(error) => {
                    tracing::debug!(%error, topic, partition, "its reach isn't known");
                    if self.shared.down_for().is_some() {
                        break;
                    }
                }
            }
        }
        reaches
    }

    /// A lane ends at `high`. It was read up to `next`, and `asked_ms` by the brokers' clocks, when
    /// that was asked for.
    fn found(&mut self, lane: Lane, high: u64, next: u64, asked_ms: Option<i64>) {
        let short = &mut self.short[usize::from(lane.0)];
        *short = (high < next).then(|| short.unwrap_or_else(Instant::now));
        let lanes = &self.shared.lanes;
        if short.is_some_and(|since| since.elapsed() >= SHORT_MIN)
            && let Some((stream, partition)) = lanes.place(lane)
        {
            self.shared.set_over(&lost(lanes.topic(stream), partition, high, next));
        }
        self.shared.set_reach(lane, self.shared.first(lane), high);
        if let Some(asked_ms) = asked_ms.filter(|_| high >= next) {
            lock(&self.shared.door).ends(lane, high, asked_ms);
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
        high: u64,
    ) -> Result<u64, KafkaError> {
        if low <= self.lows[usize::from(lane.0)] {
            return Ok(self.shared.first(lane));
        }
        if low >= high {
            // Retention has emptied it: there is nothing to judge, and nothing to be read.
            return Ok(low);
        }
        let Some(at_ms) = stamp(&self.reader, &self.shared, topic, partition, low)? else {
            return Ok(self.shared.first(lane));
        };
        let (stream, _) = self.shared.lanes.place(lane).unwrap_or((Stream::Broadcast, 0));
        let window_ms = millis(self.windows[stream as usize]);
        let now_ms = self.shared.broker_now_ms().unwrap_or(at_ms);
        // Retention is twice a window at least: nothing younger than one has a twin that is gone.
        let judged_ms = (at_ms + window_ms).min(now_ms - window_ms).max(at_ms);
        let first = offset_at(&self.reader, topic, partition, judged_ms)?;
        self.lows[usize::from(lane.0)] = low;
        Ok(first.unwrap_or(low).max(low))
    }
}

/// A lane that is shorter than what was read of it.
pub(super) fn lost(topic: &str, partition: i32, high: u64, next: u64) -> String {
    format!(
        "{topic}, partition {partition}, ends at {high} and was read up to {next}: the cluster has \
         lost what it had acknowledged"
    )
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
    while found.is_none() && begin.elapsed() < ASK_MAX && !shared.is_closing() {
        if let Some(message) = poll(reader, Duration::from_millis(100)) {
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
    let Some(element) = elements.first() else { return Ok(None) };
    // What was asked of a partition that fails stays in the answer, and is no offset.
    element.error()?;
    Ok(match element.offset() {
        Offset::Offset(offset) => u64::try_from(offset).ok(),
        _ => None,
    })
}

//! A log in memory: what was published, what is left of it, what can be read back.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use rand::Rng;
use rand::rngs::SmallRng;
use touchline_core::event::{Event, Identity, Lang, Route, SensorKey, Stream, Supersedes, Topic};
use touchline_core::frame::{Batch, Published};
use touchline_core::log::{
    Epoch, Hole, HoleReason, Lane, LaneBounds, LogBounds, Position, ReadRequest, Record, Span,
};
use touchline_core::time::{Monotonic, Timestamp};

use super::Scenario;
use super::oracle::note_replaced;

/// The languages of this world.
pub(super) const LANGS: [&str; 2] = ["es", "de"];

#[derive(Default)]
pub(super) struct LogLane {
    pub(super) events: Vec<Published>,
    /// First sequence that retention has left.
    pub(super) first: u64,
    pub(super) next: u64,
    damaged: Vec<u64>,
}

impl LogLane {
    /// Whether `seq` can't be read back.
    pub(super) fn is_damaged(&self, seq: u64) -> bool {
        self.damaged.contains(&seq)
    }
}

pub(super) struct SimLog {
    pub(super) epoch: Epoch,
    pub(super) lanes: Vec<LogLane>,
    /// Events that a later revision or value replaces, or that came too late.
    pub(super) replaced: HashSet<Position>,
    pub(super) latest: HashMap<(Topic, Identity), (u64, Position)>,
    /// Sensor values from before this are too old.
    pub(super) stale: Monotonic,
    revs: HashMap<String, u32>,
    sequences: HashMap<String, u64>,
    published: u64,
}

impl SimLog {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let lanes = (0..scenario.lanes).map(|_| LogLane::default()).collect();
        let epoch = Epoch(scenario.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        Self {
            epoch,
            lanes,
            replaced: HashSet::new(),
            latest: HashMap::new(),
            stale: Monotonic(0),
            revs: HashMap::new(),
            sequences: HashMap::new(),
            published: 0,
        }
    }

    /// The log that takes this one's place (R8): empty, with positions that begin anywhere, perhaps
    /// where this one's ended.
    pub(super) fn next_life(&self, scenario: &Scenario, rng: &mut SmallRng) -> Self {
        let mut next = Self::new(scenario);
        next.epoch = Epoch(self.epoch.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        next.published = self.published;
        for (lane, before) in next.lanes.iter_mut().zip(&self.lanes) {
            let begins_at = [0, before.next, before.next.saturating_sub(5), before.next + 1_000];
            lane.first = begins_at[rng.random_range(0..4)];
            lane.next = lane.first;
        }
        next
    }

    pub(super) fn bounds(&self) -> LogBounds {
        let lane = |lane: &LogLane| LaneBounds::whole(lane.first, lane.next);
        LogBounds { epoch: self.epoch, lanes: self.lanes.iter().map(lane).collect() }
    }

    /// Appends `count` events of random topics. Returns the batch a mailbox would carry.
    pub(super) fn publish(
        &mut self,
        count: usize,
        scenario: &Scenario,
        now: Monotonic,
        rng: &mut SmallRng,
    ) -> Batch {
        let from: Vec<u64> = self.lanes.iter().map(|lane| lane.next).collect();
        let mut events: Vec<Published> =
            (0..count).map(|_| self.append(scenario, now, rng)).collect();
        events.sort_by_key(|event| event.position);
        let spans = self.lanes.iter().zip(from).enumerate();
        let span = |(lane, (state, from)): (usize, (&LogLane, u64))| Span {
            lane: Lane(lane as u16),
            from,
            next: state.next,
        };
        let spans = spans.map(span).filter(|span| span.next > span.from).collect();
        Batch { spans, events, holes: Vec::new() }
    }

    fn append(&mut self, scenario: &Scenario, now: Monotonic, rng: &mut SmallRng) -> Published {
        let event = self.event(scenario, rng);
        let lane = event.route.partition(scenario.lanes);
        let state = &mut self.lanes[usize::from(lane)];
        // Sequences of a Kafka partition have holes: control records, compaction.
        let seq = state.next + u64::from(rng.random_bool(0.05));
        state.next = seq + 1;
        if rng.random_bool(scenario.damage) {
            state.damaged.push(seq);
        }
        let position = Position { lane: Lane(lane), seq };
        let record = Record { position, received_at: Timestamp(0), event };
        let published = Published::encode(&record, self.epoch, now);
        state.events.push(published.clone());
        note_replaced(self, &published);
        published
    }

    fn event(&mut self, scenario: &Scenario, rng: &mut SmallRng) -> Event {
        self.published += 1;
        let stream = Stream::ALL[rng.random_range(0..4)];
        let teams = 1 + usize::from(rng.random_bool(0.5)) + usize::from(rng.random_bool(0.1));
        let names: Vec<String> =
            (0..teams).map(|_| format!("t{}", rng.random_range(0..scenario.teams))).collect();
        let route = Route::new(&names).expect("one to three teams");
        let lang = (stream == Stream::Update && rng.random_bool(0.5))
            .then(|| Lang::new(LANGS[rng.random_range(0..2)]).expect("a language"));
        let supersedes = (stream == Stream::Update).then(|| {
            let id = format!("o{}", rng.random_range(0..4));
            let rev = self.revs.entry(format!("{route}{lang:?}{id}")).or_default();
            // Now and then a revision comes late.
            *rev = if rng.random_bool(0.1) { rev.saturating_sub(1) } else { *rev + 1 };
            Supersedes { source: "sim".into(), id: id.into(), rev: *rev }
        });
        let sensor = (stream == Stream::Sensor).then(|| {
            let key = format!("k{}", rng.random_range(0..3));
            let sequence = self.sequences.entry(format!("{route}{key}")).or_default();
            *sequence =
                if rng.random_bool(0.1) { sequence.saturating_sub(2) } else { *sequence + 1 };
            SensorKey { key: key.into(), sequence: rng.random_bool(0.9).then_some(*sequence) }
        });
        Event {
            stream,
            source: "sim".into(),
            id: format!("e{}", self.published).into(),
            route,
            kind: "goal".into(),
            occurred_at: Timestamp(self.published as i64),
            data: Bytes::from(format!("{{\"x\":\"{}\"}}", "y".repeat(rng.random_range(0..300)))),
            lang,
            supersedes,
            sensor,
            trace: None,
            correlation: "c".into(),
        }
    }

    /// Lets retention leave at most `keep` sequences of each lane.
    pub(super) fn retain(&mut self, keep: u64) {
        for lane in &mut self.lanes {
            lane.first = lane.first.max(lane.next.saturating_sub(keep));
        }
    }

    /// Reads as a log does: what is there, and a name for what is not.
    pub(super) fn read(&self, request: ReadRequest) -> Arc<Batch> {
        let lane = request.from.lane;
        let state = &self.lanes[usize::from(lane.0)];
        let mut batch = Batch::default();
        let from = request.from.seq;
        let hole = |from, to, reason| (lane, Hole { from, to, reason });
        if from < state.first {
            batch.holes.push(hole(from, state.first - 1, HoleReason::Retention));
        }
        let begin = from.max(state.first);
        let mut next = state.next;
        let mut bytes = 0;
        for event in state.events.iter().filter(|event| event.position.seq >= begin) {
            if bytes >= request.bytes_max {
                next = event.position.seq;
                break;
            }
            bytes += event.frame.len();
            let seq = event.position.seq;
            match state.is_damaged(seq) {
                true => batch.holes.push(hole(seq, seq, HoleReason::Damaged)),
                false => batch.events.push(event.clone()),
            }
        }
        batch.spans.push(Span { lane, from, next: next.max(begin) });
        Arc::new(batch)
    }

    /// The event at `position`.
    pub(super) fn find(&self, position: Position) -> Option<&Published> {
        let events = &self.lanes.get(usize::from(position.lane.0))?.events;
        let index = events.partition_point(|event| event.position.seq < position.seq);
        events.get(index).filter(|event| event.position == position)
    }
}

//! Events for unit tests, without a log.

use touchline_core::event::{Event, Route, Stream, Supersedes, Topic};
use touchline_core::frame::{Batch, Published};
use touchline_core::log::{Epoch, Lane, LaneBounds, LogBounds, Position, Record, Span};
use touchline_core::time::{Monotonic, Timestamp};

pub(super) const EPOCH: Epoch = Epoch(7);

fn event(topic: &str, seq: u64) -> Event {
    let topic = Topic::parse(topic).unwrap();
    Event {
        stream: topic.stream,
        source: "test".into(),
        lang: topic.lang,
        ..Event::sample(&format!("e{seq}"), topic.route.as_str())
    }
}

fn encode(event: Event, lane: u16, seq: u64) -> Published {
    let position = Position { lane: Lane(lane), seq };
    let record = Record { position, received_at: Timestamp(0), event };
    Published::encode(&record, EPOCH, Monotonic(seq))
}

/// An event of `topic` at `seq`.
pub(super) fn published(topic: &str, lane: u16, seq: u64) -> Published {
    encode(event(topic, seq), lane, seq)
}

/// An update of the event `original`.
pub(super) fn update(route: &str, seq: u64, original: &str, rev: u32) -> Published {
    let mut event = event(&format!("update:{route}"), seq);
    event.route = Route::parse(route).unwrap();
    event.stream = Stream::Update;
    event.supersedes = Some(Supersedes { source: "test".into(), id: original.into(), rev });
    encode(event, 0, seq)
}

/// A log of one lane that holds `first..next`.
pub(super) fn bounds(first: u64, next: u64) -> LogBounds {
    LogBounds { epoch: EPOCH, lanes: [LaneBounds::whole(first, next)].into() }
}

/// A batch of one lane that covers `from..next`.
pub(super) fn batch(from: u64, next: u64, events: Vec<Published>) -> Batch {
    Batch { spans: vec![Span { lane: Lane(0), from, next }], events, holes: Vec::new() }
}
